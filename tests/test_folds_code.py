"""A fold follows the code of its accumulator and not that of the process: one claim a test."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import engine.persist

MODULE = """
from engine import Engine, Merge, Min, Sum, fold, input, query

@input
def keys() -> tuple[str, ...]:
    return ()

@input
def cell(key: str) -> int:
    return 0

@query
def one(key: str) -> int:
    return cell(key)

def join(left: int, right: int) -> int:
    return left {operator} right

class Mine:
    factor = {factor}
    def __init__(self, more: int) -> None:
        self.more = more
    def zero(self) -> int:
        return 0
    def add(self, state: int, value: int) -> int:
        return state + value * self.factor
    def remove(self, state: int, value: int) -> int:
        return state - value * self.factor
    def result(self, state: int) -> int:
        return state + self.more

merged = fold(each=keys, of=one, into=Merge(join, 0))
mine = fold(each=keys, of=one, into=Mine({more}))
least = fold(each=keys, of=one, into=Min(default={default}))

with Engine("store") as db:
    if {first}:
        with db.batch():
            db.set(keys.key(), ("a", "b", "c"))
            for key, value in dict(a=2, b=3, c=4).items():
                db.set(cell.key(key), value)
    values = db.get(merged), db.get(mine), db.get(least)
    ran = db.counts().executed
    with db.batch():
        db.set(cell.key("a"), {a})
    print(*values, ran, db.get(merged), db.get(mine))
"""


def python(place: Path, *arguments: str) -> str:
    """What a new interpreter that works in a directory prints."""
    path = str(Path(engine.persist.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_other_code_or_arguments_of_an_accumulator_build_the_fold_anew_without_its_members(
    tmp_path: Path,
) -> None:
    def run(**changes: Any) -> list[int]:
        given = {"operator": "+", "factor": 1, "more": 0, "default": 0, "first": False, "a": 2, **changes}
        (tmp_path / "rules.py").write_text(MODULE.format(**given))
        return [int(word) for word in python(tmp_path, "rules.py").split()]

    assert run(first=True) == [9, 9, 2, 6, 9, 9]
    assert run() == [9, 9, 2, 0, 9, 9]
    assert run(operator="*") == [24, 9, 2, 1, 24, 9]
    assert run(operator="*", factor=2) == [24, 18, 2, 1, 24, 18]
    assert run(operator="*", factor=2, more=1, a=5) == [24, 19, 2, 1, 60, 25]
    assert run(operator="*", factor=2, more=1, a=5, default=1) == [60, 25, 3, 1, 60, 25]
    assert run() == [12, 12, 3, 3, 9, 9]


MEMBERS_ONLY = """
from engine import Engine, input, query

@input
def keys() -> tuple[str, ...]:
    return ("a", "b", "c")

@input
def cell(key: str) -> int:
    return 1

@query
def one(key: str) -> int:
    return cell(key)
"""


WITH_FOLDS = """
from engine import Engine, Max, Sum, fold
from members import cell, keys, one

total = fold(each=keys, of=one, into=Sum())
most = fold(each=keys, of=one, into=Max())
"""


def test_a_process_that_knows_the_members_alone_leaves_the_fold_right(tmp_path: Path) -> None:
    (tmp_path / "members.py").write_text(MEMBERS_ONLY)
    (tmp_path / "folds.py").write_text(WITH_FOLDS)

    def run(module: str, work: str) -> str:
        code = f"from {module} import *\nwith Engine('store') as db:\n{textwrap.indent(work, '    ')}"
        return python(tmp_path, "-c", code)

    assert run("folds", "print(db.get(total), db.get(most))") == "3 1"
    run("members", "db.set(cell.key('b'), 5)\ndb.get(one, 'b')\ndb.set(keys.key(), ('a', 'b'))")
    run("members", "db.set(cell.key('a'), 7)")
    asked = (
        "print(db.get(total), db.get(most), db.counts().executed, db.audit(total).differences, db.notes())"
    )
    assert run("folds", asked) == "12 7 3 () ()"


RECORDS = """
from typing import NamedTuple
from attrs import frozen
from engine import Engine, fold, input, query

@frozen
class Weighed:
    key: str
    weight: int

class Load(NamedTuple):
    keys: tuple[str, ...]
    weight: int

@input
def keys() -> tuple[str, ...]:
    return ("a", "b", "c")

@input
def cell(key: str) -> int:
    return 1

@query
def weighed(key: str) -> Weighed:
    return Weighed(key, cell(key))

class Scales:
    def zero(self) -> Load:
        return Load((), 0)

    def add(self, state: Load, value: Weighed) -> Load:
        return Load(tuple(sorted((*state.keys, value.key))), state.weight + value.weight)

    def remove(self, state: Load, value: Weighed) -> Load:
        return Load(tuple(key for key in state.keys if key != value.key), state.weight - value.weight)

    def result(self, state: Load) -> Load:
        return state

class Train:
    def empty(self) -> Load:
        return Load((), 0)

    def lift(self, value: Weighed) -> Load:
        return Load((value.key,), value.weight)

    def merge(self, left: Load, right: Load) -> Load:
        return Load(left.keys + right.keys, left.weight + right.weight)

    def result(self, state: Load) -> Load:
        return state

scales = fold(each=keys, of=weighed, into=Scales())
train = fold(each=keys, of=weighed, into=Train())
"""


def test_a_fold_into_a_class_of_the_user_goes_on_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(RECORDS)

    def run(work: str) -> str:
        code = f"from rules import *\nwith Engine('store') as db:\n    {work}"
        return python(tmp_path, "-c", code)

    told = "print(*db.get(scales), *db.get(train), db.counts().executed, db.notes())"
    assert run(told).startswith("('a', 'b', 'c') 3 ('a', 'b', 'c') 3 ")
    assert run(told) == "('a', 'b', 'c') 3 ('a', 'b', 'c') 3 0 ()"
    changed = f"db.set(cell.key('b'), 5); {told}"
    assert run(changed) == "('a', 'b', 'c') 7 ('a', 'b', 'c') 7 3 ()"
    assert run(f"db.set(keys.key(), ('a', 'b')); {told}") == "('a', 'b') 6 ('a', 'b') 6 2 ()"


SCRIPT = """
from collections.abc import Iterable
from typing import NamedTuple
from engine import Engine, fold, input, query, table

class Part(NamedTuple):
    low: int

class Row(NamedTuple):
    key: str
    part: Part

@input
def keys() -> tuple[str, ...]:
    return ("a", "b")

@table(each=keys, index=("key",))
def rows(key: str) -> Iterable[Row]:
    yield Row(key, Part(len(key)))

class Lengths:
    def zero(self) -> int:
        return 0
    def add(self, state: int, value: int) -> int:
        return state + value
    def remove(self, state: int, value: int) -> int:
        return state - value
    def result(self, state: int) -> int:
        return state

@query
def length(key: str) -> int:
    return len(key)

lengths = fold(each=rows.column("key"), of=length, into=Lengths())

def main():
    with Engine("store") as db:
        print(db.get(lengths), db.get(rows.where, key="a")[0].part.low, db.counts().executed)

if __name__ == "__main__":
    main()
"""


def test_a_file_that_runs_as_a_program_has_the_collections_that_it_has_when_imported(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(SCRIPT)
    first, second, again = (
        python(tmp_path, *how).split()
        for how in (("rules.py",), ("-c", "import rules; rules.main()"), ("-m", "rules"))
    )
    assert first[:2] == second[:2] == again[:2]
    assert int(first[2]) > 0
    assert second[2] == again[2] == "0"
