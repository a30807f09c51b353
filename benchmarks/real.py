"""Real: the edits of the acceptance tests on real repositories.

    python -m benchmarks.real DIRECTORY...        unpacked source trees, which are copied
    python -m benchmarks.real django sympy        sdists of PyPI, by `pip download`

For each edit: what ran, by the name of the query; how long the look at the world and the update took, by the
clock and, in brackets, in processor time, which a busy machine disturbs least; and whether the graph is what
it was once the edit is undone. In the end all edits are made together, and every table and answer is compared
with a build from empty; with `--each`, after every edit. Raw results go to benchmarks/results.

Exits with 1, and says why, where a query ran that the edit does not concern (see `expected.py`), where an
edit that was undone left something behind, and where anything differs from a build from empty.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks import plans
from benchmarks.expected import RESTART, short_name, unexpected
from benchmarks.harness import machine
from benchmarks.mutations import Edit, applied, write
from benchmarks.questions import digests, whole
from benchmarks.repository import decoded
from engine import Engine, Event, Key, What
from engine.rules import python

RESULTS = Path(__file__).parent / "results"
RAN = (What.EXECUTED, What.CUT_OFF, What.FAILED)
SHOWN = 6  # queries of one edit


@define
class Step:
    """What one edit cost, in seconds; `equal`: None where it was not compared."""

    name: str
    path: str
    look: float
    update: float
    processor: float
    ran: dict[str, int]
    equal: bool | None = None
    undone: bool | None = None
    beside: list[str] = field(factory=list)  # keys that ran for nothing

    def faults(self) -> list[str]:
        """What is wrong with it, in words."""
        found = [f"{one} ran for nothing" for one in self.beside[:SHOWN]]
        if len(self.beside) > SHOWN:
            found.append(f"{len(self.beside) - SHOWN} more keys ran for nothing")
        if self.equal is False:
            found.append("it differs from a build from empty")
        if self.undone is False:
            found.append("it was undone, and something is not what it was")
        return [f"{self.name} of {self.path}: {one}" if self.path else f"{self.name}: {one}" for one in found]

    def line(self) -> str:
        most = ", ".join(f"{name} {count}" for name, count in list(self.ran.items())[:SHOWN])
        rest = f", {len(self.ran) - SHOWN} more" if len(self.ran) > SHOWN else ""
        said = {True: "equal", False: "DIFFERENT", None: "-"}
        return (
            f"  {self.name:<18} {sum(self.ran.values()):>7,} ran  look {self.look * 1e3:>5.0f} ms"
            f"  update {self.update * 1e3:>8.1f} ms ({self.processor * 1e3:.1f})"
            f"  scratch {said[self.equal]}, undone {said[self.undone]}\n"
            f"      {self.path}\n      {most}{rest}"
        )


@define
class Project:
    """A copy of a repository, and an engine that keeps its graph."""

    name: str
    root: Path
    store: Path
    tree: dict[str, str] = field(factory=dict)
    steps: list[Step] = field(factory=list)
    _ran: list[Key[Any]] = field(factory=list)
    db: Engine = field(init=False)
    said: dict[str, object] = field(factory=dict)

    def open(self) -> None:
        self.db = Engine(self.store, root=self.root)
        self.db.listen(self._hear)

    def _hear(self, event: Event) -> None:
        if event.what in RAN and event.key is not None:
            self._ran.append(event.key)

    def read(self) -> None:
        """The texts of its Python files, as they lie there."""
        paths = self.db.get(python.python_files)
        self.tree = {path: decoded((self.root / path).read_bytes()) for path in paths}

    def step(self, name: str, path: str = "") -> Step:
        """Look at the world, bring everything up to date, and note what it took."""
        self._ran.clear()
        started = time.perf_counter()
        self.db.sync()
        looked, worked = time.perf_counter(), time.process_time()
        self.said = answers(self.db)
        ended, processor = time.perf_counter(), time.process_time() - worked
        ran = dict(Counter(map(short_name, self._ran)).most_common())
        return Step(name, path, looked - started, ended - looked, processor, ran)

    def edit(self, edit: Edit) -> Step:
        write(self.root, edit)
        before, self.tree = self.tree, applied(self.tree, edit)
        step = self.step(edit.kind, edit.path)
        step.beside = unexpected(edit, self._ran, before)
        return step

    def restart(self) -> Step:
        self.db.close()
        self.open()
        step = self.step(RESTART)
        step.beside = unexpected(Edit(RESTART, "", ()), self._ran, {})
        return step

    def equals_scratch(self) -> bool:
        """Whether an engine that starts from empty says the same, and has the same rows in every table."""
        with Engine(None, root=self.root) as fresh:
            right = answers(fresh)
        for name, value in right.items():
            if value != self.said[name]:
                print(f"  DIFFERENT: {name}", file=sys.stderr)
        return right == self.said


def answers(db: Engine) -> dict[str, object]:
    return {**digests(db), **whole(db)}


def run(project: Project, each: bool) -> Iterator[Step]:
    """All edits of one project."""
    project.open()
    yield project.step("first build")
    yield project.restart()
    project.read()
    before, texts = project.said, project.tree
    done: list[Edit] = []
    for plan in plans.of(project.db, project.tree):
        if plan[-1].kind != "delete":
            done += plan
        for edit in plan:
            step = project.edit(edit)
            step.equal = project.equals_scratch() if each else None
            if edit is plan[-1]:
                back = {path: texts.get(path) for one in plan for path in one.paths}
                project.edit(Edit("undo", edit.path, tuple(back.items())))
                step.undone = project.said == before
            yield step
    changes: dict[str, str | None] = {}
    for edit in done:
        changes |= {path: text for path, text in edit.changes if texts.get(path) != text}
    step = project.edit(Edit("all together", "", tuple(changes.items())))
    step.equal = project.equals_scratch()
    yield step
    project.db.close()


def fetched(name: str, place: Path) -> Path:
    """The directory of a repository: as it is named, or an sdist from PyPI."""
    if Path(name).is_dir():
        return Path(name)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--quiet"]
    subprocess.run([*command, "--dest", str(place), name], check=True)
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")
    return next(path for path in place.iterdir() if path.is_dir())


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="benchmarks.real", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="+")
    parser.add_argument("--each", action="store_true", help="compare after every edit, not only in the end")
    options = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    faults: list[str] = []
    for name in options.names:
        with tempfile.TemporaryDirectory(prefix="engine-real-") as place:
            (Path(place) / "sdist").mkdir()
            source = fetched(name, Path(place) / "sdist")
            root = Path(place) / "project"
            shutil.copytree(source, root, symlinks=True)
            project = Project(source.name, root, Path(place) / "store")
            print(f"\n{project.name}", flush=True)
            for step in run(project, options.each):
                if step.name == RESTART:
                    print(f"  {project.said['code_graph']}")
                project.steps.append(step)
                print(step.line(), flush=True)
                faults += [f"{project.name}: {fault}" for fault in step.faults()]
        found[project.name] = [
            {"edit": one.name, "path": one.path, "look": one.look, "update": one.update,
             "processor": one.processor, "ran": one.ran, "equal": one.equal, "undone": one.undone,
             "beside": one.beside}
            for one in project.steps
        ]  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"real-{time.strftime('%Y-%m-%dT%H-%M-%S', time.gmtime())}.json"
    file.write_text(json.dumps(found, indent=1))
    print(f"\nraw numbers: {os.path.relpath(file)}")
    for fault in faults:
        print(f"WRONG  {fault}", file=sys.stderr)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
