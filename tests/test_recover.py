"""After an interrupt, a lost store, a full disk or a collection: a usable engine and right answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from engine import (
    CycleError,
    Engine,
    Query,
    SnapshotLost,
    StoreError,
    StoreFull,
    StoreReadOnly,
    advance,
    input,
    keep,
    query,
)
from engine.store.sqlite import Store
from tests.rings import burn, reads_left, told
from tests.striking import strike

WORLD = {"a": "disk"}


@input
def cell(number: int) -> int:
    return 1


@input(observed=True)
def text(path: str) -> str:
    return WORLD[path]


@query
def loud(path: str, number: int) -> str:
    return f"{text(path)}!{number}"


@query
def ten(number: int) -> int:
    return cell(0) * 10 + number


@pytest.fixture(params=["memory", "stored"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store" if request.param == "stored" else None) as engine:
        yield engine


def interrupt(db: Engine, patch: pytest.MonkeyPatch) -> None:
    """Interrupt a request in the middle of a change to the lists."""
    strike(patch, keep, "put_value")
    with pytest.raises(KeyboardInterrupt):
        db.get(ten, 1_000)
    assert db._core.unsettled


def fill_the_disk(db: Engine) -> None:
    assert db.store is not None
    pages = db.store.connection.execute("PRAGMA page_count").fetchone()[0]
    db.store.connection.execute(f"PRAGMA max_page_count={pages}")


# -- what the host set ---------------------------------------------------------------------------------


def test_an_overlay_survives_a_collection(store: Path) -> None:
    with Engine(store) as db:
        assert db.get(loud, "a", 0) == "disk!0"
        db.set(text.key("a"), "overlay")
        assert db.get(loud, "a", 0) == "overlay!0"
        db.gc()
        assert [db.get(loud, "a", number) for number in (0, 1)] == ["overlay!0", "overlay!1"]
        db.reset(text.key("a"))
        assert db.get(loud, "a", 0) == "disk!0"


def test_an_overlay_survives_an_interrupt(db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    db.get(loud, "a", 0)
    db.set(text.key("a"), "overlay")
    assert db.get(loud, "a", 1) == "overlay!1"
    interrupt(db, monkeypatch)
    assert [db.get(loud, "a", number) for number in (2, 1, 0, 2)] == [
        "overlay!2",
        "overlay!1",
        "overlay!0",
        "overlay!2",
    ]
    db.check_invariants()


def test_a_value_that_did_not_fit_on_the_disk_survives_an_interrupt(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @input
    def long() -> str:
        return "x"

    @query
    def length(number: int) -> int:
        return len(long()) + number

    with Engine(store) as db:
        assert db.get(length, 0) == 1
        fill_the_disk(db)
        db.set(long.key(), "x" * 100_000)
        assert db.get(length, 1) == 100_001
        interrupt(db, monkeypatch)
        assert db.get(length, 2) == 100_002


def test_what_the_host_set_survives_a_removed_store(store: Path) -> None:
    with Engine(store) as db:
        db.set(cell.key(0), 5)
        assert db.get(ten, 0) == 50
        revision = db.revision
        shutil.rmtree(store)
        assert db.get(ten, 2) == 52
        assert db.revision >= revision
        assert any("damaged or removed" in note for note in db.notes())


def test_set_survives_a_removed_store(store: Path) -> None:
    with Engine(store) as db:
        db.set(cell.key(0), 5)
        db.set(cell.key(1), 8)
        assert db.get(ten, 0) == 50
        shutil.rmtree(store)
        revision = db.set(cell.key(0), 7)
        assert revision == db.revision
        assert (db.get(ten, 2), db.get(cell, 1)) == (72, 8)
    with Engine(store) as db:
        assert (db.get(ten, 2), db.get(cell, 1)) == (72, 8)


def test_an_interrupt_inside_set_leaves_no_stale_reader(db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    db.get(ten, 0)
    strike(monkeypatch, advance, "changed")
    with pytest.raises(KeyboardInterrupt):
        db.set(cell.key(0), 2)
    assert db.get(ten, 0) == db.get(cell, 0) * 10
    db.set(cell.key(0), 2)
    assert (db.get(cell, 0), db.get(ten, 0)) == (2, 20)
    db.check_invariants()


def test_an_interrupted_batch_is_put_in_place_whole(db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    @query
    def both() -> int:
        return cell(0) + cell(1)

    def change() -> None:
        with db.batch():
            db.set(cell.key(0), 100)
            db.set(cell.key(1), 200)

    assert db.get(both) == 2
    strike(monkeypatch, advance, "changed")
    with pytest.raises(KeyboardInterrupt):
        change()
    assert db.get(both) == 300


# -- the store -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, StoreError])
def test_an_interrupt_while_code_is_compared_forgets_nothing(
    store: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def define(version: int) -> Query[[], int]:
        @query(name="compared:answer", version=version, code="version")
        def answer() -> int:
            return version

        return answer

    older = define(1)
    with Engine(store) as db:
        assert db.get(older) == 1
    newer = define(2)
    with Engine(store) as db:
        strike(monkeypatch, Store, "nodes_of", error)
        with pytest.raises(error):
            db.get(newer)
        assert db.get(newer) == 2
    with Engine(store) as db:
        assert db.get(newer) == 2


def test_an_interrupted_ring_leaves_a_usable_store(store: Path) -> None:
    interrupts = [True]

    @query
    def first() -> int:
        with suppress(CycleError):
            second()
        if interrupts:
            raise KeyboardInterrupt
        return 1

    @query
    def second() -> int:
        return first()

    with Engine(store) as db:
        db.set(cell.key(0), 5)
        with pytest.raises(KeyboardInterrupt):
            db.get(first)
    interrupts.clear()
    with Engine(store) as db:
        for member in (second, first, second):
            with pytest.raises(CycleError):
                db.get(member)
        assert db.get(ten, 0) == 50
        assert db.notes() == ()


def test_a_read_only_engine_works_on_after_an_interrupt(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(store) as db:
        assert [db.get(ten, number) for number in range(3)] == [10, 11, 12]
    with Engine(store, read_only=True) as db:
        assert db.get(ten, 0) == 10
        interrupt(db, monkeypatch)
        assert [db.get(ten, number) for number in range(4)] == [10, 11, 12, 13]


def test_a_read_only_engine_saves_nothing_and_says_so(store: Path) -> None:
    with Engine(store) as db:
        db.get(ten, 0)
    with Engine(store, read_only=True) as db:
        assert [db.get(ten, number) for number in range(300)] == [10 + number for number in range(300)]
        assert (len(db._core.dirty), db._core.dirty_bytes) == (0, 0)
        with db.batch():
            pass
        assert db.sync() == 0
        refused: list[Callable[[], object]] = [
            lambda: db.set(cell.key(0), 2),
            lambda: db.reset(cell.key(0)),
            lambda: db.forget("*"),
            db.gc,
        ]
        for call in refused:
            with pytest.raises(StoreReadOnly):
                call()
        assert db.notes() == ()


@pytest.mark.parametrize("state", ["read only", "full"])
def test_an_engine_that_cannot_save_does_not_try_at_every_run(
    store: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    runs = []
    writes = []

    @query(persist=False)
    def passing() -> int:
        runs.append(1)
        return 3

    @query
    def reader(number: int) -> int:
        return passing() + number

    @query
    def total(count: int) -> int:
        return sum(reader(number) for number in range(count))

    write = Store.write

    def count(self: Store, batch: Any) -> None:
        writes.append(1)
        write(self, batch)

    with Engine(store) as db:
        assert db.get(total, 1) == 3
    monkeypatch.setattr("engine.persist.CHUNK_NODES", 50)
    monkeypatch.setattr(Store, "write", count)
    with Engine(store, read_only=state == "read only") as db:
        if state == "full":
            fill_the_disk(db)
        runs.clear()
        assert db.get(total, 300) == sum(range(3, 303))
        assert len(runs) <= 2  # a value that is not kept goes two commits after it was made
        assert len(writes) <= 5


def test_a_value_that_could_not_be_saved_is_not_stored_with_the_failure_after_it(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refused(Exception):
        """No built-in: it is not stored."""

    @query
    def positive(number: int) -> int:
        if cell(number) < 0:
            raise Refused(number)
        return cell(number)

    def full(self: Store, batch: Any) -> None:
        raise StoreFull(store=self.path, cause="no space")

    with Engine(store) as db:
        assert db.store is not None
        db.set(cell.key(7), 1)
        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", full)
            assert db.get(positive, 7) == 1
            db.set(cell.key(7), -1)
        with pytest.raises(Refused):
            db.get(positive, 7)
        db.store.check_invariants()


# -- snapshots, and what grows ---------------------------------------------------------------------------


def test_a_snapshot_that_a_collection_took_away_says_so(store: Path) -> None:
    with Engine(store) as db:
        db.set(cell.key(0), 5)
        assert [db.get(ten, number) for number in range(3)] == [50, 51, 52]
        with db.snapshot() as old:
            assert old.get(ten, 0) == 50
            db.gc()
            db.set(cell.key(0), 6)
            assert [db.get(ten, number) for number in range(3)] == [60, 61, 62]
            with pytest.raises(SnapshotLost, match="collected or rebuilt"):
                old.get(ten, 1)


def test_a_snapshot_of_a_removed_store_never_answers_from_other_nodes(store: Path) -> None:
    with Engine(store) as db:
        db.set(cell.key(0), 5)
        assert [db.get(ten, number) for number in range(3)] == [50, 51, 52]
        with db.snapshot() as old:
            shutil.rmtree(store)
            assert [db.get(ten, number) for number in (7, 2, 1)] == [57, 52, 51]
            for number in range(3):
                with pytest.raises(SnapshotLost):
                    old.get(ten, number)


def test_no_list_grows_with_the_revisions(db: Engine) -> None:
    @query
    def never_asked_again() -> int:
        return cell(1)

    def revise(first: int, count: int) -> dict[str, int]:
        for value in range(first, first + count):
            db.set(cell.key(0), value)
            assert db.get(ten, 0) == value * 10
        owners = (vars(db._core), {name: getattr(db._core.graph, name) for name in db._core.graph.__slots__})
        return {
            name: len(value) for owner in owners for name, value in owner.items() if hasattr(value, "__len__")
        }

    db.get(never_asked_again)
    db.get(ten, 0)
    db.set(cell.key(1), 7)  # from here on a suspect
    before = revise(1_000, 100)
    after = revise(5_000, 300)
    assert {"revision_notes", "marked"} <= before.keys()
    assert {name for name in after if after[name] - before[name] > 100} == set()


@pytest.mark.parametrize("switch", [1, 2])
def test_a_memo_that_a_cycle_replaced_is_not_believed_after_an_interrupt(tmp_path: Path, switch: int) -> None:
    """Nothing is left of the cycle: the half that was computed goes, and what the store had goes too."""
    struck: list[Exception] = []

    @query(name="recover:first")
    def first() -> int:
        return 7 if cell(9) == 2 else second() + 1 if cell(9) == 1 else 3

    @query(name="recover:second")
    def second() -> int:
        try:
            return first()
        except CycleError as error:
            if not struck:
                struck.append(error)
                raise KeyboardInterrupt from None
            raise

    with Engine(tmp_path / "store") as db:
        db.set(cell.key(9), 0)
        assert db.get(first) == 3
        db.set(cell.key(9), 1)
        with pytest.raises(KeyboardInterrupt):
            db.get(second)
        db.check_invariants()
        if switch == 2:
            db.set(cell.key(9), 2)
    with Engine(tmp_path / "store") as db:
        assert db.store is not None
        db.store.check_invariants()
        if switch == 2:
            assert (db.get(first), db.get(second)) == (7, 7)
        else:
            with pytest.raises(CycleError):
                db.get(first)
        db.check_invariants()


def test_a_cycle_that_was_interrupted_is_no_answer(db: Engine) -> None:
    """One member had its error already, and the one that was interrupted is now what it was before."""
    strikes = [KeyboardInterrupt()]

    @query(name="recover:upper")
    def upper() -> int:
        try:
            return lower() if cell(9) else 3
        except CycleError:
            if strikes:
                raise strikes.pop() from None
            raise

    @query(name="recover:lower")
    def lower() -> int:
        return upper()

    db.set(cell.key(9), 0)
    assert db.get(lower) == 3
    db.set(cell.key(9), 1)
    with pytest.raises(KeyboardInterrupt):
        db.get(upper)
    db.set(cell.key(9), 0)
    assert (db.get(lower), db.get(upper)) == (3, 3)
    db.check_invariants()


KEYS = 3


@input(name="recover:edges")
def edges(key: int) -> tuple[int, ...]:
    return ()


@query(name="recover:above")
def above(key: int) -> str:
    found = []
    for below in edges(key):
        try:
            found.append(above(below))
        finally:
            burn()
    return f"{key}({', '.join(found)})"


@pytest.mark.parametrize("stored", [False, True])
def test_random_cycles_that_are_interrupted_come_to_what_they_are_from_scratch(
    tmp_path: Path, stored: bool
) -> None:
    for seed in range(60):
        chance, world = Random(seed), dict[int, tuple[int, ...]]()
        place = tmp_path / f"{seed}" if stored else None
        db = Engine(place)
        for _ in range(30):
            if chance.random() < 0.7:
                changed = chance.randrange(KEYS)
                world[changed] = chance.choice([(), ((changed + 1) % KEYS,), (0, 1)])
                db.set(edges.key(changed), world[changed])
            key = chance.randrange(KEYS)
            reads_left[0] = chance.choice([0, chance.randrange(1, 6)])
            with suppress(KeyboardInterrupt):
                found = told(db, above, key)
                reads_left[0] = 0
                with Engine(None) as scratch:
                    for one, several in world.items():
                        scratch.set(edges.key(one), several)
                    assert found == told(scratch, above, key), seed
            reads_left[0] = 0
            db.check_invariants()
            if place is not None and chance.random() < 0.3:
                db.close()
                db = Engine(place)
                assert db.store is not None
                db.store.check_invariants()
        db.close()
