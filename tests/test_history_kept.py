"""Of earlier memos a bounded number is kept, and of bytes, and nothing of a key that never changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest

import engine.history
import engine.store.parts
from engine import Engine, each, query
from tests.histories import cell, chosen, doubled, report


@query(name="history:shifted")
def shifted(number: int) -> int:
    return number + cell("of all")


@query(name="history:all")
def all_shifted(count: int) -> int:
    return sum(each(shifted, range(count)))


def test_of_each_key_a_few_earlier_memos_are_kept_the_newest(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=3) as db:
        assert db.store is not None
        for value in range(10):
            db.set(cell.key("a"), value)
            db.get(doubled, "a")
        assert 3 < db.store.statistics().rows["earlier"] <= 2 * (3 + 1)
        ran = []
        for value in (8, 7, 6, 0):
            db.set(cell.key("a"), value)
            before = db.counts()
            assert db.get(doubled, "a") == 2 * value
            ran.append((db.counts() - before).executed)
        assert ran == [0, 0, 1, 1]  # the ninth took the place of the sixth


def test_a_memo_that_was_put_back_and_is_replaced_again_is_kept_once(tmp_path: Path) -> None:
    for value in (1, 2, 1, 2, 1, 3, 1, 2):
        with Engine(tmp_path / "store", history=4) as db:
            assert db.store is not None
            db.set(cell.key("a"), value)
            assert db.get(doubled, "a") == 2 * value
            kept = db.store.statistics().rows["earlier"]
            db.store.check_invariants()
    assert kept == 3


def test_all_earlier_memos_together_take_a_bounded_number_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.store.parts, "MOST_BYTES", 2_000)
    with Engine(tmp_path / "store", history=4) as db:
        assert db.store is not None
        for name in map(str, range(40)):
            for value in (0, 1):
                db.set(cell.key(name), value)
                db.get(doubled, name)
        assert 5 <= db.store.statistics().rows["earlier"] <= 2_000 // 120
        db.store.check_invariants()


def test_a_key_that_is_computed_once_leaves_no_history(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=4) as db:
        assert db.store is not None
        db.get(report)
        rows = db.store.statistics().rows
        assert (rows["earlier"], rows["version"]) == (0, 0)


def test_gc_keeps_what_earlier_memos_read_and_drops_the_history_of_what_goes(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=4) as db:
        assert db.store is not None
        db.get(chosen)
        db.set(cell.key("switch"), 1)
        db.get(chosen)
        db.gc()
        before = db.counts()
        db.set(cell.key("switch"), 0)
        assert db.get(chosen) == 0
        assert (db.counts() - before).executed == 0
        db.store.check_invariants()


def test_without_a_store_a_key_that_is_replaced_costs_no_look_at_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[int] = []

    def counted(several: Iterable[int], most: int) -> Iterator[int]:
        looks.append(most)
        return islice(several, most)

    monkeypatch.setattr(engine.history, "islice", counted)
    monkeypatch.setattr(engine.history, "MOST_HELD", 20)
    monkeypatch.setattr(engine.history, "LET_GO", 5)
    with Engine(None, history=4) as db:
        assert db._core.history is not None
        db.get(all_shifted, 40)
        db.set(cell.key("of all"), 1)
        assert db.get(all_shifted, 40) == sum(range(1, 41))
        assert looks == [5] * 5  # of 41 keys, 20 are kept
        assert len(db._core.history._memos) == 16
