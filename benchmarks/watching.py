"""Watching: from a save to the committed revision, seen by another process; `sync` beside a busy writer; a
checkout of many files; what an idle watch costs.

The watch is `engine watch` in a process of its own, over the code graph of generated modules. This process
writes files and reads the events from the watch's socket: a save counts until its `revised` line is here.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, Figure, Scale, scratch
from benchmarks.repository import plant
from benchmarks.tree import modules, path_of

SIZES = (10_000, 100_000)
SAVES = 120
SYNCS = 200
QUERY = "engine.rules.python:code_graph"
PAUSES = (0.1, 0.3, 1.0, 4.0)  # seconds between saves: in a hurry, and as people save
WRITES_A_SECOND = 2_000
WARM_SECONDS = 5.0  # the writer's files are new at first: that is a large change, not a busy neighbour
IDLE_SECONDS = 20.0
READY_SECONDS = 1800.0


class Watched:
    """An `engine watch` and its events."""

    def __init__(self, root: Path, *options: str, query: str = QUERY) -> None:
        self.root = root
        self._socket_path = str(root.parent / "events.sock")
        self.errors = (root.parent / "errors.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "engine", "watch", query, "-C", str(root), "--events",
             f"unix:{self._socket_path}", *options],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=self.errors,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                self.connection = socket.socket(socket.AF_UNIX)
                self.connection.connect(self._socket_path)
                break
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.05)
        self._buffer = b""

    def event(self, *names: str, seconds: float) -> dict[str, Any]:
        """The next event of one of these names."""
        self.connection.settimeout(seconds)
        while True:
            line, newline, rest = self._buffer.partition(b"\n")
            if newline:
                self._buffer = rest
                found: dict[str, Any] = json.loads(line)
                if found["event"] in names:
                    return found
                continue
            more = self.connection.recv(1 << 20)
            if not more:
                raise AssertionError("the watch ended: " + self.told())
            self._buffer += more

    def told(self) -> str:
        """What it printed."""
        self.errors.seek(0)
        return self.errors.read()

    def cpu_seconds(self) -> float:
        """Processor time that it used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> int:
        """Bytes of it in memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )

    def close(self) -> None:
        """End it in order. Not as Ctrl-C does: in the background of a script that is ignored."""
        self.connection.close()
        self.process.terminate()
        self.process.wait(20)
        self.errors.close()


@contextmanager
def watched(root: Path, *options: str, query: str = QUERY) -> Iterator[Watched]:
    """A watch, ended at the end."""
    watch = Watched(root, *options, query=query)
    try:
        yield watch
    finally:
        watch.close()


def measure(scale: Scale) -> Iterator[Figure]:
    """The figures; see the module."""
    medians: list[float] = []
    for size in map(scale.size, SIZES):
        with scratch() as place:
            root = place / "repository"
            root.mkdir()
            plant(root, modules(size))
            paths = [path_of(number) for number in range(size)]
            with watched(root) as watch:
                started = watch.event("started", seconds=READY_SECONDS)
                while started["revision"] == 0 or not started["watched"]:
                    started = watch.event("started", seconds=READY_SECONDS)
                yield Figure(name=f"{size:,} files: cold start to live", value=started["seconds"], unit="s")
                latencies, parts = saves(watch, root, paths, 40 if scale.quick else SAVES)
                medians.append(statistics.median(latencies))
                yield from _latency(size, latencies, parts, medians)
                if size == scale.size(SIZES[-1]):
                    yield from _idle(watch, size)
                for kind in ("txt", "py"):
                    yield _syncs(watch, root, size, 40 if scale.quick else SYNCS, kind)
                if size == scale.size(SIZES[-1]):
                    yield _checkout(watch, root, paths)


def _latency(
    size: int, latencies: list[float], parts: dict[str, float], medians: list[float]
) -> Iterator[Figure]:
    goal = 30.0 if len(medians) == 1 else medians[0] * 1.5
    yield Figure(
        name=f"{size:,} files: save to committed revision, p50",
        value=statistics.median(latencies), unit="ms", runs=latencies, goal=round(goal, 1),
        note=f"engine part {parts['engine']:.1f} ms",
    )  # fmt: skip
    yield Figure(
        name=f"{size:,} files: save to committed revision, p99", value=part_of(latencies, 0.99), unit="ms",
        goal=150.0 if len(medians) == 1 else 225.0,
    )  # fmt: skip


def saves(watch: Watched, root: Path, paths: list[str], count: int) -> tuple[list[float], dict[str, float]]:
    """Save a file, wait for its revision, and so on: milliseconds each, and what the engine says it took."""
    chance = random.Random(2)
    found, engine = [], []
    for number in range(count):
        time.sleep(chance.choice(PAUSES) * chance.uniform(0.8, 1.2))
        path = root / chance.choice(paths)
        text = path.read_text()
        text += f"# {number}\n" if number % 2 else f"\n\ndef added{number}() -> int:\n    return {number}\n"
        began = time.perf_counter()
        path.write_text(text)
        event = watch.event("revised", seconds=30)
        found.append((time.perf_counter() - began) * 1000)
        engine.append(event["figures"]["applied"] + event["figures"]["refreshed"])
    return found, {"engine": statistics.median(engine)}


def _syncs(watch: Watched, root: Path, size: int, count: int, kind: str) -> Figure:
    """`sync` while another process writes elsewhere in the tree: files that no query reads, or modules of the
    watched graph, which the watch computes as they come."""
    from engine.watch.client import sync

    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(root), str(WRITES_A_SECOND), kind])
    found = []
    try:
        time.sleep(WARM_SECONDS)
        for _ in range(count):
            time.sleep(0.02)
            began = time.perf_counter()
            sync(root / ".engine")
            found.append((time.perf_counter() - began) * 1000)
    finally:
        writer.kill()
        writer.wait()
    shutil.rmtree(root / "busy", ignore_errors=True)
    what = "watched modules" if kind == "py" else "other files"
    return Figure(
        name=f"{size:,} files: sync, {WRITES_A_SECOND:,} {what} written a second, p99",
        value=part_of(found, 0.99), unit="ms", runs=found, goal=60.0,
        note=f"p50 {statistics.median(found):.1f} ms",
    )  # fmt: skip


_WRITER = """
import os, sys, time
root, rate, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.makedirs(f"{root}/busy", exist_ok=True)
began, done = time.monotonic(), 0
while True:
    while done < (time.monotonic() - began) * rate:
        with open(f"{root}/busy/f{done % 1000}.{kind}", "w") as file:
            file.write(f"value = {done}\\n")
        done += 1
    time.sleep(0.002)
"""


def _checkout(watch: Watched, root: Path, paths: list[str]) -> Figure:
    """A tenth of all files become others while an index lock is held, as in `git checkout`."""
    while True:  # what the writer's end left to tell
        try:
            watch.event("revised", seconds=2.0)
        except TimeoutError:
            break
    before = definitions(root)
    (root / ".git").mkdir(exist_ok=True)
    lock = root / ".git" / "index.lock"
    lock.touch()
    began = time.perf_counter()
    chosen = random.Random(3).sample(paths, len(paths) // 10)
    for path in chosen:
        place = root / path
        text = place.read_text()
        place.unlink()
        place.write_text(text + "\n\ndef switched() -> int:\n    return 1\n")
    lock.unlink()
    written = time.perf_counter()
    revisions = 0
    last = written
    while True:
        try:
            watch.event("revised", seconds=max(10.0, 3 * (last - written)))
        except TimeoutError:
            break
        revisions += 1
        last = time.perf_counter()
    assert definitions(root) == before + len(chosen), "the answer after the switch is wrong"
    return Figure(
        name=f"{len(paths):,} files: {len(chosen):,} switched, revisions", value=revisions, unit="", goal=3,
        note=f"{written - began:.1f} s to write, fresh {last - written:.1f} s later",
    )  # fmt: skip


def definitions(root: Path) -> int:
    """How many there are in the graph, as another command is told by the watch."""
    command = [sys.executable, "-m", "engine", "run", QUERY, "-C", str(root), "--json", "--quiet"]
    answer = subprocess.check_output(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120)
    found: int = json.loads(answer)["value"]["definitions"]
    return found


def _idle(watch: Watched, size: int) -> Iterator[Figure]:
    time.sleep(65.0)  # after a minute of quiet its steps are longer
    before = watch.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    share = (watch.cpu_seconds() - before) / IDLE_SECONDS * 100
    yield Figure(name=f"{size:,} files: idle, share of a core", value=share, unit="%", goal=1.0)
    yield Figure(name=f"{size:,} files: memory of the watch", value=watch.resident() / 2**20, unit="MiB")


def part_of(values: list[float], part: float) -> float:
    """The value that this part of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]
