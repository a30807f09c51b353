"""Metrics: a look at a watch in the text format of Prometheus (0.0.4).

Invariants
    M1  Every name is declared once (HELP, TYPE), base units, counters end in `_total`; labels are escaped,
        and no series occurs twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from engine.message import escaped
from engine.watch.progress import Progress, Spent

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
STATES: Final = ("starting", "crawling", "live", "doubtful")

Sample = tuple[dict[str, str], float]


def render(progress: Progress) -> str:
    """The text that a scrape gets."""
    return "".join(
        f"# HELP engine_watch_{name} {help}\n# TYPE engine_watch_{name} {kind}\n" + "".join(lines)
        for name, kind, help, lines in _families(progress)
    )


def _families(now: Progress) -> Iterable[tuple[str, str, str, list[str]]]:
    def one(name: str, kind: str, help: str, *samples: Sample) -> tuple[str, str, str, list[str]]:
        return name, kind, help, [_line(name, labels, value) for labels, value in samples]

    states = dict.fromkeys((*STATES, now.state))
    yield one(
        "state",
        "gauge",
        "1 for the state that the file watcher is in.",
        *(({"state": state}, int(state == now.state)) for state in states),
    )
    yield one("info", "gauge", "How changes are noticed.", ({"mode": now.mode}, 1))
    for name, help, value in (
        ("revision", "The last committed revision.", now.revision),
        ("pending_paths", "Places to look at.", now.pending_paths),
        ("pending_keys", "Keys to bring up to date.", now.pending_keys),
        ("running_keys", "Keys whose functions run.", len(now.running)),
        ("failing_keys", "Keys whose value is an error.", now.failing),
        ("files", "Observed inputs that have a place.", now.observed_files),
        ("directories", "Directories with a watch on them.", now.directories),
        ("lag_seconds", "Age of the oldest change that is not yet committed.", now.lag),
        ("last_event_timestamp_seconds", "When something was reported last.", now.last_event_at),
        ("last_crawl_timestamp_seconds", "When everything was last looked at.", now.last_crawl_at),
        ("last_crawl_seconds", "How long that took.", now.last_crawl_seconds),
    ):
        yield one(name, "gauge", help, *(() if value is None else (({}, value),)))
    for name, help, value in (
        ("revisions_total", "Revisions committed.", now.revisions),
        ("crawls_total", "Times everything was looked at.", now.crawls),
        ("audited_total", "Members of tables and folds compared with what is kept.", now.audited),
        ("disagreements_total", "Differences that audits found.", now.disagreements),
        ("executed_total", "Functions run.", now.executed),
        ("cut_off_total", "Functions run whose value was equal.", now.cut_off),
        ("failed_total", "Functions run that raised.", now.failed),
        ("verified_total", "Keys proven to hold without running.", now.verified),
        ("read_total", "Observed inputs whose content was new.", now.read),
    ):
        yield one(name, "counter", help, ({}, value))
    yield "latency_seconds", "summary", "From a save to its commit, over the last revisions.", _summary(now)
    queries = _by_label(now.queries)
    yield one(
        "query_runs_total",
        "counter",
        "Runs of the slowest queries, reads of inputs included.",
        *(({"query": name}, runs) for name, (runs, _) in queries.items()),
    )
    yield one(
        "query_seconds_total",
        "counter",
        "Time of those runs.",
        *(({"query": name}, seconds) for name, (_, seconds) in queries.items()),
    )


def _summary(now: Progress) -> list[str]:
    quantiles = (("0.5", now.latency_p50), ("0.95", now.latency_p95), ("0.99", now.latency_p99))
    return [
        *(
            _line("latency_seconds", {"quantile": part}, float("nan") if value is None else value / 1000)
            for part, value in quantiles
        ),
        _line("latency_seconds_sum", {}, now.latency_sum / 1000),
        _line("latency_seconds_count", {}, now.latency_count),
    ]


def _by_label(queries: Iterable[Spent]) -> dict[str, tuple[int, float]]:
    """Runs and seconds. Two names may look the same when they are escaped: they are added up."""
    found: dict[str, tuple[int, float]] = {}
    for one in queries:
        runs, seconds = found.get(label := escaped(one.name), (0, 0.0))
        found[label] = (runs + one.count, seconds + one.total / 1000)
    return found


def _line(name: str, labels: dict[str, str], value: float) -> str:
    shown = ",".join(f'{label}="{_label(text)}"' for label, text in labels.items())
    number = str(value) if isinstance(value, int) else "NaN" if value != value else repr(round(value, 9))
    return f"engine_watch_{name}{f'{{{shown}}}' if shown else ''} {number}\n"


def _label(text: str) -> str:
    return escaped(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
