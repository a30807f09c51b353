"""ProgressTracker: counts, times by query and by file, latencies, lag; and how they are shown."""

from __future__ import annotations

import json
import math
import threading

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.event import What
from engine.watch import progress_tracker
from engine.watch.events import Failed, Figures, Revised, Started
from engine.watch.progress import Progress, ago, duration, status_lines, summary_lines
from engine.watch.progress_tracker import ProgressTracker, quantile
from tests.patience import PATIENCE
from tests.telling import HOSTILE


def revised(latency: float, revision: int = 2, failures: int = 0) -> Revised:
    failed = tuple(Failed(f"k{number}", "e", watched=True) for number in range(failures))
    return Revised(revision, revision - 1, (), (), 0, failed, (), Figures(latency=latency))


def test_a_new_tracker_knows_nothing() -> None:
    progress = ProgressTracker(clock=lambda: 50.0).snapshot()
    unknown = {name for name in names(Progress) if getattr(progress, name) is None}
    assert unknown == {
        "latency_p50",
        "latency_p95",
        "latency_p99",
        "latency_last",
        "last_event_at",
        "last_crawl_at",
    }
    assert (progress.at, progress.state, progress.executed, progress.lag) == (50.0, "starting", 0, 0.0)


def test_what_happened_to_keys_is_counted_by_kind() -> None:
    tracker = ProgressTracker(clock=lambda: 0.0)
    for what in What:
        for _ in range(2):
            tracker.record(what, "m:q", None, 10)
    progress = tracker.snapshot()
    assert (progress.executed, progress.cut_off, progress.failed) == (6, 2, 2)
    assert (progress.verified, progress.read) == (2, 2)
    assert [(one.name, one.count) for one in progress.queries] == [("m:q", 8)]  # runs and reads, nothing else


def test_times_are_added_up_by_query_and_by_file() -> None:
    tracker = ProgressTracker(clock=lambda: 0.0)
    tracker.record(What.EXECUTED, "m:parse", "a.py", 3_000)
    tracker.record(What.CUT_OFF, "m:facts", "a.py", 1_000)
    tracker.record(What.READ, "m:read", "b.py", 500)
    tracker.revised(revised(5.0))
    tracker.record(What.FAILED, "m:parse", "a.py", 2_000)
    progress = tracker.snapshot()
    assert [(one.name, one.count, one.total, one.longest, one.last) for one in progress.queries] == [
        ("m:parse", 2, 5.0, 3.0, 2.0),
        ("m:facts", 1, 1.0, 1.0, 1.0),
        ("m:read", 1, 0.5, 0.5, 0.5),
    ]
    assert [(one.name, one.count, one.total, one.longest, one.last) for one in progress.files] == [
        ("a.py", 3, 6.0, 3.0, 2.0),
        ("b.py", 1, 0.5, 0.5, 0.5),
    ]


def test_the_time_of_a_file_in_its_last_update_is_that_of_all_its_queries() -> None:
    tracker = ProgressTracker(clock=lambda: 0.0)
    tracker.record(What.READ, "m:read", "a.py", 100)
    tracker.record(What.EXECUTED, "m:parse", "a.py", 200)
    assert tracker.snapshot().files[0].last == 0.3


def test_memory_is_bounded_and_what_was_not_touched_for_longest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_tracker, "FILES", 3)
    tracker = ProgressTracker(clock=lambda: 0.0)
    for path in ("a", "b", "c", "a", "d"):
        tracker.record(What.EXECUTED, "m:q", path, 10)
    progress = tracker.snapshot()
    assert sorted(one.name for one in progress.files) == ["a", "c", "d"]
    assert progress.executed == 5


def test_the_slowest_come_first_and_equal_ones_by_name() -> None:
    tracker = ProgressTracker(clock=lambda: 0.0)
    for number in (*range(120), *range(50)):
        tracker.record(What.EXECUTED, f"m:q{number:03}", f"f{number:03}", 10)
    progress = tracker.snapshot()
    assert [one.name for one in progress.queries] == [f"m:q{number:03}" for number in range(100)]
    assert [one.name for one in progress.files] == [f"f{number:03}" for number in range(10)]


def test_latencies_are_order_statistics_of_the_last_thousand_revisions() -> None:
    tracker = ProgressTracker(clock=lambda: 0.0)
    for latency in range(5_000, 0, -1):
        tracker.revised(revised(float(latency)))
    progress = tracker.snapshot()
    assert (progress.latency_p50, progress.latency_p95, progress.latency_p99) == (500.0, 950.0, 990.0)
    assert (progress.latency_last, progress.latency_count, progress.revisions) == (1.0, 5_000, 5_000)
    assert progress.latency_sum == sum(range(5_001))


def test_an_unknown_latency_is_no_sample() -> None:
    tracker = ProgressTracker(clock=lambda: 0.0)
    for latency in (0.0, math.nan, math.inf, -3.0, 7.0):
        tracker.revised(revised(latency))
    progress = tracker.snapshot()
    assert (progress.latency_p50, progress.latency_count, progress.revisions) == (7.0, 1, 5)


@given(st.lists(st.floats(0, 1e6), max_size=60), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], part: float
) -> None:
    percent = round(part * 100)
    reached = [one for one in values if sum(other <= one for other in values) * 100 >= percent * len(values)]
    assert quantile(sorted(values), part) == min(reached, default=None)


def test_lag_is_the_age_of_the_oldest_change_that_is_not_committed() -> None:
    now = [100.0]
    tracker = ProgressTracker(clock=lambda: now[0])
    tracker.pending(paths=2, keys=5, oldest_at=97.5)
    progress = tracker.snapshot()
    assert (progress.pending_paths, progress.pending_keys, progress.lag) == (2, 5, 2.5)
    now[0] = 90.0  # somebody set the clock back
    assert tracker.snapshot().lag == 0.0
    tracker.pending(paths=0, keys=0, oldest_at=None)
    assert tracker.snapshot().lag == 0.0


def test_the_newest_news_are_kept() -> None:
    tracker = ProgressTracker(running=lambda: ("m:q(1)",), clock=lambda: 100.0)
    tracker.started(Started(3, ("k",), "polling", 10, 2, 0.1, (Failed("k", "e", watched=True),)))
    tracker.state("crawling")
    tracker.event_seen(90.0)
    tracker.crawled(at=95.0, reason="no tick for 2.1 s", seconds=-1.0, files=12)
    tracker.crawled(at=96.0, reason="audit", seconds=0.3, files=13)
    before = tracker.snapshot()
    tracker.observed(files=14, directories=3)
    tracker.revised(revised(5.0, revision=4, failures=2))
    after = tracker.snapshot()
    assert (before.mode, before.state, before.revision, before.failing) == ("polling", "crawling", 3, 1)
    assert (before.last_event_at, before.last_crawl_at, before.last_crawl_seconds) == (90.0, 96.0, 0.3)
    assert (before.last_crawl_reason, before.crawls, before.observed_files) == ("audit", 2, 13)
    assert before.running == ("m:q(1)",)
    assert (after.revision, after.failing, after.observed_files, after.directories) == (4, 2, 14, 3)


def test_threads_lose_no_count() -> None:
    tracker = ProgressTracker(clock=lambda: 0.0)

    def work() -> None:
        for number in range(2_000):
            tracker.record(What.EXECUTED, "m:q", f"f{number % 7}", 3)
            if not number % 100:
                tracker.snapshot()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    progress = tracker.snapshot()
    assert progress.executed == progress.queries[0].count == sum(one.count for one in progress.files) == 8_000
    assert progress.queries[0].total == 24.0


def test_asking_again_ranks_and_sorts_nothing_unless_something_was_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracker = ProgressTracker(clock=lambda: 0.0)
    tracker.record(What.EXECUTED, "m:q", "a.py", 3)
    tracker.revised(revised(5.0))
    first = tracker.snapshot()
    monkeypatch.setattr("engine.watch.progress_tracker.heapq.nsmallest", None)
    monkeypatch.setattr("engine.watch.progress_tracker.sorted", None, raising=False)
    assert tracker.snapshot() == first


def test_a_look_comes_back_from_its_json() -> None:
    tracker = ProgressTracker(running=lambda: (HOSTILE,), clock=lambda: 100.0)
    for number in range(20):
        tracker.record(What.EXECUTED, f"{HOSTILE}{number:02}", HOSTILE, 1)
    tracker.crawled(99.0, HOSTILE, 0.5, 3)
    tracker.revised(revised(5.0))
    progress = tracker.snapshot()
    document = json.loads(json.dumps(tracker.snapshot().as_dict(), allow_nan=False))
    assert set(document) == set(names(Progress))
    assert Progress.from_dict(document) == attrs.evolve(progress, queries=progress.queries[:10])
    with pytest.raises(ValueError, match="state"):
        Progress.from_dict({"at": 1.0})


def test_status_says_it_in_words() -> None:
    tracker = ProgressTracker(running=lambda: ("a()", "b()", "c()", "d()"), clock=lambda: 1_000.0)
    tracker.started(Started(12, (), "events", 1_204, 80, 0.1))
    tracker.state("live")
    tracker.event_seen(997.0)
    tracker.crawled(700.0, "start", 0.3, 1_204)
    tracker.pending(3, 1, 999.8)
    tracker.record(What.EXECUTED, "m:parse", "a.py", 2_500_000)
    tracker.record(What.FAILED, "m:parse", "b.py", 14_000)
    for latency in (14.0, 20.0, 2_500.0):
        tracker.revised(revised(latency, 12, failures=2))
    assert status_lines(tracker.snapshot()) == [
        "live (events), revision 12, 1,204 observed inputs, 2 keys failing",
        "pending 3 paths, 1 key; running a(), b(), c() and 1 more",
        "executed 2, cut off 0, verified 0, read 0, failed 1",
        "from save to commit: half within 20 ms, 95% 2.5 s, 99% 2.5 s; lag 200 ms",
        "last event 3 s ago; last crawl 5 min ago: start",
        "slowest queries",
        "  m:parse: 2 runs, 2.5 s, the longest 2.5 s",
        "slowest files",
        "  a.py: 1 run, 2.5 s, the longest 2.5 s",
        "  b.py: 1 run, 14 ms, the longest 14 ms",
    ]


def test_a_watch_that_has_just_begun_has_five_lines_too() -> None:
    assert summary_lines(ProgressTracker(clock=lambda: 0.0).snapshot()) == [
        "starting, revision 0, 0 observed inputs",
        "pending 0 paths, 0 keys; running nothing",
        "executed 0, cut off 0, verified 0, read 0",
        "no change yet; lag 0 ms",
        "last event never; last crawl never",
    ]


def test_no_name_brings_control_characters_into_a_line() -> None:
    tracker = ProgressTracker(running=lambda: (HOSTILE * 50,) * 5, clock=lambda: 0.0)
    tracker.state(HOSTILE)
    tracker.crawled(0.0, HOSTILE * 100, 0.0, 1)
    tracker.record(What.EXECUTED, HOSTILE * 100, HOSTILE * 100, 1)
    lines = status_lines(tracker.snapshot())
    assert len(lines) == 9
    assert all(line.isprintable() and len(line) < 400 for line in lines)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (-1, "0 ms"),
        (0.26, "0.3 ms"),
        (9.94, "9.9 ms"),
        (9.96, "10 ms"),
        (999.4, "999 ms"),
        (999.6, "1.0 s"),
        (59_960, "59.9 s"),
        (60_000, "1 min"),
        (3_599_999, "59 min"),
        (3_600_000, "1 h"),
        (86_399_999, "23 h"),
        (86_400_000, "1 day"),
        (1e9, "11 days"),
    ],
)
def test_durations_for_people(milliseconds: float, text: str) -> None:
    assert duration(milliseconds) == text


@pytest.mark.parametrize(
    ("then", "text"),
    [
        (None, "never"),
        (99.5, "now"),
        (100.5, "now"),
        (98.9, "1 s ago"),
        (40.1, "59 s ago"),
        (40.0, "1 min ago"),
    ],
)
def test_moments_for_people(then: float | None, text: str) -> None:
    assert ago(100.0, then) == text


def names(kind: type) -> list[str]:
    return [field.name for field in attrs.fields(kind)]
