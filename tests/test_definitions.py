"""What a definition says of equality, names and arguments holds, also when it is made anew."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import engine
from engine import Engine, Query, query
from tests.cells import cell, db
from tests.threads import run_all

__all__ = ["db"]


def test_eq_may_not_read_and_counts_as_different(db: Engine) -> None:
    @query(eq=lambda old, new: abs(old - new) <= cell(1))
    def rough() -> int:
        return cell(0)

    @query
    def reader(number: int) -> int:
        return rough() + number

    def revise() -> list[int]:
        before = db.get(reader, 0)
        db.set(cell.key(0), 1)
        return [before, db.get(reader, 1), db.get(reader, 0)]

    assert run_all(revise) == [[0, 2, 1]]


def test_eq_and_values_that_are_not_kept_make_no_revision(db: Engine) -> None:
    @query(eq=lambda old, new: old == new, persist=False)
    def passing() -> int:
        return cell(1)

    @query
    def top(number: int) -> int:
        return passing() + number

    assert db.get(top, 0) == 1
    revision = db.revision
    assert [db.get(top, number) for number in range(1, 6)] == [2, 3, 4, 5, 6]
    assert (db.revision, db.notes()) == (revision, ())


def test_a_subscription_follows_a_redefinition(db: Engine) -> None:
    def define(plus: int) -> Query[[], int]:
        @query(name="review:followed")
        def followed() -> int:
            return cell(0) + plus

        return followed

    told: list[object] = []
    db.subscribe(define(1), told.append)
    db.subscribe(cell.key(0), lambda value: told.append(("cell", value)))
    db.set(cell.key(0), 2)
    define(20)
    db.set(cell.key(0), 3)
    assert told == [3, ("cell", 2), 23, ("cell", 3)]


METHODS = """
    import sys
    from attrs import frozen
    from engine import Engine, input, query

    @input
    def factor() -> int:
        return 1

    @frozen
    class Config:
        size: int

        @query
        def area(self) -> int:
            return self.size * factor()

    @query
    def top() -> int:
        return Config(3).area()

    with Engine(sys.argv[1]) as db:
        if "listen" in sys.argv:
            db.listen(lambda event: None)
        db.set(factor.key(), int(sys.argv[2]))
        print(db.get(top), db.get(Config.area, Config(3)), *db.notes())
"""


@pytest.mark.parametrize("extra", [(), ("listen",)])
def test_a_method_of_a_frozen_class_runs_again_after_a_restart(
    tmp_path: Path, extra: tuple[str, ...]
) -> None:
    program = tmp_path / "methods.py"
    program.write_text(textwrap.dedent(METHODS))
    checkout = Path(engine.__file__).parent.parent

    def run(factor: int) -> str:
        command = [sys.executable, f"{program}", f"{tmp_path}/store", f"{factor}", *extra]
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=600
        )
        return done.stdout

    assert [run(1), run(2)] == ["3 3\n", "6 6\n"]


def test_a_query_may_be_named_like_a_builtin(db: Engine) -> None:
    @query
    def bytes(text: str) -> int:
        return len(text)

    @query
    def str(number: int) -> float:
        return number / 2

    assert (db.get(bytes, "abc"), db.get(str, 3)) == (3, 1.5)


def test_a_list_that_was_passed_may_be_changed_afterwards(db: Engine) -> None:
    @query
    def scaled(numbers: list[int]) -> int:
        return sum(numbers) * cell(1)

    numbers = [1, 2]
    assert db.get(scaled, numbers) == 3
    numbers.append(10)
    db.set(cell.key(1), 2)
    assert (db.get(scaled, [1, 2]), db.get(scaled, numbers)) == (6, 26)
