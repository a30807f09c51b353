"""Classes that are loaded in one process only, and what queries print there, disturb nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from tests.workers import Rules, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]

POINTS = """
from typing import Any

@query
def takes(point: Any) -> int:
    return point.x

@query(workers="process")
def asks(n: int) -> int:
    from {points} import Point
    return takes(Point(n)) + 1

@query(workers="process")
def makes(n: int) -> Any:
    from {points} import Point
    return Point(n)

@query
def all_ask() -> int:
    return sum(each(asks, range(6)))

@query
def all_made() -> int:
    return sum(point.x for point in each(makes, range(6)))
"""


@pytest.mark.parametrize(("asked", "wanted"), [("all_ask", 21), ("all_made", 15)])
def test_a_class_that_only_a_worker_imported_concerns_nobody_here(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, wanted: int
) -> None:
    """That the arguments of a memo cannot be read here became the failure of who asked for the group."""
    points = f"points_of_{asked}_{os.getpid()}"
    (tmp_path / f"{points}.py").write_text("from attrs import frozen\n@frozen\nclass Point:\n    x: int\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    rules = make(POINTS.replace("{points}", points))
    with Engine(None, processes=2) as db:
        assert db.get(getattr(rules, asked)) == wanted
        db.check_invariants()
    monkeypatch.delitem(sys.modules, points, raising=False)


SAYS = """
import sys
sys.path[:0] = {path!r}
import {name} as rules
from engine import Engine
with Engine(None, processes=1) as db:
    db.get(rules.all_say)
"""


def test_what_is_printed_in_a_worker_is_told_though_it_is_ended(make: Make, tmp_path: Path) -> None:
    """It was in a buffer, since the output of a worker is a pipe to begin with."""
    rules = make("""
@query(workers="process")
def says(n: int) -> int:
    print("hello from", n)
    return n

@query
def all_say() -> int:
    return sum(each(says, range(3)))
""")
    program = SAYS.format(name=rules.name, path=[str(tmp_path), *sys.path])
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert (ended.stdout, ended.returncode) == ("", 0)
    assert sorted(ended.stderr.splitlines()) == [f"hello from {n}" for n in range(3)]
