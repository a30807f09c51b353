"""Queries whose module is imported while others run: plugins that a setting names, say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

APP = """
import importlib, json, sys
from engine import Engine, Sum, Transient, each, fold, query
from engine.rules.files import read_text

@query
def names() -> tuple[str, ...]:
    return tuple(f"n{number}" for number in range(20))

@query
def checked(name: str) -> int:
    return importlib.import_module("plugin").rule(name)

@query
def report() -> int:
    return sum(each(checked, names()))

total = fold(each=names, of=checked, into=Sum())

if __name__ == "__main__":
    with Engine(".engine", root=".") as db:
        for forgotten in sys.argv[1:]:
            db.forget(forgotten)
        before = db.counts()
        print(json.dumps([db.get(report), db.get(total), (db.counts() - before).executed]))
        db.check_invariants()
"""
PLUGIN = """
from engine import query
from engine.rules.files import read_text

@query
def rule(name: str) -> int:
    return len(read_text("a.txt")) + below(name)

@query
def below(name: str) -> int:
    return 1
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "plugin.py").write_text(PLUGIN)
    (tmp_path / "a.txt").write_text("xx")
    asked(tmp_path)
    return tmp_path


def asked(place: Path, *forgotten: str) -> Any:
    start = [sys.executable, "-B", "app.py", *forgotten]
    found = subprocess.run(start, cwd=place, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def test_one_reader_runs_to_import_a_module_and_nothing_else_where_its_code_is_what_it_was(
    place: Path,
) -> None:
    assert [asked(place) for _ in range(3)] == [[60, 60, 1]] * 3


def test_code_that_changed_in_a_module_that_is_imported_late_runs_and_only_it(place: Path) -> None:
    (place / "plugin.py").write_text(PLUGIN.replace("return 1", "return 5"))
    value, total, executed = asked(place)
    assert (value, total) == (140, 140)
    assert executed == 3 * 20 + 2
    (place / "plugin.py").write_text(PLUGIN.replace("return 1", "return 6 - 1"))
    assert asked(place)[:2] == [140, 140]
    assert asked(place) == [140, 140, 1]


def test_a_file_that_changed_is_seen_by_queries_of_a_module_that_is_imported_late(place: Path) -> None:
    (place / "a.txt").write_text("xxxx")
    assert asked(place) == [100, 100, 2 * 20 + 2]  # not those that read no file


def test_what_was_forgotten_runs_although_the_code_of_its_late_module_is_what_it_was(place: Path) -> None:
    assert asked(place, "plugin:rule*") == [60, 60, 20 + 1]
    assert asked(place, "*") == [60, 60, 20 * 3 + 3]
