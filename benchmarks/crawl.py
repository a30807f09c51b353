"""`sync` over 100,000 files of which none changed, against a bare walk over the same tree."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Figure, Scale, counted, interleaved, scratch, stopwatch
from engine import Engine, each, query
from engine.rules.files import read_text

FILES = 100_000
PER_DIRECTORY = 10
PER_PARENT = 100  # directories in one directory
SETTLED_S = 2.1  # a stamp is believed after 2 s: what is younger would be read again


@query
def length(paths: tuple[str, ...]) -> int:
    return sum(map(len, each(read_text, paths)))


def measure(scale: Scale) -> Iterator[Figure]:
    count = scale.size(FILES)
    with scratch() as tree, Engine(None, root=tree) as db:
        db.get(length, make(tree, count))
        time.sleep(SETTLED_S)
        db.sync()
        before = db.counts()
        found = interleaved(
            {"bare walk": lambda: walked(tree, count), "sync": lambda: synced(db)}, scale.runs
        )
        did = db.counts() - before
    assert did.stamped == scale.runs * count, "not every file was looked at"
    yield counted("inputs read, none of which changed", did.read, goal=0)
    name = f"sync, {count:,} files in {count // PER_DIRECTORY:,} directories"
    yield found.figure("sync", name, "s", limit="bare walk", goal=1.5, goal_is_ratio=True)
    yield found.figure("bare walk", "limit: scandir of each directory, stat of each file", "s")


def make(tree: Path, count: int) -> tuple[str, ...]:
    """Write the files; their paths."""
    paths = []
    for number in range(count // PER_DIRECTORY):
        directory = f"{number // PER_PARENT:03}/{number % PER_PARENT:02}"
        (tree / directory).mkdir(parents=True)
        paths += [f"{directory}/module_{other}.py" for other in range(PER_DIRECTORY)]
    for path in paths:
        (tree / path).write_text(f"path = {path!r}\n")
    return tuple(paths)


def synced(db: Engine) -> float:
    watch = stopwatch()
    differing = db.sync()
    taken = watch()
    assert differing == 0, "a file changed"
    return taken


def walked(tree: Path, count: int) -> float:
    """The least that a program can do that wants the times of every file: it keeps nothing."""
    watch = stopwatch()
    files, waiting = 0, [str(tree)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    files += 1
    taken = watch()
    assert files == count, "the walk missed a file"
    return taken
