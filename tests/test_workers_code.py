"""A module of rules is edited while workers live: the code that runs is the one that this process has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from tests.workers import Rules, children, graph_of, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]
HERE = os.getpid()

POWERS = """
@input
def base() -> int:
    return 0

def power(n: int) -> int:
    return n ** 2

@query(workers="process")
def member(n: int) -> int:
    note(n)
    return power(n) + base()

@query
def total() -> int:
    return sum(each(member, range(20)))
"""


def edit(rules: Rules, old: str, new: str) -> None:
    """Save the module as an editor does."""
    text = rules.file.read_text()
    assert old in text
    fresh = rules.file.with_suffix(".new")
    fresh.write_text(text.replace(old, new))
    fresh.replace(rules.file)


def test_code_that_is_loaded_anew_between_two_revisions_is_what_runs(make: Make, tmp_path: Path) -> None:
    rules = make(POWERS)
    with Engine(tmp_path / "store", processes=2) as db:
        assert db.get(rules.total) == sum(n**2 for n in range(20))
        workers = children()
        assert len(workers) == 2
        for exponent in (3, 4):
            edit(rules, f"n ** {exponent - 1}", f"n ** {exponent}")
            rules.load()
            rules.noted()
            assert db.get(rules.total) == sum(n**exponent for n in range(20))
            counts, pids = rules.noted()
            assert counts == {str(n): 1 for n in range(20)}
            assert HERE not in pids
            assert not pids & workers.keys()  # those had the module of before
            assert len(children()) <= 2
            db.check_invariants()
        found = graph_of(db)
    with Engine(tmp_path / "other") as db:
        db.get(rules.total)
        assert {name: one[5] for name, one in graph_of(db).items()} == {
            name: one[5] for name, one in found.items()
        }


def test_code_that_is_edited_and_not_loaded_is_not_run_by_anybody(make: Make) -> None:
    """Workers that live have what this process has. New ones have not, and give the keys back."""
    rules = make(POWERS)
    with Engine(None, processes=2) as db:
        assert db.get(rules.total) == sum(n**2 for n in range(20))
        edit(rules, "n ** 2", "n ** 3")
        rules.noted()
        db.set(rules.base.key(), 1)
        assert db.get(rules.total) == sum(n**2 + 1 for n in range(20))
        assert HERE not in rules.noted()[1]
        assert db._core.dispatch is not None
        for number in list(db._core.dispatch.exchange._slots):
            with db._core.lock:
                db._core.dispatch.exchange._drop(number)
        db.set(rules.base.key(), 2)
        assert db.get(rules.total) == sum(n**2 + 2 for n in range(20))
        assert rules.noted()[1] == {HERE}
        db.check_invariants()


def test_code_that_is_edited_while_workers_run_it_is_one_code_in_the_answer(
    make: Make, tmp_path: Path
) -> None:
    rules = make(
        POWERS.replace(
            "    note(n)\n",
            """    note(n)
    if n == 3 and base() == 0:  # an editor saves meanwhile
        fresh = Path(__file__).with_suffix(".new")
        fresh.write_text(Path(__file__).read_text().replace("n ** 2", "n ** 3"))
        fresh.replace(__file__)
""",
        )
    )
    with Engine(tmp_path / "store", processes=2) as db:
        assert db.get(rules.total) == sum(n**2 for n in range(20))
        assert "n ** 3" in rules.file.read_text()
        db.set(rules.base.key(), 1)
        assert db.get(rules.total) == sum(n**2 + 1 for n in range(20))
        rules.load()
        assert db.get(rules.total) == sum(n**3 + 1 for n in range(20))
        db.check_invariants()


def test_a_module_that_workers_cannot_import_concerns_its_own_queries_alone(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others go out in the same batch, and what that says of the host's values is heard."""
    monkeypatch.setattr("engine.parallel.pending.LARGEST", 4)
    monkeypatch.setattr("engine.parallel.pending.Pending.took", lambda self, *_: setattr(self, "_size", 4))
    broken = make(f"""
@query(workers="process")
def first(n: int) -> int:
    note("here" if os.getpid() == {HERE} else "there")
    return n

@query(workers="process")
def second(n: int) -> int:
    note("here" if os.getpid() == {HERE} else "there")
    return n

if os.getpid() != {HERE}:
    raise RuntimeError("not there")
""")
    fine = make("""
@input
def cell() -> int:
    return 1

@query(workers="process")
def member(n: int) -> int:
    note(f"{n} {os.getpid()}")
    return n * cell()
""")
    total = make(f"""
from {broken.name} import first, second
from {fine.name} import member

@query
def total() -> int:
    keys = [first.key(0), *(member.key(n) for n in range(20)), first.key(1), second.key(2)]
    return sum(each([*keys, *(member.key(n) for n in range(20, 40))]))
""")
    with Engine(None, processes=1) as db:
        db.set(fine.cell.key(), 5)
        assert db.get(total.total) == 3 + 5 * sum(range(40))
        (worker,) = children()
        counts, _ = fine.noted()
        assert counts == {"here": 3, **{f"{n} {worker}": 1 for n in range(40)}}
        assert all("cannot be imported by a worker: RuntimeError: not there" in note for note in db.notes())


SCRIPT = """
from engine import Engine, each, query
@query
def square(n: int) -> int:
    return n * n
@query
def total() -> int:
    return sum(each(square, range(20)))
if __name__ == "__main__":
    for processes in (0, 2):
        with Engine(None, processes=processes) as db:
            print(db.get(total), *db.notes())
"""


def test_that_queries_of_a_script_go_to_no_worker_is_told_who_has_some(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    start = [sys.executable, "-B", "script.py"]
    told = subprocess.run(start, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    note = (
        "queries that are defined in the script itself run in its process: workers import them from a module"
    )
    assert told.splitlines() == ["2470", f"2470 {note}"]
