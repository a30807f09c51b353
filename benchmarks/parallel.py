"""Parallel: a cold build on worker processes against one process, and against a bare `multiprocessing.Pool`.

The job is the same everywhere: read a file, parse it with `ast`, count its nodes by class. Files are copies
of the standard library's, each with a comment of its own.
"""

from __future__ import annotations

import ast
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.harness import Figure, Scale, interleaved, scratch
from engine import Engine, each, input, query
from engine.rules.files import read_text

FILES = 4_000
PROCESSES = 2


@input
def names() -> tuple[str, ...]:
    return ()


def summary_of(text: str) -> dict[str, int]:
    """What both sides compute."""
    return dict(Counter(type(node).__name__ for node in ast.walk(ast.parse(text))))


@query
def summary(path: str) -> dict[str, int]:
    return summary_of(read_text(path))


@query
def total() -> int:
    return sum(sum(one.values()) for one in each(summary, names()))


def bare(path: str) -> dict[str, int]:
    """The job without an engine."""
    return summary_of(Path(path).read_text(encoding="utf-8"))


def measure(scale: Scale) -> Iterator[Figure]:
    """Whole builds by the clock on the wall: work of several processes is not in one processor time."""
    with scratch() as place:
        root = place / "tree"
        files = _tree(root, scale.size(FILES))
        found: dict[str, int] = {}
        cases: dict[str, Callable[[], float]] = {
            "pool": partial(_pool, root, files, found),
            "loop": partial(_loop, root, files, found),
            "one": partial(_engine, place / "one", root, files, 0, found),
            "two": partial(_engine, place / "two", root, files, PROCESSES, found),
        }
        timings = interleaved(cases, 3)
        assert len(set(found.values())) == 1, f"they disagree: {found}"
    yield timings.figure("loop", "parse, bare, one process", "s")
    yield timings.figure("pool", f"parse, bare, Pool({PROCESSES})", "s", limit="loop")
    yield timings.figure("one", "cold build, one process", "s", limit="loop", shown="bare")
    yield timings.figure(
        "two", f"cold build, {PROCESSES} processes", "s", limit="pool", shown="Pool", note="start included"
    )
    yield timings.figure("two", f"{PROCESSES} processes against one", "s", limit="one")
    per = len(files) * 2  # a text and a summary for each file
    yield timings.figure("one", "engine and store, per node, one process", "us", per=per, less="loop")
    yield timings.figure("two", f"the same, {PROCESSES} processes", "us", per=per, less="pool")


def _tree(root: Path, count: int) -> list[str]:
    """Files of the standard library in a row, again and again, each made different."""
    library = Path(os.__file__).parent
    texts = [path.read_text(encoding="utf-8") for path in sorted(library.glob("*.py"))]
    texts = [text for text in texts if 2_000 < len(text) < 40_000]
    names = [f"{at // 100:04}/{at:06}.py" for at in range(count)]
    for at, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{texts[at % len(texts)]}\n# {at}\n", encoding="utf-8")
    return names


def _loop(root: Path, files: list[str], found: dict[str, int]) -> float:
    started = time.perf_counter()
    found["loop"] = sum(sum(bare(str(root / name)).values()) for name in files)
    return time.perf_counter() - started


def _pool(root: Path, files: list[str], found: dict[str, int]) -> float:
    started = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        several = pool.imap(bare, [str(root / name) for name in files], chunksize=32)
        found["pool"] = sum(sum(one.values()) for one in several)
    return time.perf_counter() - started


def _engine(store: Path, root: Path, files: list[str], processes: int, found: dict[str, int]) -> float:
    shutil.rmtree(store, ignore_errors=True)
    started = time.perf_counter()
    with Engine(store, root=root, processes=processes) as db:
        db.set(names.key(), tuple(files))
        found[f"engine {processes}"] = db.get(total)
    return time.perf_counter() - started
