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
