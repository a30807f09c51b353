"""What was let go of a history, and is read again from the store, is what it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import engine.history
import engine.versions
from engine import Engine, each, input, query
from engine.locate import find
from engine.mark import spread
from engine.parallel.choose import next_of
from engine.store import EarlierRow, Store

KEYS = 2 * engine.history.NEIGHBOURS


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


@query
def member(number: int) -> int:
    return cell() + number


@query
def all_members() -> int:
    return sum(each(member, range(KEYS)))


def test_memos_too_large_to_stay_are_not_read_again_for_each_key_that_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who chooses what workers get looks at all members of a group before any of them is put back."""
    with Engine(tmp_path / "store") as db:
        for value in (1, 2):
            db.set(cell.key(), value)
            db.get(all_members)
    monkeypatch.setattr(engine.history, "MOST_LOADED", 10 * engine.history.MEMO_BYTES)
    read: list[int] = []
    real = Store.earlier

    def earlier(store: Store, nodes: Sequence[int]) -> dict[int, list[EarlierRow]]:
        read.extend(nodes)
        return real(store, nodes)

    monkeypatch.setattr(Store, "earlier", earlier)
    with Engine(tmp_path / "store") as db:
        db.set(cell.key(), 1)
        core = db._core
        for number in range(KEYS):
            with core.lock:
                node = find(core, member.key(number).query, (number,))
                spread(core)
                assert node is not None
                assert next_of(core, node) < 0, "an earlier memo holds again"
        assert KEYS <= len(read) < 3 * KEYS
        before = db.counts()
        assert db.get(all_members) == KEYS + sum(range(KEYS))
        assert (db.counts() - before).executed == 0
