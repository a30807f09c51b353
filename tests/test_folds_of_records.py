"""Folds over values of classes of one's own, after a restart and after the class has changed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RULES = """
import enum
from attrs import frozen
from engine import Set, fold, query

@frozen
class Point:
    {fields}

class Color(enum.Enum):
    {colors}

@frozen
class Widest:
    a: int

class Total:
    def zero(self): return 0
    def add(self, state, value): return state + value.a
    def remove(self, state, value): return state - value.a
    def result(self, state) -> Widest: return Widest(state)

class Last:
    def empty(self): return None
    def lift(self, value): return value
    def merge(self, left, right): return right
    def result(self, state): return state

@query
def keys() -> tuple[str, ...]:
    return ("a", "b", "c")

@query
def point(key: str) -> Point:
    return Point({point})

@query
def color(key: str) -> Color:
    return Color.{color}

FOLDS = [fold(each=keys, of=point, into=one) for one in (Set(), Total(), Last())]
FOLDS.append(fold(each=keys, of=color, into=Set()))
"""
ASK = """
import rules
from engine import Engine
with Engine(None) as scratch:
    expected = [repr(scratch.get(one)) for one in rules.FOLDS]
with Engine("store") as db:
    for _ in range(2):
        found = [repr(db.get(one)) for one in rules.FOLDS]
        assert found == expected, (found, expected)
    assert not any(db.audit(one).differences for one in rules.FOLDS)
"""
FIRST = {"fields": "a: int; b: int", "point": "3, 2", "colors": "RED = 1; BLUE = 2", "color": "RED"}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"fields": "a: int", "point": "3"},
        {"fields": "a: int; b: int; c: str", "point": "3, 2, 'x'"},
        {"fields": "a: float; b: int", "point": "3.5, 2"},
        {"colors": "ROT = 1; BLUE = 2", "color": "ROT"},
        {"colors": "RED = 'x'; BLUE = 'y'"},
    ],
    ids=["unchanged", "a field less", "a field more", "another type", "renamed", "other values"],
)
def test_a_fold_of_records_is_right_after_a_restart_whatever_became_of_their_class(
    changed: dict[str, str], tmp_path: Path
) -> None:
    for version in (FIRST, FIRST, {**FIRST, **changed}, FIRST):
        (tmp_path / "rules.py").write_text(RULES.format(**version))
        command = [sys.executable, "-B", "-c", ASK]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
