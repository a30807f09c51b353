"""Watching: the edits of the scenarios in a running watch of this engine, from the save to its revision.

save      milliseconds from before the first byte is written until another process hears of the revision,
          which is after its commit
engine    what the engine says of it: comparing the inputs, running, and the commit; without the wait for
          the kernel and for the burst to settle
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers.edits import EDITS, Repository
from benchmarks.repository import plant, repository
from benchmarks.watching import Watched, part_of, watched

QUERY = "benchmarks.peers.ours:index"
PAUSE_SECONDS = 0.3  # between saves: more than a burst, so that each is a revision of its own
QUIET_SECONDS = 1.0  # after a storm: nothing more comes
READY_SECONDS = 3600.0


class Save(NamedTuple):
    """One edit. Times in milliseconds."""

    edit: str
    save: float
    engine: float
    executed: int
    verified: int
    revisions: int


class Watching(NamedTuple):
    """All saves, and what the watch cost otherwise."""

    files: int
    start_seconds: float
    memory: int  # bytes of the watch, at the end
    saves: list[Save]

    def record(self) -> dict[str, Any]:
        return {**self._asdict(), "saves": [one._asdict() for one in self.saves]}


def measure(place: Path, files: int, rounds: int, *, settle: float = 2.1) -> Watching:
    """Every edit so many times, in turns; the storm once."""
    root = place / "repository"
    root.mkdir()
    tree = repository(files)
    plant(root, tree.items())
    repo = Repository(root, tree)
    time.sleep(settle)
    with watched(root, query=QUERY) as watch:
        started = watch.event("started", seconds=READY_SECONDS)
        while started["revision"] == 0 or not started["watched"]:
            started = watch.event("started", seconds=READY_SECONDS)
        several = [name for name in EDITS if name != "storm"] * rounds
        saves = [_saved(watch, repo, name) for name in (*several, "storm")]
        return Watching(files, started["seconds"], watch.resident(), saves)


def _saved(watch: Watched, repo: Repository, name: str) -> Save:
    time.sleep(PAUSE_SECONDS)
    repo.prepare(name)
    began = time.perf_counter()
    repo.carry_out()
    last = began
    events: list[dict[str, Any]] = []
    while not events or name == "storm":
        try:
            events.append(watch.event("revised", seconds=QUIET_SECONDS if events else 120.0)["figures"])
        except TimeoutError:
            break
        last = time.perf_counter()
    return Save(
        name,
        (last - began) * 1000,
        sum(one["applied"] + one["refreshed"] for one in events),
        sum(one["executed"] for one in events),
        sum(one["verified"] for one in events),
        len(events),
    )


def lines(found: Watching) -> Iterator[str]:
    """The table."""
    columns = ("save to revision, p50", "p95", "engine part, p50", "executed", "verified", "revisions")
    yield f"| {found.files:,} files, watched | {' | '.join(columns)} |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for edit in EDITS:
        several = [one for one in found.saves if one.edit == edit]
        saves = [one.save for one in several]
        parts = [
            f"{statistics.median(saves):.1f} ms",
            f"{part_of(saves, 0.95):.1f} ms",
            f"{statistics.median(one.engine for one in several):.1f} ms",
            f"{statistics.median(one.executed for one in several):,.0f}",
            f"{statistics.median(one.verified for one in several):,.0f}",
            f"{max(one.revisions for one in several)}",
        ]
        yield f"| {edit} | {' | '.join(parts)} |"
    memory = f"{found.memory / 2**20:,.0f} MiB"
    yield f"\nCold start to live {found.start_seconds:.1f} s; memory at the end {memory}."
