"""Progress: one look at a watch, as JSON and as lines for people.

Invariants
    L1  Every line is without control characters, whatever a key, a file or a reason is called.
    L2  `from_dict(as_dict())` is the same look, but for queries beyond the SLOWEST.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from engine.message import escaped

SLOWEST: Final = 10  # queries and files that people are shown
MEASURED: Final = 100  # queries that have metrics of their own
RUNNING: Final = 3  # keys that are named in a line
DIGITS: Final = 6  # of seconds and milliseconds


@frozen(slots=True)
class Spent:
    """Time of the runs of one query, or of all runs for one file. Milliseconds.

    last        of all runs since the revision before the one in which it last ran
    """

    name: str
    count: int
    total: float
    longest: float
    last: float


@frozen(slots=True)
class Progress:
    """One look at a watch. Points in time are seconds since 1970, None for never; latencies milliseconds.

    at              when it was taken
    running         the keys whose functions run now
    executed        functions run; `cut_off` those of them whose value was equal, `failed` those that raised
    verified, read  keys proven without running; observed inputs whose content was new
    failing         keys whose value is an error now
    latency_...     from a save to its commit, over the last revisions; None before the first
    audited         members of tables and folds computed again and compared; `disagreements` were found
    lag             age in seconds of the oldest change that is not yet in what was committed; 0: none
    queries, files  the slowest by their total, at most MEASURED and SLOWEST
    """

    at: float
    state: str
    mode: str
    revision: int
    pending_paths: int
    pending_keys: int
    running: tuple[str, ...]
    executed: int
    cut_off: int
    failed: int
    verified: int
    read: int
    failing: int
    revisions: int
    latency_p50: float | None
    latency_p95: float | None
    latency_p99: float | None
    latency_last: float | None
    latency_sum: float
    latency_count: int
    lag: float
    last_event_at: float | None
    last_crawl_at: float | None
    last_crawl_reason: str
    last_crawl_seconds: float
    crawls: int
    audited: int
    disagreements: int
    observed_files: int
    directories: int
    queries: tuple[Spent, ...]
    files: tuple[Spent, ...]

    def as_dict(self) -> dict[str, Any]:
        """As JSON can say it: `engine status --json`. Only the SLOWEST queries."""
        import msgspec

        from engine.watch.events_json import rounded

        document: dict[str, Any] = rounded(msgspec.to_builtins(self), DIGITS)
        document["queries"] = document["queries"][:SLOWEST]
        return document

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Progress:
        """What `as_dict` of another process said. ValueError: it is something else."""
        import msgspec

        return msgspec.convert(document, cls)


# -- for people ----------------------------------------------------------------------------------


def status_lines(progress: Progress) -> list[str]:
    """A look at a watch as lines, without control characters."""
    return [
        *summary_lines(progress),
        *_slowest("queries", progress.queries),
        *_slowest("files", progress.files),
    ]


def summary_lines(progress: Progress) -> list[str]:
    """The same without times by query and file: the five lines that stay on a terminal."""
    failing = f", {count(progress.failing, 'key')} failing" if progress.failing else ""
    running = ", ".join(escaped(name, limit=60) for name in progress.running[:RUNNING])
    more = len(progress.running) - RUNNING
    running += f" and {more} more" if more > 0 else ""
    failed = f", failed {progress.failed:,}" if progress.failed else ""
    reason = f": {escaped(progress.last_crawl_reason, limit=200)}" if progress.last_crawl_reason else ""
    odd = f", {count(progress.disagreements, 'disagreement')} of audits" if progress.disagreements else ""
    return [
        f"{escaped(progress.state)}{f' ({escaped(progress.mode)})' if progress.mode else ''}, "
        f"revision {progress.revision}, {count(progress.observed_files, 'observed input')}{failing}{odd}",
        f"pending {count(progress.pending_paths, 'path')}, {count(progress.pending_keys, 'key')}; "
        f"running {running or 'nothing'}",
        f"executed {progress.executed:,}, cut off {progress.cut_off:,}, verified {progress.verified:,}, "
        f"read {progress.read:,}{failed}",
        f"{_latency(progress)}; lag {duration(progress.lag * 1000)}",
        f"last event {ago(progress.at, progress.last_event_at)}; "
        f"last crawl {ago(progress.at, progress.last_crawl_at)}{reason}",
    ]


def _latency(progress: Progress) -> str:
    if progress.latency_p50 is None or progress.latency_p95 is None or progress.latency_p99 is None:
        return "no change yet"
    return (
        f"from save to commit: half within {duration(progress.latency_p50)}, "
        f"95% {duration(progress.latency_p95)}, 99% {duration(progress.latency_p99)}"
    )


def _slowest(what: str, spent: tuple[Spent, ...]) -> list[str]:
    if not spent:
        return []
    return [
        f"slowest {what}",
        *(
            f"  {escaped(one.name, limit=200)}: {count(one.count, 'run')}, {duration(one.total)}, "
            f"the longest {duration(one.longest)}"
            for one in spent[:SLOWEST]
        ),
    ]


def count(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(milliseconds: float) -> str:
    """`14 ms`, `2.5 s`, `3 min`, `2 h`, `4 days`."""
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms" if milliseconds > 0 else "0 ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{min(seconds, 59.9):.1f} s"
    for unit, size, limit in (("min", 60, 3600), ("h", 3600, 86400)):
        if seconds < limit:
            return f"{seconds // size:.0f} {unit}"
    return count(int(seconds // 86400), "day")


def ago(now: float, then: float | None) -> str:
    """`3 s ago`, `never`."""
    if then is None:
        return "never"
    seconds = max(0.0, now - then)
    return "now" if seconds < 1 else f"{duration(seconds // 1 * 1000).replace('.0 s', ' s')} ago"
