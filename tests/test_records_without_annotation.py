"""A record that no annotation names is read again by a process that has its module, and by no other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.store.records import loaded_class

RULES = """
from collections.abc import Iterable
from typing import Any
from attrs import frozen
from engine import query, table

@frozen
class Point:
    a: int

@query
def loose() -> Any:
    return Point(1)

@query
def bare():
    return (Point(2),)

@query
def keys() -> tuple[str, ...]:
    return ("k",)

@frozen
class Row:
    key: str
    value: Any

@table(each=keys, index=("key", "value"))
def rows(key: str) -> Iterable[Row]:
    yield Row(key, Point(3))
"""
ASK = """
from rules import Point, Row, bare, loose, rows
from engine import Engine
with Engine("store") as db:
    assert db.get(loose) == Point(1)
    assert db.get(bare) == (Point(2),)
    assert db.get(rows.where) == (Row("k", Point(3)),)
    assert db.get(rows.count, value=Point(3)) == 1
"""


def test_values_rows_and_lookups_of_records_come_back_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", ASK], cwd=tmp_path, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name", ["antigravity:anything", "os:system", "builtins:int", "nothing", ":", "os:", 3]
)
def test_nothing_is_imported_and_only_records_and_enums_are_found(name: object) -> None:
    assert loaded_class(name) is None
    assert "antigravity" not in sys.modules
