"""The real thing: the code graph of several projects of PyPI in one tree, beside code-review-graph.

Both read the same files: a full build, a build with nothing changed, and a call more or less in one file,
each in a new process. code-review-graph runs in an interpreter of its own (`--beside`), for what it depends
on. The two graphs are not equal in what they hold; in the end both are asked how many classes and functions
there are, each name of a scope once.
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
from engine import Engine
from engine.rules import python

TURNS = 3  # of everything but the full build
QUERY = "engine.rules.python:code_graph"
WHO = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@example.org")
SKIPPED = (".git", ".tox", "node_modules")


def measure(place: Path, projects: Sequence[str], beside: str | None) -> dict[str, Any]:
    """Seconds and memory of each step, by tool."""
    root = place / "tree"
    for name in projects:
        (place / "sdists" / Path(name).name).mkdir(parents=True)
        source = fetched(name, place / "sdists" / Path(name).name)
        shutil.copytree(source, root / source.name, ignore=shutil.ignore_patterns(*SKIPPED))
    for git in (["init", "-q"], ["add", "-A"], [*WHO, "commit", "-qm", "all"]):
        subprocess.run(
            ["git", *git], cwd=root, check=True, stdout=subprocess.DEVNULL
        )  # it asks git for files
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    tools = {"engine": _engine(root, place)}
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
    found["definitions"] = {"engine": _ours(root, place)}
    if beside is not None:
        found["definitions"]["code-review-graph"] = _theirs(root)
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


def _ours(root: Path, place: Path) -> int:
    with Engine(place / "store", root=root) as db:
        rows = db.get(python.definitions.where)
        return len({row.symbol for row in rows if row.kind not in ("module", "variable", "type")})


def _theirs(root: Path) -> int:
    with sqlite3.connect(f"file:{root}/.code-review-graph/graph.db?mode=ro", uri=True) as connection:
        select = (
            "SELECT count(*) FROM nodes WHERE language = 'python' AND kind IN ('Class', 'Function', 'Test')"
        )
        (count,) = connection.execute(select).fetchone()
    connection.close()
    return int(count)


def _engine(root: Path, place: Path) -> dict[str, list[str]]:
    command = [sys.executable, "-m", "engine", "run", QUERY, "-C", str(root), "--store", str(place / "store")]
    return {"full": command, "again": command}


def _review(root: Path, interpreter: str) -> dict[str, list[str]]:
    program = os.path.join(os.path.dirname(interpreter), "code-review-graph")
    return {
        "full": [program, "build", "--repo", str(root)],
        "again": [program, "update", "--repo", str(root)],
    }


def _edit(root: Path, tree: dict[str, str]) -> None:
    """A call more or less in some file."""
    edit = mutate(tree, "body", Random(sum(map(len, tree.values()))))
    assert edit is not None
    for path, text in edit.changes:
        assert text is not None
        tree[path] = text
        (root / path).write_bytes(encoded(text))
