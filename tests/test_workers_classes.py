"""Classes that are loaded in one process only, and what queries print there, disturb nobody."""

from __future__ import annotations

import importlib
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


@pytest.mark.parametrize(("told", "options"), [("made", ""), ("asked_for", 'limit="one"')])
def test_a_query_that_only_a_worker_imported_concerns_nobody_here(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, options: str
) -> None:
    """Its memo cannot be taken over, nor what rests on it: here it is imported as the key runs."""
    late = f"late_and_{told}_{os.getpid()}"
    (tmp_path / f"{late}.py").write_text(
        f"from engine import query\n@query({options})\ndef below(n: int) -> int:\n    return n\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    rules = make(f"""
@query(workers="process")
def asks(n: int) -> int:
    from {late} import below
    note(n)
    return below(n) + 1

@query
def all_ask() -> int:
    return sum(each(asks, range(6)))
""")
    with Engine(None, processes=2, limits={"one": 1}) as db:
        assert db.get(rules.all_ask) == 21
        counts, pids = rules.noted()
        assert min(counts.values()) >= 2  # there, and here
        assert os.getpid() in pids
        db.check_invariants()
    monkeypatch.delitem(sys.modules, late)


@pytest.mark.parametrize("catches", ["ZeroDivisionError", "BaseException"])
def test_a_class_that_only_this_process_imported_concerns_no_worker(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, catches: str
) -> None:
    """A value of it cannot be read there: who asks for it runs here, though its query catches everything."""
    points = f"points_here_{catches}_{os.getpid()}"
    (tmp_path / f"{points}.py").write_text("from attrs import frozen\n@frozen\nclass Point:\n    x: int\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    rules = make(f"""
from typing import Any

@input
def cell() -> Any:
    return None

@query
def middle() -> int:
    try:
        return cell().x
    except {catches}:
        return -1

@query(workers="process")
def member(n: int) -> int:
    note(n)
    return middle() + n

@query
def members() -> int:
    return sum(each(member, range(4)))
""")
    with Engine(None, processes=2) as db:
        db.set(rules.cell.key(), importlib.import_module(points).Point(7))
        assert db.get(rules.members) == 4 * 7 + 6
        assert len(rules.noted()[1]) > 1
        assert db.counts().failed == 0
    monkeypatch.delitem(sys.modules, points)


MADE = """
def made() -> type:
    class Point(NamedTuple):
        x: int
    return Point

Point = made()

@query
def below(point: Point) -> int:
    note("below")
    return point.x

@query(workers="process")
def takes(point: Point) -> int:
    note("takes")
    return point.x

@query(workers="process")
def asks(n: int) -> int:
    note("asks")
    return below(Point(n))

@query
def all_take() -> int:
    return sum(each(takes, [Point(n) for n in range(6)]))

@query
def all_ask() -> int:
    return sum(each(asks, range(6)))
"""


@pytest.mark.parametrize(
    ("asked", "wanted"), [("all_take", {"takes": 6}), ("all_ask", {"asks": 6, "below": 6})]
)
def test_a_class_that_no_module_has_by_its_name_is_the_one_that_annotations_name(
    make: Make, asked: str, wanted: dict[str, int]
) -> None:
    """Arguments of it are read there and here, so that each key runs once."""
    rules = make(MADE)
    with Engine(None, processes=2) as db:
        assert db.get(getattr(rules, asked)) == 15
        counts, pids = rules.noted()
        assert counts == wanted
        assert os.getpid() not in pids


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
