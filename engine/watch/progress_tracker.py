"""ProgressTracker: what a watch does now and has done: counts, times by query and by file, latency, lag.

Invariants
    P1  Telling it something costs a few microseconds and waits for nobody: the ranking and sorting that
        `snapshot` does is bounded, and is done again only after something new was told.
    P2  Its memory is bounded: FILES files, QUERIES queries, SAMPLES latencies. What was not touched for
        longest goes first; totals keep what it added.
    P3  The order statistics are exact for the last SAMPLES revisions: a value that occurred, by nearest rank.
    P4  No duration is negative, whatever the system's clock does.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from attrs import define, field

from engine.event import What
from engine.watch.events import Revised, Started
from engine.watch.progress import MEASURED, SLOWEST, Progress, Spent

FILES: Final = 10_000  # whose times are known; 150 bytes each
QUERIES: Final = 10_000  # a project has some hundreds
SAMPLES: Final = 1_000  # latencies

_RAN: Final = (What.EXECUTED, What.CUT_OFF, What.FAILED)


@define(slots=True)
class _Times:
    """Microseconds. `revision`: how many revisions there were when `last` began to be added up."""

    count: int = 0
    total: int = 0
    longest: int = 0
    last: int = 0
    revision: int = -1

    def add(self, microseconds: int, revision: int) -> None:
        self.count += 1
        self.total += microseconds
        if microseconds > self.longest:
            self.longest = microseconds
        self.last = microseconds + (self.last if revision == self.revision else 0)
        self.revision = revision


@define(slots=True)
class _Ranking:
    """Times by name, bounded; and the slowest of them, worked out when asked for."""

    limit: int
    shown: int
    times: OrderedDict[str, _Times] = field(factory=OrderedDict)
    _slowest: tuple[Spent, ...] | None = ()

    def add(self, name: str, microseconds: int, revision: int) -> None:
        times = self.times.get(name)
        if times is None:
            times = self.times[name] = _Times()
            if len(self.times) > self.limit:
                self.times.popitem(last=False)
        else:
            self.times.move_to_end(name)
        times.add(microseconds, revision)
        self._slowest = None

    def slowest(self) -> tuple[Spent, ...]:
        if self._slowest is None:
            ranked = heapq.nsmallest(
                self.shown, self.times.items(), key=lambda item: (-item[1].total, item[0])
            )
            self._slowest = tuple(
                Spent(name, one.count, one.total / 1000, one.longest / 1000, one.last / 1000)
                for name, one in ranked
            )
        return self._slowest


class ProgressTracker:
    """Told by the other parts of a watch what they do; answers how far it is. Usable from any thread.

    running     the names of the keys that run now
    clock       seconds since 1970, the clock in which changes are saved
    """

    def __init__(
        self,
        running: Callable[[], tuple[str, ...]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._running = running
        self._clock = clock
        self._lock = threading.RLock()  # reentrant: a signal handler may ask amid a report
        self._state = "starting"
        self._mode = ""
        self._revision = self._observed_files = self._directories = 0
        self._pending_paths = self._pending_keys = 0
        self._oldest_at: float | None = None
        self._counts = dict.fromkeys((*_RAN, What.VERIFIED, What.READ), 0)
        self._queries = _Ranking(QUERIES, MEASURED)
        self._files = _Ranking(FILES, SLOWEST)
        self._failing = self._revisions = 0
        self._latencies: deque[float] = deque(maxlen=SAMPLES)
        self._sorted: list[float] | None = []
        self._latency_sum = 0.0
        self._latency_count = 0
        self._last_event_at: float | None = None
        self._last_crawl_at: float | None = None
        self._last_crawl_reason = ""
        self._last_crawl_seconds = 0.0
        self._crawls = 0
        self._audited = self._disagreements = 0

    # -- being told ------------------------------------------------------------------------------

    def started(self, event: Started) -> None:
        """The watch runs."""
        with self._lock:
            self._mode = event.mode
            self._revision = event.revision
            self._observed_files = event.files
            self._directories = event.directories
            self._failing = sum(one.watched for one in event.failures)

    def observed(self, files: int, directories: int) -> None:
        """How many observed inputs have a place now, and how many directories have a watch on them."""
        with self._lock:
            self._observed_files = files
            self._directories = directories

    def state(self, name: str) -> None:
        """The file watcher is in this state now."""
        with self._lock:
            self._state = name

    def event_seen(self, at: float) -> None:
        """Something outside was reported, at this moment."""
        with self._lock:
            self._last_event_at = at

    def crawled(self, at: float, reason: str, seconds: float, files: int) -> None:
        """Everything was looked at, ending at this moment."""
        with self._lock:
            self._crawls += 1
            self._last_crawl_at = at
            self._last_crawl_reason = reason
            self._last_crawl_seconds = max(0.0, seconds)
            self._observed_files = files

    def audited(self, members: int, differences: int) -> None:
        """Members of a table or fold were computed again and compared with what is kept."""
        with self._lock:
            self._audited += members
            self._disagreements += differences

    def pending(self, paths: int, keys: int, oldest_at: float | None) -> None:
        """What waits now: places to look at, keys to bring up to date, and when the oldest was saved."""
        with self._lock:
            self._pending_paths = paths
            self._pending_keys = keys
            self._oldest_at = oldest_at

    def record(self, what: What, query: str, path: str | None, microseconds: int) -> None:
        """Something happened to a key of `query`; `path` is the file it is about, if it is about one."""
        if what not in self._counts:
            return
        with self._lock:
            self._counts[what] += 1
            if what is What.VERIFIED:
                return
            microseconds = max(0, microseconds)
            self._queries.add(query, microseconds, self._revisions)
            if path is not None:
                self._files.add(path, microseconds, self._revisions)

    def verified(self, count: int) -> None:
        """So many keys were proven without running."""
        with self._lock:
            self._counts[What.VERIFIED] += count

    def revised(self, event: Revised) -> None:
        """A revision was committed."""
        with self._lock:
            self._revisions += 1
            self._revision = event.revision
            self._failing = sum(one.watched for one in event.failures)
            latency = event.figures.latency
            if latency > 0 and math.isfinite(latency):  # 0: unknown
                self._latencies.append(latency)
                self._sorted = None
                self._latency_sum += latency
                self._latency_count += 1

    # -- answering -------------------------------------------------------------------------------

    def snapshot(self) -> Progress:
        """How things are now."""
        running = self._running()  # outside the lock: its owner may hold one of its own
        now = self._clock()
        with self._lock:
            if self._sorted is None:
                self._sorted = sorted(self._latencies)
            latencies = self._sorted
            return Progress(
                at=now,
                state=self._state,
                mode=self._mode,
                revision=self._revision,
                pending_paths=self._pending_paths,
                pending_keys=self._pending_keys,
                running=running,
                executed=sum(self._counts[what] for what in _RAN),
                cut_off=self._counts[What.CUT_OFF],
                failed=self._counts[What.FAILED],
                verified=self._counts[What.VERIFIED],
                read=self._counts[What.READ],
                failing=self._failing,
                revisions=self._revisions,
                latency_p50=quantile(latencies, 0.50),
                latency_p95=quantile(latencies, 0.95),
                latency_p99=quantile(latencies, 0.99),
                latency_last=self._latencies[-1] if self._latencies else None,
                latency_sum=self._latency_sum,
                latency_count=self._latency_count,
                lag=0.0 if self._oldest_at is None else max(0.0, now - self._oldest_at),
                last_event_at=self._last_event_at,
                last_crawl_at=self._last_crawl_at,
                last_crawl_reason=self._last_crawl_reason,
                last_crawl_seconds=self._last_crawl_seconds,
                crawls=self._crawls,
                audited=self._audited,
                disagreements=self._disagreements,
                observed_files=self._observed_files,
                directories=self._directories,
                queries=self._queries.slowest(),
                files=self._files.slowest(),
            )


def quantile(ordered: list[float], part: float) -> float | None:
    """The smallest of the ordered values that at least this part of them does not exceed; None of none."""
    if not ordered:
        return None
    # 0.95 * 20 is 19.000000000000004 for a float: a rank too high without the rounding.
    return ordered[max(0, math.ceil(round(part * len(ordered), 9)) - 1)]
