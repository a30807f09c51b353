"""Executed: which definitions each test of a project really ran, by coverage.py.

It runs in an environment of its own, with the project and what its tests need. Coverage notes the lines of
each test apart, its fixtures included (a dynamic context for each item of pytest). Lines that run while
modules are imported belong to no test, and those of a fixture of the session to the first that asks for it.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

PROGRAM = """
import inspect, json, os, sys
import coverage, pytest

root, place, *options = sys.argv[1:]
counts = coverage.Coverage(data_file=None, config_file=False, source=[place], messages=False)
prefix = os.path.realpath(root) + os.sep
names = []

def short(path):
    return os.path.realpath(str(path)).removeprefix(prefix)

class Contexts:
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item, nextitem):
        function = getattr(item, "function", None) or getattr(item, "obj", None)
        function = inspect.unwrap(getattr(function, "__func__", function)) if function else None
        code = getattr(function, "__code__", None)
        name = f"{short(code.co_filename)}:{function.__qualname__}" if code else ""
        names.append((short(item.path), name, item.name.partition("[")[0]))
        counts.switch_context(str(len(names)))
        try:
            return (yield)
        finally:
            counts.switch_context("")

counts.start()
code = pytest.main(options, plugins=[Contexts()])
counts.stop()
data = counts.get_data()
lines = {}
for file in data.measured_files():
    path = short(file)
    for line, contexts in data.contexts_by_lineno(file).items():
        several = sorted({names[int(one) - 1] for one in contexts if one})
        if several:
            lines.setdefault(path, {})[line] = several
with open(os.environ["EXECUTED"], "w") as out:
    json.dump({"code": int(code), "tests": sorted(set(names)), "lines": lines}, out)
"""


@frozen(order=True)
class Test:
    """A test that ran: the file that pytest is given, and the symbol of its function, "" for a doctest."""

    file: str
    symbol: str
    name: str


@frozen
class Executed:
    """What ran: the tests, and for each definition "path:qualified" those that entered it."""

    tests: tuple[Test, ...]
    by: dict[str, frozenset[Test]]


def environment(place: Path, root: Path, more: Sequence[str]) -> Path:
    """The interpreter of a new environment with the project, pytest and coverage."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    python = place / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "coverage>=7.6", "pytest>=8.2", *more, str(root)], check=True)
    return python


def run(python: Path, root: Path, package: str, tests: Sequence[str]) -> Executed:
    """Run the tests of the project at `root` once; `package` is the directory whose code is measured."""
    out = root / ".executed.json"
    above = str((root / package).parent)  # before what is installed, so that this code runs
    known = {**os.environ, "PYTHONPATH": os.pathsep.join((above, str(root))), "EXECUTED": str(out)}
    options = ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", *tests]
    program = [str(python), "-B", "-c", PROGRAM, str(root), str(root / package), *options]
    subprocess.run(program, cwd=root, env=known, check=False)
    found = json.loads(out.read_text())
    out.unlink()
    by: dict[str, set[Test]] = {}
    for path, lines in found["lines"].items():
        owners = dict(owners_of(path, (root / path).read_text(encoding="utf-8")))
        for line, several in lines.items():
            for owner in owners.get(int(line), ()):
                by.setdefault(owner, set()).update(Test(*one) for one in several)
    return Executed(
        tests=tuple(sorted(Test(*one) for one in found["tests"])),
        by={owner: frozenset(several) for owner, several in sorted(by.items())},
    )


def owners_of(path: str, text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """For each line inside of functions, what runs when it does: the innermost function, and its class."""
    waiting: list[tuple[ast.AST, str, str]] = [(ast.parse(text), "", "")]
    found: dict[int, tuple[str, ...]] = {}
    while waiting:  # outer ones first, so that inner ones take their lines from them
        node, prefix, around = waiting.pop(0)
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                waiting.append((child, f"{prefix}{child.name}.", f"{path}:{prefix}{child.name}"))
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                symbol = f"{path}:{prefix}{child.name}"
                head = min([child.lineno, *(one.lineno for one in child.decorator_list)])
                outer = found.get(head, ())
                for line in range(child.body[0].lineno, (child.end_lineno or child.lineno) + 1):
                    found[line] = (symbol, around) if around else (symbol,)
                for line in range(head, child.body[0].lineno):
                    if outer:
                        found[line] = outer
                waiting.append((child, f"{prefix}{child.name}.<locals>.", ""))
            else:
                waiting.append((child, prefix, around))
    yield from found.items()
