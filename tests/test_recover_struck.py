"""Interrupts that strike where lists are built anew, and where an engine is closed, lose nothing."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine import Engine, SnapshotLost, database, observe, query, recover, snapshot
from engine.claims import Claims
from engine.core import Core
from engine.frame import CURRENT
from engine.graph import NEW, Graph
from engine.store.codec import ValueCodec
from engine.store.merging import Opened
from engine.tables.kept import KeptRows
from tests.interrupts import cell, db, interrupt, loud, ten, text
from tests.striking import strike

__all__ = ["db"]  # a fixture

AMID = ["restore_collections", "put_in_place", "locate"]


def fill(db: Engine) -> None:
    db.set(cell.key(0), 5)
    db.set(cell.key(1), 7)
    assert (db.get(ten, 1), db.get(loud, "a", 0)) == (51, "disk!0")
    db.set(text.key("a"), "overlay")


def check(db: Engine) -> None:
    assert (db.get(ten, 0), db.get(cell, 1), db.get(loud, "a", 1)) == (50, 7, "overlay!1")
    db.set(cell.key(0), 6)
    assert (db.get(ten, 0), db.get(ten, 1)) == (60, 61)
    db.check_invariants()


@pytest.mark.parametrize("function", AMID)
def test_an_interrupt_while_an_interrupt_is_recovered_from_loses_nothing_that_was_set(
    function: str, db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(db)
    interrupt(db, monkeypatch)
    for _ in range(2):
        strike(monkeypatch, recover, function)
        with pytest.raises(KeyboardInterrupt):
            db.get(ten, 1)
    check(db)


@pytest.mark.parametrize("function", [*AMID, "open_graph"])
def test_an_interrupt_while_a_store_is_collected_loses_nothing(
    function: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(store) as db:
        fill(db)
        strike(monkeypatch, recover, function)
        with pytest.raises(KeyboardInterrupt):
            db.gc()
        check(db)
        db.gc()
    with Engine(store) as db:
        assert (db.get(ten, 0), db.get(cell, 1)) == (60, 7)


def test_a_collection_after_an_interrupt_keeps_what_was_set(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(store) as db:
        fill(db)
        interrupt(db, monkeypatch)
        db.gc()
        check(db)


def amid(patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    """The next close is interrupted by the last thing that it does before it would let the store go."""
    real = getattr(owner, name)

    def struck(*args: Any, **named: Any) -> Any:
        core = args[0]
        if not isinstance(core, Core) or core.closed:
            patch.setattr(owner, name, real)
            raise KeyboardInterrupt
        return real(*args, **named)

    patch.setattr(owner, name, struck)


@pytest.mark.parametrize(("owner", "name"), [(Core, "outdate"), (database, "finish_last"), (Opened, "shut")])
def test_an_engine_whose_closing_is_interrupted_can_be_closed(
    owner: Any, name: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = Engine(store)
    fill(db)
    amid(monkeypatch, owner, name)
    with pytest.raises(KeyboardInterrupt):
        db.close()
    db.close()
    with Engine(store) as again:
        assert (again.get(ten, 0), again.get(cell, 1)) == (50, 7)
        assert not again.notes()


@pytest.mark.parametrize("begins", [True, False])
def test_an_interrupt_where_a_batch_begins_or_ends_leaves_none_open(begins: bool, db: Engine) -> None:
    class Struck:
        batch: object
        struck: bool

        def __init__(self) -> None:
            object.__setattr__(self, "batch", None)
            object.__setattr__(self, "struck", False)

        def __setattr__(self, name: str, value: object) -> None:
            if (value is not None) is begins and not self.struck:
                object.__setattr__(self, "struck", True)
                if begins:
                    object.__setattr__(self, name, value)
                raise KeyboardInterrupt
            object.__setattr__(self, name, value)

    db._open = Struck()  # type: ignore[assignment]  # stands for what a thread has open
    with pytest.raises(KeyboardInterrupt), db.batch():
        pass
    assert db._open.batch is None


@query
def above(number: int) -> int:
    return ten(number) + 1


def test_an_interrupt_amid_a_read_of_a_query_is_not_taken_for_one_of_its_function(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(db)
    real = Graph.new

    def half(graph: Graph, info: Any, row: int, args: Any) -> int:
        if args != 3 or info is above.__query__:
            return real(graph, info, row, args)
        monkeypatch.setattr(Graph, "new", real)
        graph.status.append(NEW)
        raise KeyboardInterrupt

    monkeypatch.setattr(Graph, "new", half)
    before = db.counts().commits
    with pytest.raises(KeyboardInterrupt):
        db.get(above, 3)
    assert db.counts().commits == before, "half a node was committed"
    assert db.get(above, 3) == 54
    check(db)


def test_an_interrupt_in_a_function_that_another_one_reads_leaves_all_that_was_made(db: Engine) -> None:
    struck = [KeyboardInterrupt]

    @query
    def interrupted(number: int) -> int:
        for error in struck:
            raise error
        return ten(number)

    @query
    def reads() -> int:
        return ten(4) + interrupted(1)

    with pytest.raises(KeyboardInterrupt):
        db.get(reads)
    struck.clear()
    before = db.counts()
    assert db.get(reads) == 25
    assert (db.counts() - before).executed == 3  # not `ten(4)` again


def strike_where_a_query_ends(
    patch: pytest.MonkeyPatch, module: ModuleType, error: type[BaseException]
) -> None:
    class Struck:
        def __getattr__(self, name: str) -> Any:
            return getattr(CURRENT, name)

        def reset(self, token: object) -> None:
            patch.setattr(module, "CURRENT", CURRENT)
            raise error

    patch.setattr(module, "CURRENT", Struck())


@query(persist=False)
def passing(number: int) -> int:
    return cell(number) * 10


@query
def reader(number: int) -> int:
    return passing(number) + cell(number + 1)


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_claim_that_was_not_given_back_keeps_nobody_waiting(
    error: type[BaseException], read: bool, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here where a value is computed again that nobody kept: a lack of memory was raised, and no more."""
    with Engine(store) as db:
        assert db.get(reader, 0) == 11
    with Engine(store) as db:
        db.set(cell.key(1), 2)
        strike(monkeypatch, Claims, "give_back", error)
        with suppress(error):  # a lack of memory amid a read is got over
            db.get(reader if read else passing, 0)
        assert not db._core.claims.held or db._core.torn
        assert db.get(reader, 0) == 12
        db.check_invariants()


@query
def large() -> str:
    return "large"


@query
def length(number: int) -> int:
    return len(large()) + cell(number)


def test_a_value_for_which_there_is_no_memory_is_told_and_not_tried_for_ever(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = ValueCodec.decode, []

    def decode(codec: ValueCodec, data: bytes) -> Any:
        if b"large" in data:
            tries.append(data)
            raise MemoryError if len(tries) < 50 else AssertionError
        return real(codec, data)

    with Engine(store) as db:
        assert db.get(length, 0) == 6
    with Engine(store) as db:
        db.set(cell.key(0), 2)
        with monkeypatch.context() as patch:
            patch.setattr(ValueCodec, "decode", decode)
            with pytest.raises(MemoryError):
                db.get(length, 0)
        assert db.get(length, 0) == 7
        db.check_invariants()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_in_a_snapshot_leaves_nobody_inside_a_query(
    error: type[BaseException], db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with db.snapshot() as old:
        strike_where_a_query_ends(monkeypatch, snapshot, error)
        with pytest.raises(error):
            old.get(ten, 8)
    db.set(cell.key(0), 3)
    assert db.get(ten, 8) == 38


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_look_at_the_world_that_is_cut_short_leaves_nobody_inside_an_input(
    error: type[BaseException], db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where memory was short, whatever came later in that thread was refused as asked for by an input."""
    assert db.get(loud, "a", 0) == "disk!0"
    strike_where_a_query_ends(monkeypatch, observe, error)
    with pytest.raises(error):
        db.sync()
    db.set(cell.key(0), 3)
    assert (db.get(ten, 8), db.sync()) == (38, 0)


def test_a_key_that_was_interrupted_in_a_snapshot_is_on_no_cycle_afterwards(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Struck(dict[Any, Any]):
        def pop(self, *args: Any) -> Any:
            held._running = {**self}
            raise KeyboardInterrupt

    with db.snapshot() as old:
        held = old._snapshot
        held._running = Struck()
        with pytest.raises(KeyboardInterrupt):
            old.get(ten, 8)
        assert old.get(ten, 8) == 18


def test_lists_that_an_interrupt_left_half_changed_answer_no_snapshot(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They had: with rows of a table that were half put in place, say."""
    db.set(cell.key(0), 5)
    with db.snapshot() as old:
        assert old.get(ten, 1) == 51
        interrupt(db, monkeypatch)
        with pytest.raises(SnapshotLost):
            old.get(ten, 2)
        assert db.get(ten, 2) == 52
        with pytest.raises(SnapshotLost):
            old.get(ten, 2)
        assert old.get(ten, 1) == 51


def test_an_input_that_is_set_where_memory_is_short_is_no_half_node(db: Engine) -> None:
    """Lists of different lengths stayed, and every request after it failed."""

    class Full(list[Any]):
        def append(self, value: Any) -> None:
            raise MemoryError

    db.set(cell.key(0), 5)
    graph = db._core.graph
    graph.readers = Full(graph.readers)
    with pytest.raises(MemoryError):
        db.set(cell.key(1), 7)
    db.set(cell.key(1), 7)
    assert (db.get(ten, 1), db.get(cell, 1)) == (51, 7)
    db.check_invariants()


def test_an_interrupted_lookup_leaves_no_half_of_an_index() -> None:
    """In a snapshot it stayed, and the next lookups there found too few rows."""

    class Striking(int):
        asked = 0

        def __hash__(self) -> int:
            self.asked += 1
            if self.asked == 1:
                raise KeyboardInterrupt
            return super().__hash__()

    kept = KeptRows(None, 0, ("column",))
    kept.put(1, 5, ((7,), (Striking(8),), (9,)), True)
    with pytest.raises(KeyboardInterrupt):
        kept.select([("column", 7)])
    assert kept.select([("column", 9)]) == [(5, (9,))]
