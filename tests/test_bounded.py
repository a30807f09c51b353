"""A store stays as large as what it holds, however many revisions and branches it has seen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from attrs import frozen

import engine.tables.log
from engine import Engine, input, query, table
from engine.store import schema
from engine.store.history import VERSIONS

REVISIONS = 2_000
EVERY = 400  # revisions between two collections
HISTORY = 4


@input(name="bounded:cell")
def cell(name: str) -> int:
    return 0


@query(name="bounded:padded")
def padded(name: str) -> str:
    """A value of some size."""
    return f"{name} {cell(name):>400}"


@query(name="bounded:newest")
def newest() -> int:
    """In each revision it needs a key that nobody has asked for before, and never will again."""
    return len(padded(f"file {cell('revision')}")) + len(padded("branch"))


@frozen
class Row:
    number: int


@query(name="bounded:members")
def members() -> tuple[str, ...]:
    return ("a", "b") if cell("branch") else ("a", "b", "c")


@table(each=members, index=("number",), name="bounded:rows")
def rows(name: str) -> Iterable[Row]:
    return [Row(cell(name)), Row(cell(name) + 1)]


@query(name="bounded:overview")
def overview() -> tuple[int, int]:
    return newest(), rows.count()


def revise(db: Engine, number: int) -> None:
    with db.batch():
        db.set(cell.key("revision"), number)
        db.set(cell.key("branch"), number // 10 % 3)
        db.set(cell.key("a"), number % 7)
    db.get(overview)


def test_over_thousands_of_revisions_and_branches_a_store_that_is_collected_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.tables.log, "NET_ABOVE", 200)
    pages, counts, memos = [], [], []
    with Engine(tmp_path / "store", history=HISTORY) as db:
        store = db.store
        assert store is not None
        list(db.changes(rows, since="one that never comes back"))
        reader = db.changes(rows, since="one that comes now and then")
        for number in range(1, REVISIONS + 1):
            revise(db, number)
            if number % 100 == 0:
                list(reader)
            if number % EVERY == 0:
                before = store.statistics().rows
                assert before["node"] > EVERY  # there was something to collect
                db.gc()
                reader = db.changes(rows, since="one that comes now and then")
                found = store.statistics()
                pages.append(found.pages)
                counts.append(found.rows)
                earlier = store.earlier(range(store.state.next_node))
                memos.append(sum(map(len, earlier.values())))
                store.check_invariants()
    for name in counts[0]:
        if name not in ("revision", "change", "version", "earlier"):  # these have bounds of their own
            assert max(count[name] for count in counts) <= counts[0][name] + 8, name
    assert counts[-1]["revision"] <= schema.REVISIONS_KEPT
    assert counts[-1]["node"] < 60
    for name, kept in (("version", VERSIONS), ("earlier", HISTORY + 1)):
        assert max(count[name] for count in counts) <= 4 * kept  # the nodes are of a few parts
    assert max(memos) <= (HISTORY + 1) * counts[-1]["node"]
    assert counts[-1]["change"] <= 300
    assert max(pages[2:]) <= pages[1] + 8


def test_without_a_collection_the_history_of_each_key_is_bounded(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=HISTORY) as db:
        store = db.store
        assert store is not None
        pages = []
        for number in range(1, 1_501):
            db.set(cell.key("a"), number)
            assert len(db.get(padded, "a")) == 402
            if number % 500 == 0:
                pages.append(store.statistics().pages)
        found = store.statistics().rows
        # Of what nothing reads nobody asks what it was: the versions are those of the cell.
        assert found["node"] == 2
        assert VERSIONS <= found["version"] <= 2 * VERSIONS
        assert HISTORY < found["earlier"] <= 2 * (HISTORY + 1)
        assert found["revision"] <= schema.REVISIONS_KEPT
        assert pages[2] <= pages[1] + 2
