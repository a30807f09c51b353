"""Harness: interleaved runs, figures with their goals, and what is known of the machine.

Runs of different cases take turns, so that a slow minute of a shared machine hits all of them; the figure
is the median, and a ratio is the median of the ratios within the turns. A limit (the cheapest thing that
does a similar job) is measured in the same turns. Work inside one process is measured in processor time of
all its threads, which a busy machine disturbs least; whole processes by the clock on the wall.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import asdict, define, frozen

LIBRARIES = ("attrs", "blake3", "msgspec")
ROOT = Path(__file__).parent.parent
_bytecode = tempfile.TemporaryDirectory(prefix="engine-bench-bytecode-")


@frozen
class Scale:
    """How much work: `--quick` divides the sizes by ten and runs less often. Its figures prove nothing."""

    quick: bool = False

    @property
    def runs(self) -> int:
        return 3 if self.quick else 7

    def size(self, full: int) -> int:
        return full // 10 if self.quick else full


@frozen(kw_only=True)
class Figure:
    """One number of the report. The goal is for `value`, or with `goal_is_ratio` for `ratio`."""

    name: str
    value: float
    unit: str
    runs: Sequence[float] = ()  # in the order they were made, same unit
    limit: str = ""  # what `ratio` compares with
    ratio: float | None = None
    goal: float | None = None
    goal_is_ratio: bool = False
    gc: str = ""  # state of the garbage collector while it was measured
    note: str = ""

    @property
    def verdict(self) -> str:
        judged = self.ratio if self.goal_is_ratio else self.value
        if self.goal is None or judged is None:
            return ""
        return "ok" if judged <= self.goal else "over"

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


@define
class Timings:
    """What the interleaved runs of several cases gave, in seconds (or whatever the cases return)."""

    runs: dict[str, list[float]]
    gc: str

    def figure(self, case: str, name: str, unit: str, *, per: float = 1, less: str = "", limit: str = "",
               shown: str = "", **more: Any) -> Figure:  # fmt: skip
        """The median of `case` in `unit`, per item, minus the median of `less`, compared with `limit`.

        `shown` is what the report calls the limit, if not by the name of its case.
        """
        scale = {"s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}.get(unit, 1) / per
        floor = statistics.median(self.runs[less]) if less else 0.0
        net = [run - floor for run in self.runs[case]]
        ratio = None
        if limit:
            pairs = zip(net, self.runs[limit], strict=True)
            ratio = statistics.median([run / (cheapest - floor) for run, cheapest in pairs])
        return Figure(
            name=name, value=statistics.median(net) * scale, unit=unit, runs=[run * scale for run in net],
            limit=shown or limit, ratio=ratio, gc=self.gc, **more,
        )  # fmt: skip


def stopwatch() -> Callable[[], float]:
    """Start it here; every call tells the seconds of processor time since."""
    clock = time.process_time
    started = clock()
    return lambda: clock() - started


def interleaved(cases: Mapping[str, Callable[[], float]], runs: int, *, collector: bool = True) -> Timings:
    """Call every case once per turn. The collector is emptied before each, then as `collector` says."""
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(runs):
        for name, case in cases.items():
            gc.collect()
            if not collector:
                gc.disable()
            try:
                found[name].append(case())
            finally:
                gc.enable()
    return Timings(found, "on" if collector else "off")


def counted(name: str, value: int, *, goal: int | None = None, note: str = "") -> Figure:
    """A figure that is counted, not timed: the same in every run."""
    return Figure(name=name, value=value, unit="nodes", goal=goal, note=note)


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for one store; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="engine-bench-") as name:
        yield Path(name)


def python(*arguments: str) -> str:
    """Run a new interpreter in the project's directory; what it prints."""
    return subprocess.check_output([sys.executable, *arguments], cwd=ROOT, env=environment(), text=True)


def environment() -> dict[str, str]:
    """The environment of new interpreters.

    Bytecode is cached as it is for everybody (here in a directory of its own), so the first run of
    anything is slower than the ones that count.
    """
    several = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**several, "PYTHONPYCACHEPREFIX": _bytecode.name}


def in_child(module: str, *arguments: object) -> dict[str, Any]:
    """Run `benchmarks.<module>` as a program that prints one JSON object."""
    found: dict[str, Any] = json.loads(python("-m", f"benchmarks.{module}", *map(str, arguments)))
    return found


def resident_bytes() -> int:
    """Memory of this process in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def machine() -> dict[str, Any]:
    """Hardware and versions; no names and no paths."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "load_at_start": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "gc": {"thresholds": gc.get_threshold(), "enabled": gc.isenabled()},
    }
