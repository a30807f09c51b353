"""Sentences for people wait for a host that asks for them, and take no room of one that never does."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from engine import Engine, input, query


@input
def cell(number: int) -> int:
    return 0


def test_a_query_that_is_not_pure_is_told_once_until_somebody_asks(tmp_path: Path) -> None:
    runs = count()

    @query(persist=False)
    def impure() -> int:
        return next(runs)

    @query
    def reader() -> int:
        return impure() + cell(0)

    def work() -> None:
        for value in range(10):
            db.set(cell.key(0), value)
            db.get(reader)

    with Engine(tmp_path / "store") as db:
        for _ in range(2):
            work()
            (told,) = db.notes()
            assert told.endswith("impure() gave another value for the same inputs: it is not pure")


def test_of_notes_that_nobody_asks_for_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.telling.NOTES", 3)
    with Engine(None) as db:
        for number in range(9):
            db._core.telling.note(f"note {number}")
        assert db.notes() == ("note 6", "note 7", "note 8")
