"""What was let go of a history, and is read again from the store, is what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

import engine.history
import engine.versions
from engine import Engine, input, query


@input
def cell() -> int:
    return 0


@query
def doubled() -> int:
    return 2 * cell()


@query
def above() -> int:
    return doubled()


@query
def both() -> int:
    """Its earlier memos are compared while those of what it reads second are read."""
    return cell() + above()


def what_ran(store: Path) -> list[int]:
    with Engine(store, history=2) as db:
        ran = []
        for value in (1, 2, 1, 3, 2, 1, 2, 3, 1, 3):
            db.set(cell.key(), value)
            before = db.counts().executed
            assert db.get(both) == 3 * value
            ran.append(db.counts().executed - before)
        return ran


def test_a_history_that_is_let_go_after_every_commit_puts_back_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = what_ran(tmp_path / "held")
    monkeypatch.setattr(engine.history, "MOST_LOADED", -1)
    monkeypatch.setattr(engine.versions, "MOST_LOADED", -1)
    assert what_ran(tmp_path / "let go") == held
