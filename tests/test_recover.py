"""After an interrupt an engine is usable: nothing that was set is lost, and nothing outdated is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Engine, Query, StoreError, advance, input, query
from engine.store.sqlite import Store
from tests.interrupts import cell, db, fill_the_disk, interrupt, loud, ten, text
from tests.striking import strike

__all__ = ["db"]  # a fixture


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


def test_a_read_only_engine_works_on_after_an_interrupt(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine(store) as db:
        assert [db.get(ten, number) for number in range(3)] == [10, 11, 12]
    with Engine(store, read_only=True) as db:
        assert db.get(ten, 0) == 10
        interrupt(db, monkeypatch)
        assert [db.get(ten, number) for number in range(4)] == [10, 11, 12, 13]
