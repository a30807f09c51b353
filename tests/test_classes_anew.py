"""Classes that a reload defines anew: what was in memory is of the classes of now."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine import Engine
from tests.workers import Rules

TEXT = """
from typing import NamedTuple
from engine import input, query

class Row(NamedTuple):
    n: int

@input
def several() -> int:
    return 6

@query
def row(n: int) -> Row:
    return Row(n)

@query
def total() -> int:
    return sum(row(n).n for n in range(several()))

@query
def is_row(n: int) -> bool:
    return isinstance(row(n), Row)
"""


def test_what_was_read_ahead_is_of_the_class_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody had asked for it by its arguments: what was renewed was found by these."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    rules = Rules(tmp_path, TEXT, head="")
    with Engine(tmp_path / "store") as db:
        assert db.get(rules.total) == 15
    with Engine(tmp_path / "store") as db:
        db.set(rules.several, 1)
        assert db.get(rules.total) == 0  # it read six rows before
        rules.load()
        assert db.get(rules.is_row, 3)
        assert db.verify().differences == ()


def test_a_snapshot_that_is_held_over_a_reload_is_of_the_classes_and_the_code_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("engine.code.fingerprint.STARTED_NS", 1 << 62)
    rules = Rules(tmp_path, TEXT, head="")
    with Engine(None) as db:
        assert db.get(rules.total) == 15
        with db.snapshot() as old:
            db.set(rules.several, 3)
            assert db.get(rules.total) == 3
            assert old.get(rules.is_row, 3)
            rules.load()
            assert old.get(rules.is_row, 4)  # its row is one that the engine has
            rules.file.write_text(TEXT.replace("return isinstance", "return not isinstance"))
            rules.load()
            assert not old.get(rules.is_row, 3)  # and this is one that the snapshot had
            assert not old.get(rules.is_row, 4)
            assert old.get(rules.total) == 15


FOLDED = """
from typing import NamedTuple
from engine import fold, input, query

class Row(NamedTuple):
    n: int

class State(NamedTuple):
    rows: int

class Added:
    def zero(self) -> State:
        return State(0)
    def add(self, state: State, value: Row) -> State:
        return State(state.rows + (1 if isinstance(value, Row) else 100))
    def remove(self, state: State, value: Row) -> State:
        return State(state.rows - (1 if isinstance(value, Row) else 10))
    def result(self, state: State) -> tuple[int, bool]:
        return state.rows, isinstance(state, State)

class Merged:
    def empty(self) -> int:
        return 0
    def lift(self, value: Row) -> int:
        return isinstance(value, Row)
    def merge(self, one: int, other: int) -> int:
        return one + other
    def result(self, rows: int) -> tuple[int, bool]:
        return rows, True

@query
def keys() -> tuple[int, ...]:
    return 0, 1, 2

@input
def cell(n: int) -> int:
    return n

@query
def row(n: int) -> Row:
    return Row(cell(n))

added = fold(each=keys, of=row, into=Added())
merged = fold(each=keys, of=row, into=Merged())
"""


@pytest.mark.parametrize("folded", ["added", "merged"])
@pytest.mark.parametrize("waits", [False, True])
def test_a_fold_gets_values_and_a_state_of_the_classes_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folded: str, waits: bool
) -> None:
    """A member had been computed, and what it contributes waited, as it was, for who asks for the fold."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("engine.code.fingerprint.STARTED_NS", 1 << 62)  # so that the fold is the same one
    rules = Rules(tmp_path, FOLDED, head="")
    with Engine(None) as db:
        assert db.get(getattr(rules, folded)) == (3, True)
        for value in (10, 11):
            db.set(rules.cell.key(1), value)
            if waits:
                db.get(rules.row, 1)
            rules.load()
            assert db.get(getattr(rules, folded)) == (3, True)
            rules.load()
            assert not db.audit(getattr(rules, folded)).differences
