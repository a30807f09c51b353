"""A lost or collected store costs nothing that the host set, and its snapshots say that they are lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine import Engine, SnapshotLost, StoreFull, query, request
from engine.query import info_of
from engine.store.sqlite import Store
from tests.interrupts import cell, loud, ten, text


def test_an_overlay_survives_a_collection(store: Path) -> None:
    with Engine(store) as db:
        assert db.get(loud, "a", 0) == "disk!0"
        db.set(text.key("a"), "overlay")
        assert db.get(loud, "a", 0) == "overlay!0"
        db.gc()
        assert [db.get(loud, "a", number) for number in (0, 1)] == ["overlay!0", "overlay!1"]
        db.reset(text.key("a"))
        assert db.get(loud, "a", 0) == "disk!0"


def test_what_the_host_set_survives_a_removed_store(store: Path) -> None:
    with Engine(store) as db:
        db.set(cell.key(0), 5)
        assert db.get(ten, 0) == 50
        revision = db.revision
        shutil.rmtree(store)
        assert db.get(ten, 2) == 52
        assert db.revision >= revision
        assert any(f"The store in {store} was damaged or removed" in note for note in db.notes())


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


def test_a_collection_that_finds_no_room_to_give_back_room_leaves_nothing_that_is_gone_in_memory(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(store, history=0) as db:
        db.set(cell.key(0), 1)
        assert db.get(chosen) == 10
        db.set(cell.key(0), 2)
        assert db.get(chosen) == 20
        db.set(cell.key(1), 5)  # ten(1), which nobody reads any more, is not right any more
        with monkeypatch.context() as patch:
            for way in ("checkpoint", "compact"):
                patch.setattr(Store, way, full)
            with pytest.raises(StoreFull):
                db.gc()
        db.set(cell.key(0), 1)
        assert db.get(chosen) == 50
    with Engine(store, history=0) as db:
        assert db.get(chosen) == 50
        db.set(cell.key(1), 6)
        assert (db.get(chosen), db.get(cell, 0)) == (60, 1)
        assert not db.notes()


def full(store: Store) -> None:
    raise StoreFull(store=store.path)


@query
def tenfold(number: int) -> int:
    return cell(number) * 10


@query
def chosen() -> int:
    return tenfold(1) if cell(0) == 1 else cell(0) * 10


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


def test_a_store_that_is_removed_while_many_keys_are_brought_up_to_date_fails_none_of_them(
    store: Path,
) -> None:
    with Engine(store) as db:
        db.set(cell.key(0), 5)
        removed: list[int] = []

        def wanted() -> bool:
            if len(removed) == 2:
                shutil.rmtree(store)
            removed.append(len(removed))
            return True

        asked = [(info_of(ten), (number,)) for number in range(4)]
        errors, revision = request.refresh(db._core, asked, wanted, lambda revision: revision)
        assert (errors, revision) == ([None] * 4, db.revision)
        assert [db.get(ten, number) for number in range(4)] == [50, 51, 52, 53]
    with Engine(store) as db:
        assert [db.get(ten, number) for number in range(4)] == [50, 51, 52, 53]
        assert db.counts().executed == 0
