"""Parallel: a cold build on worker processes against one process, and against a bare `multiprocessing.Pool`.

The job is the same everywhere: read a file, parse it with `ast`, count its nodes by class. Files are copies
of the standard library's, each with a comment of its own.
"""

from __future__ import annotations

import ast
import multiprocessing
import os
import resource
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.harness import Figure, Scale, Timings, interleaved, scratch
from engine import Engine, each, input, query
from engine.rules.files import read_text

FILES = 2_000
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
    """Whole builds by the clock on the wall, and by the processor time of all their processes.

    Of the latter, divided by the processes, no clock can come to less: what a busy machine tells of them.
    """
    spent: dict[str, list[float]] = {}
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
        both = {name: partial(_both, case, spent.setdefault(name, [])) for name, case in cases.items()}
        clock = interleaved(both, 3)
        assert len(set(found.values())) == 1, f"they disagree: {found}"
    shares = {name: PROCESSES if name in ("pool", "two") else 1 for name in spent}
    work = Timings({name: [one / shares[name] for one in runs] for name, runs in spent.items()}, clock.gc)
    for timings, of in ((clock, "by the clock"), (work, "processor time a core")):
        yield timings.figure("loop", f"parse, bare, one process, {of}", "s")
        yield timings.figure("pool", f"parse, bare, Pool({PROCESSES}), {of}", "s", limit="loop")
        yield timings.figure("one", f"cold build, one process, {of}", "s", limit="loop", shown="bare")
        yield timings.figure(
            "two", f"cold build, {PROCESSES} processes, {of}", "s", limit="pool", shown="Pool", goal=1.4,
            goal_is_ratio=True, note="start included",
        )  # fmt: skip
        yield timings.figure(
            "two", f"{PROCESSES} processes against one, {of}", "s", limit="one", goal=1 / 1.7,
            goal_is_ratio=True,
        )  # fmt: skip


def _both(case: Callable[[], float], spent: list[float]) -> float:
    """The time of a case by the clock; the processor time of all its processes is noted."""
    before = _processor_seconds()
    taken = case()
    spent.append(_processor_seconds() - before)
    return taken


def _processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    several = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in several)


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
        pool.close()
        pool.join()  # so that its processor time is known
    return time.perf_counter() - started


def _engine(store: Path, root: Path, files: list[str], processes: int, found: dict[str, int]) -> float:
    shutil.rmtree(store, ignore_errors=True)
    started = time.perf_counter()
    with Engine(store, root=root, processes=processes) as db:
        db.set(names.key(), tuple(files))
        found[f"engine {processes}"] = db.get(total)
    return time.perf_counter() - started
