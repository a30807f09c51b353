"""What several workers need is computed once, nearly: values travel with the batches."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from tests.workers import Rules, graph_of, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]
HERE = os.getpid()

# The shape of most programs: something of each file, and something that reads it of several files.
FILES = 300
LEAVES = """
COUNT = {count}

def meet() -> None:  # both workers: a slow start must not leave everything to one of them
    if os.getpid() == {here}:
        return
    note("here")
    while len({{line for line in LOG.read_text().splitlines() if line.startswith("here ")}}) < 2:
        time.sleep(0.001)

@query(workers={leaf!r})
def summary(n: int) -> str:
    note(f"summary {{n}}")
    time.sleep(0.0002)
    return f"summary of {{n}}"

@query(workers="process")
def resolution(n: int) -> int:
    meet()
    note(f"resolution {{n}}")
    return sum(len(summary((n * one * one + one) % COUNT)) for one in (0, 1, 7, 19, 83, 131))

@query
def total() -> int:
    return sum(each(resolution, range(COUNT)))
"""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few files are a build of a blink: with one unit in a batch it looks like one of many files."""
    monkeypatch.setattr("engine.parallel.pending.BATCH_SECONDS", 0.0)
    monkeypatch.setattr("engine.parallel.held.ASK_US", 10**9)  # leaves are too cheap to be asked for


def twice(make: Make, tmp_path: Path) -> int:
    """How many summaries were computed more than once."""
    rules = make(LEAVES.format(here=HERE, count=FILES, leaf="auto"))
    with Engine(tmp_path / "store", processes=2) as db:
        there = db.get(rules.total)
        counts, pids = rules.noted()
        assert HERE not in pids
        assert db.counts().executed == 2 * FILES + 1
        db.check_invariants()
        graph = graph_of(db)
    with Engine(tmp_path / "here") as db:
        assert db.get(rules.total) == there
        assert graph_of(db) == graph
    rules.noted()
    assert all(counts[f"resolution {n}"] == 1 for n in range(FILES))
    summaries = sum(counts[f"summary {n}"] for n in range(FILES))
    return summaries - FILES


def test_leaves_that_many_members_read_are_seldom_computed_twice(make: Make, tmp_path: Path) -> None:
    assert twice(make, tmp_path) <= FILES // 10


def test_without_values_along_the_way_many_are_computed_twice(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above would find if nothing were given."""
    monkeypatch.setattr("engine.parallel.shared.GIVE_US", 10**9)
    assert twice(make, tmp_path) > FILES // 3


def test_what_a_key_read_when_it_last_ran_travels_with_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = make(LEAVES.format(here=HERE, count=40, leaf="inline"))
    monkeypatch.setattr("engine.parallel.shared.LOAD_US", 0)
    with Engine(tmp_path / "store", processes=2) as db:
        db.get(rules.total)
        rules.noted()
    for _ in range(2):  # values are in the store, and then in memory
        with Engine(tmp_path / "store", processes=2) as db:
            db.forget("*resolution*")
            db.get(rules.total)
            counts, pids = rules.noted()
            del counts["here"]
            assert counts == {f"resolution {n}": 1 for n in range(40)}
            assert HERE not in pids


def test_a_value_that_cannot_be_read_here_is_not_given(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its class is not loaded in this process; nobody reads it any more."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "shapes_of_others.py").write_text(
        "from typing import NamedTuple\nclass Shape(NamedTuple):\n    n: int\n"
    )
    rules = make("""
from typing import Any

@input
def cell() -> int:
    return 1

@query(workers="inline")
def shape(n: int) -> Any:
    from shapes_of_others import Shape
    time.sleep(0.001)
    return Shape(n)

@query(workers="process")
def member(n: int) -> int:
    return shape(n)[0] if cell() == 1 else n + 1

@query
def total() -> int:
    return sum(each(member, range(20)))
""")
    with Engine(tmp_path / "store") as db:
        assert db.get(rules.total) == 190
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
import {rules.name} as rules
from engine import Engine
with Engine({str(tmp_path / "store")!r}, processes=2) as db:
    db.set(rules.cell.key(), 2)
    print(db.get(rules.total))
"""
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=600
    )
    assert done.stdout == "210\n", done.stderr
