"""Members are computed by several processes, each once, and after a change only those that must run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from engine import Engine
from tests.workers import SQUARES, Rules, graph_of, make, others

__all__ = ["make", "others"]  # fixtures

Make = Callable[[str], Rules]
HERE = os.getpid()


def test_members_are_computed_by_several_processes_each_once(make: Make, tmp_path: Path) -> None:
    rules = make(SQUARES.replace("note(n)", "note(n); time.sleep(0.01)"))
    with Engine(tmp_path / "store", processes=2) as db:
        assert db.get(rules.squares) == sum(n * n for n in range(40))
        counts, pids = rules.noted()
        assert counts == {str(n): 1 for n in range(40)}
        assert len(pids - {HERE}) == 2
        assert HERE not in pids
        assert db.counts().executed == 41


def test_after_a_change_only_what_must_run_goes_out(make: Make, tmp_path: Path) -> None:
    rules = make("""
@query(workers="process")
def parsed(path: str) -> str:
    note(f"parsed {path}"); time.sleep(0.002)  # expensive enough to be asked for
    return read_text(path).strip()

@query(workers="process")
def size(path: str) -> int:
    note(f"size {path}")
    return len(parsed(path))

@query
def total() -> int:
    return sum(each(size, [str(n) for n in range(20)]))
""")
    for n in range(20):
        (tmp_path / str(n)).write_text("a" * n)
    with Engine(tmp_path / "store", root=tmp_path, processes=2) as db:
        assert db.get(rules.total) == 190
        rules.noted()
        for n in range(5):
            (tmp_path / str(n)).write_text("a" * n + " ")  # equal once it is parsed
        for n in range(5, 10):
            (tmp_path / str(n)).write_text("b" * (n + 1))
        db.sync()
        before = db.counts()
        assert db.get(rules.total) == 195
        counts, pids = rules.noted()
        wanted = {f"parsed {n}": 1 for n in range(10)} | {f"size {n}": 1 for n in range(5, 10)}
        assert counts == wanted
        assert HERE not in pids
        more = db.counts() - before
        assert (more.executed, more.cut_off) == (16, 5)


def test_changed_code_runs_in_workers_and_equal_values_are_backdated(make: Make, tmp_path: Path) -> None:
    rules = make(SQUARES)
    with Engine(tmp_path / "store", processes=2) as db:
        db.get(rules.squares)
    rules.file.write_text(rules.file.read_text().replace("return n * n", "return n ** 2"))
    rules.load()
    rules.noted()
    with Engine(tmp_path / "store", processes=2) as db:
        db.get(rules.squares)
        counts, pids = rules.noted()
        assert sum(counts.values()) == 40
        assert HERE not in pids
        assert (db.counts().executed, db.counts().cut_off) == (40, 40)


def test_what_is_expensive_and_known_here_is_asked_for(make: Make, tmp_path: Path) -> None:
    rules = make("""
@query
def shared() -> int:
    note("shared"); time.sleep(0.01)
    return 7

@query(workers="process")
def uses(n: int) -> int:
    return shared() + n

@query
def all_uses() -> tuple[int, ...]:
    return (shared(), *each(uses, range(20)))
""")
    for _ in range(2):
        with Engine(tmp_path / "store", processes=2) as db:
            assert db.get(rules.all_uses) == (7, *range(7, 27))
            db.forget("*uses*")
            assert db.get(rules.all_uses) == (7, *range(7, 27))
    assert rules.noted()[0] == {"shared": 1}


def test_after_a_collection_and_after_a_lost_store_workers_go_on(make: Make, tmp_path: Path) -> None:
    rules = make(SQUARES)
    with Engine(tmp_path / "store", processes=2) as db:
        wanted = db.get(rules.squares)
        db.gc()
        db.forget("*")
        assert db.get(rules.squares) == wanted
        db._core.torn = True  # as after an interrupt amid a change
        db.forget("*")
        assert db.get(rules.squares) == wanted
        db.check_invariants()


def test_values_that_their_query_calls_equal_are_equal_below_members_too(make: Make, tmp_path: Path) -> None:
    """Which they are is said of the value of before, which no worker has."""
    rules = make("""
@input
def cell() -> int:
    return 1

@input
def other() -> int:
    return 1

@query(eq=lambda one, another: abs(one - another) < 10)
def about() -> int:
    return cell()

@query(workers="process")
def member(n: int) -> int:
    return other() + about() + n

@query
def members() -> tuple[int, ...]:
    return each(member, range(20))

@query
def reader() -> int:
    note("reader")
    return about()
""")
    found = []
    for place, processes in (("here", 0), ("there", 2)):
        with Engine(tmp_path / place, processes=processes) as db:
            db.get(rules.members)
            db.get(rules.reader)
            with db.batch():
                db.set(rules.cell.key(), 3)
                db.set(rules.other.key(), 2)
            found.append((db.get(rules.members), db.get(rules.reader), graph_of(db)))
            assert rules.noted()[0] == {"reader": 1}
    assert found[0] == found[1]
