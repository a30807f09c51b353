"""Tests as queries: a test file runs when code that it can reach is other code; its outcome is kept.

    python examples/06_tests.py [PROJECT]

Run it, edit a function, run it again: the tests that import it run, over any number of other files. A comment
runs none, and neither does going back: what the tests said of that code is still known.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import subprocess
import sys
from posixpath import dirname, join

from attrs import frozen

from engine import Engine, Transient, What, each, query, root
from engine.rules.directories import glob
from engine.rules.files import exists, read_text
from engine.rules.python import dependencies

RAN = (What.EXECUTED, What.CUT_OFF)


@frozen
class Outcome:
    passed: bool
    output: str


@query
def code(path: str) -> str:
    """What a file says to Python: comments and blank lines are nothing to it."""
    text = read_text(path)
    with contextlib.suppress(SyntaxError):  # then its tests run, and tell
        text = ast.dump(ast.parse(text))
    return hashlib.sha256(text.encode()).hexdigest()


@query
def reach(test: str) -> tuple[str, ...]:
    """The files of the project that a test file imports, over any number of others, and itself."""
    fixtures = join(dirname(test), "conftest.py")
    starts = (test, fixtures) if exists(fixtures) else (test,)
    found = each(dependencies, starts)
    return tuple(sorted({*starts, *(one.symbol for several in found for one in several)}))


@query(workers="thread", limit="tests")
def outcome(test: str) -> Outcome:
    each(code, reach(test))  # what pytest reads, so that the engine knows it
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    done = subprocess.run(command, cwd=root(), capture_output=True, text=True)
    if done.returncode < 0:
        raise Transient(f"{test} was killed by signal {-done.returncode}")  # not kept: it runs again
    return Outcome(done.returncode == 0, done.stdout)


@query
def outcomes() -> dict[str, Outcome]:
    tests = glob("**/test_*.py")
    return dict(zip(tests, each(outcome, tests), strict=True))


def main(project: str) -> None:
    with Engine(f"{project}/.engine", root=project, limits={"tests": 2}) as db:
        ran: list[str] = []
        db.listen(lambda event: ran.append(str(event.key)) if event.what in RAN else None)
        known = db.get(outcomes)
    print(*(found.output for found in known.values() if not found.passed), sep="\n", end="")
    number = sum(":outcome(" in key for key in ran)
    passed = sum(found.passed for found in known.values())
    print(f"{number} of {len(known)} test files ran, {passed} pass")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else ".")
