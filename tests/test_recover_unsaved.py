"""An engine that cannot save says so, tries it seldom, and what it holds does not grow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, StoreFull, StoreReadOnly, query, recover
from engine.store.sqlite import Store
from tests.interrupts import cell, db, fill_the_disk, interrupt, ten
from tests.striking import strike

__all__ = ["db"]  # a fixture


def test_a_read_only_engine_saves_nothing_and_says_so(store: Path) -> None:
    with Engine(store) as db:
        db.get(ten, 0)
    with Engine(store, read_only=True) as db:
        assert [db.get(ten, number) for number in range(300)] == [10 + number for number in range(300)]
        assert (len(db._core.unsaved.nodes), db._core.unsaved.value_bytes) == (0, 0)
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


def full(self: Store, batch: Any) -> None:
    raise StoreFull(store=self.path, cause="no space")


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


def test_what_the_host_set_on_a_full_disk_is_saved_by_a_close_after_an_interrupt(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(store) as db:
        assert db.get(ten, 3) == 13
        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", full)
            db.set(cell.key(0), 5)
            interrupt(db, patch)
    with Engine(store) as db:
        assert db.get(cell, 0) == 5
        assert db.get(ten, 3) == 53


def test_so_it_is_by_a_close_after_a_second_interrupt_which_strikes_while_the_lists_are_built_anew(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(store) as db:
        assert db.get(ten, 3) == 13
        with monkeypatch.context() as patch:
            patch.setattr(Store, "write", full)
            db.set(cell.key(0), 5)
            interrupt(db, patch)
            strike(patch, recover, "open_graph")
            with pytest.raises(KeyboardInterrupt):
                db.get(ten, 3)
    with Engine(store) as db:
        assert (db.get(cell, 0), db.get(ten, 3)) == (5, 53)


def test_no_list_grows_with_the_revisions(db: Engine) -> None:
    @query
    def never_asked_again() -> int:
        return cell(1)

    def revise(first: int, count: int) -> dict[str, int]:
        for value in range(first, first + count):
            db.set(cell.key(0), value)
            assert db.get(ten, 0) == value * 10
        return {name: len(value) for name, value in kept_by(db).items() if hasattr(value, "__len__")}

    db.get(never_asked_again)
    db.get(ten, 0)
    db.set(cell.key(1), 7)  # from here on a suspect
    before = revise(1_000, 100)
    after = revise(5_000, 300)
    assert {"unsaved.revisions", "graph.marked"} <= before.keys()
    assert {name for name in after if after[name] - before[name] > 100} == set()


def kept_by(db: Engine) -> dict[str, Any]:
    """What stands in the core of an engine, and in each of its nouns."""
    kept = slots_of(db._core)
    for name, noun in slots_of(db._core).items():
        kept |= {f"{name}.{slot}": value for slot, value in slots_of(noun).items()}
    return kept


def slots_of(owner: object) -> dict[str, Any]:
    slots = getattr(type(owner), "__slots__", ())
    return {slot: getattr(owner, slot) for slot in slots if hasattr(owner, slot)}
