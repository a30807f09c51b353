"""The real thing: the code graph of several projects of PyPI in one tree, beside code-review-graph.

Both read the same files: a full build, a build with nothing changed, and a call more or less in one file,
each in a new process. code-review-graph runs in an interpreter of its own (`--beside`), for what it depends
on. Then both are asked who calls a function, in new processes, and of all that they hold: how many classes
and functions there are, each name of a scope once, and who calls what, of what both know.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.mutations import mutate
from benchmarks.peers.launching import LAUNCHER, Done
from benchmarks.real import fetched
from benchmarks.repository import decoded, encoded
from engine import Engine, query
from engine.rules import python

TURNS = 3  # of everything but the full build
QUERY = "benchmarks.peers.graph:whole"
NEVER_CALLED = frozenset({"module", "variable", "type"})  # kinds of definitions


@query
def whole() -> tuple[python.Summary, int, int]:
    """Everything that the engine knows of a project: files and imports, definitions, references."""
    return python.code_graph(), python.definitions.count(), python.references.count()


WHO = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org")
LAYOUTS = ("src", "lib")  # directories of a project in which its packages may lie
STORE, STORE_OF_TWO = "store", "store2"
SKIPPED = (".git", ".tox", "node_modules")


def measure(place: Path, projects: Sequence[str], beside: str | None) -> dict[str, Any]:
    """Seconds and memory of each step, by tool."""
    root = place / "tree"
    starts: list[str] = []  # of imports
    for name in projects:
        (place / "sdists" / Path(name).name).mkdir(parents=True)
        source = fetched(name, place / "sdists" / Path(name).name)
        shutil.copytree(source, root / source.name, ignore=shutil.ignore_patterns(*SKIPPED))
        starts += [source.name, *(f"{source.name}/{one}" for one in LAYOUTS if (source / one).is_dir())]
    for store in (place / STORE, place / STORE_OF_TWO):
        with Engine(store, root=root) as db:
            db.set(python.source_roots.key(), tuple(starts))
    for git in (["init", "-q"], ["add", "-A"], [*WHO, "commit", "-qm", "all"]):
        subprocess.run(
            ["git", *git], cwd=root, check=True, stdout=subprocess.DEVNULL
        )  # it asks git for files
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    tools = {
        "engine": _engine(root, place / STORE),
        "engine, 2 processes": _engine(root, place / STORE_OF_TWO, "--processes", "2"),
    }
    if beside is not None:
        tools["code-review-graph"] = _review(root, beside)
    found: dict[str, Any] = {"projects": list(projects), "files": len(paths), "steps": {}}
    tree = {path: decoded((root / path).read_bytes()) for path in paths}
    for step in ("full build", *["nothing changed"] * TURNS, *["one edit"] * TURNS):
        if step == "one edit":
            _edit(root, tree)
        for tool, commands in tools.items():
            done = LAUNCHER.run(commands["full" if step == "full build" else "again"], str(root))
            if done.status:
                raise RuntimeError(f"{tool}, {step}:\n{done.output}")
            found["steps"].setdefault(step, {}).setdefault(tool, []).append(done._asdict())
    ours, calls = _ours(root, place)
    found["definitions"] = {"engine": len(ours)}
    if beside is None:
        return found
    theirs, their_calls = _theirs(root)
    found["definitions"]["code-review-graph"] = len(theirs)
    both = ours & theirs
    calls, their_calls = [{one for one in some if both.issuperset(one)} for some in (calls, their_calls)]
    found["calls"] = {
        "of both": len(calls & their_calls),
        "of the engine alone": len(calls - their_calls),
        "of code-review-graph alone": len(their_calls - calls),
    }
    asked = Random(1).sample(sorted({callee for _, callee in calls & their_calls}), TURNS)
    for symbol in asked:
        for tool, command in _questions(root, place, beside, symbol).items():
            done = LAUNCHER.run(command, str(root))
            if done.status:
                raise RuntimeError(f"{tool}, who calls {symbol}:\n{done.output}")
            found["steps"].setdefault("who calls a function", {}).setdefault(tool, []).append(done._asdict())
    return found


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The table."""
    projects = ", ".join(Path(name).name for name in found["projects"])
    yield f"| {found['files']:,} files of {projects} | tool | seconds | processor | memory |"
    yield "|---|---|--:|--:|--:|"
    for step, by_tool in found["steps"].items():
        for tool, runs in by_tool.items():
            run = Done(**sorted(runs, key=lambda one: float(one["seconds"]))[len(runs) // 2])
            times = f"{run.seconds:.2f} s | {run.processor:.2f} s | {run.memory / 2**20:,.0f} MiB"
            yield f"| {step} | {tool} | {times} |"
    counted = ", ".join(f"{count:,} by {tool}" for tool, count in found["definitions"].items())
    yield f"\nClasses and functions in the end: {counted}."
    if "calls" in found:
        counted = ", ".join(f"{count:,} {whose}" for whose, count in found["calls"].items())
        yield f"Who calls what, of classes and functions that both know: {counted}."


Calls = set[tuple[str, str]]  # who, what: "path:qualified"


def _ours(root: Path, place: Path) -> tuple[set[str], Calls]:
    with Engine(place / STORE, root=root) as db:
        rows = db.get(python.definitions.where)
        calls = {
            (row.source, row.target)
            for row in db.get(python.references.where)
            if row.usage == "call" and row.target is not None
        }
    return {str(row.symbol) for row in rows if row.kind not in NEVER_CALLED}, calls


def _theirs(root: Path) -> tuple[set[str], Calls]:
    def symbol(name: str) -> str:
        return name.removeprefix(f"{root}/").replace("::", ":", 1)

    with sqlite3.connect(f"file:{root}/.code-review-graph/graph.db?mode=ro", uri=True) as connection:
        nodes = connection.execute(
            "SELECT qualified_name FROM nodes "
            "WHERE language = 'python' AND kind IN ('Class', 'Function', 'Test')"
        ).fetchall()
        calls = connection.execute(
            "SELECT source_qualified, target_qualified FROM edges WHERE kind = 'CALLS'"
        ).fetchall()
    connection.close()
    return {symbol(name) for (name,) in nodes}, {(symbol(who), symbol(what)) for who, what in calls}


def _questions(root: Path, place: Path, beside: str, symbol: str) -> dict[str, list[str]]:
    ours = [sys.executable, "-m", "engine", "graph", "callers", symbol, "-C", str(root)]
    theirs = [*_program(beside), "query", "callers_of", f"{root}/{symbol.replace(':', '::', 1)}"]
    return {
        "engine": [*ours, "--store", str(place / STORE)],
        "code-review-graph": [*theirs, "--repo", str(root)],
    }


def _engine(root: Path, store: Path, *options: str) -> dict[str, list[str]]:
    command = [sys.executable, "-m", "engine", "run", QUERY, "-C", str(root), "--store", str(store), *options]
    return {"full": command, "again": command}


def _review(root: Path, interpreter: str) -> dict[str, list[str]]:
    return {
        "full": [*_program(interpreter), "build", "--repo", str(root)],
        "again": [*_program(interpreter), "update", "--repo", str(root)],
    }


def _program(interpreter: str) -> list[str]:
    return [os.path.join(os.path.dirname(interpreter), "code-review-graph")]


def _edit(root: Path, tree: dict[str, str]) -> None:
    """A call more or less in some file."""
    edit = mutate(tree, "body", Random(sum(map(len, tree.values()))))
    assert edit is not None
    for path, text in edit.changes:
        assert text is not None
        tree[path] = text
        (root / path).write_bytes(encoded(text))
