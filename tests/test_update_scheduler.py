"""A burst of hints is one batch, soon after it ends and in the order of use."""

from __future__ import annotations

import threading

import pytest

from engine.watch import update_scheduler
from engine.watch.update_scheduler import (
    AUDIT,
    BUSY_FREE,
    BUSY_MOST,
    CAP,
    HELD_CAP,
    LARGE_BURST,
    LARGE_QUIET,
    MOST_PATHS,
    QUIET,
)
from tests.scheduler_rig import Rig, rig

__all__ = ["rig"]


def test_there_is_nothing_to_do_at_first(rig: Rig) -> None:
    assert rig.scheduler.due() is None
    assert rig.scheduler.take() is None
    assert rig.scheduler.waiting == 0
    assert rig.scheduler.oldest() is None


def test_a_burst_is_one_batch_with_what_was_hinted_last_first(rig: Rig) -> None:
    for path in ("a", "b", "c"):
        rig.hint(path)
        assert rig.after(QUIET / 2) is None
    rig.hint("a")
    waited, batch = rig.next()
    assert waited <= QUIET * 2
    assert batch.paths == ("a", "c", "b")
    assert rig.scheduler.take() is None
    assert rig.scheduler.waiting == 0


def test_a_path_is_in_a_batch_once_however_often_it_was_hinted(rig: Rig) -> None:
    for _ in range(100):
        rig.hint("a", "a", "b")
    assert rig.next()[1].paths == ("b", "a")


def test_the_same_path_again_does_not_keep_a_burst_open(rig: Rig) -> None:
    rig.hint("a")
    for _ in range(4):
        rig.now += QUIET / 4
        rig.hint("a")
    assert rig.after(1e-6) is not None


def test_a_large_burst_waits_for_a_longer_quiet(rig: Rig) -> None:
    rig.hint(*map(str, range(LARGE_BURST)))
    assert rig.after(LARGE_QUIET * 0.9) is None
    rig.hint("another")
    assert rig.after(LARGE_QUIET * 0.9) is None
    batch = rig.after(LARGE_QUIET * 0.2)
    assert batch is not None
    assert len(batch.paths) == LARGE_BURST + 1


def test_what_a_slow_program_writes_is_one_batch_as_soon_as_there_is_much_of_it(rig: Rig) -> None:
    batches = []
    for number in range(100):  # each time fewer than a large burst, and a longer pause than between two saves
        rig.hint(*(f"{number} {one}" for one in range(LARGE_BURST // 4)))
        batches.append(rig.after(QUIET * 2))
    _, rest = rig.next()
    early = [batch for batch in batches if batch is not None]
    assert len(early) == 3  # until there were enough of them to know it
    assert len(rest.paths) == (100 - 3) * (LARGE_BURST // 4)


def test_a_program_that_writes_now_and_then_is_followed_at_once(rig: Rig) -> None:
    for number in range(100):
        rig.hint(f"a {number}", f"b {number}")
        assert rig.after(LARGE_QUIET / 4) is not None


def test_a_burst_without_end_becomes_a_batch_after_the_cap(rig: Rig) -> None:
    began = rig.now
    rig.hint(*map(str, range(LARGE_BURST)))
    for number in range(1_000):
        if rig.after(LARGE_QUIET * 0.8) is not None:
            break
        rig.hint(f"new {number}")
    assert rig.now - began == pytest.approx(CAP, abs=LARGE_QUIET)


def test_a_flush_takes_busy_paths_and_failed_inputs_along(rig: Rig) -> None:
    for _ in range(BUSY_FREE + 3):
        rig.hint("busy")
        rig.next()
    rig.hint("busy")
    rig.scheduler.retry(7)
    rig.scheduler.look([8])
    rig.scheduler.flush()
    batch = rig.scheduler.take()
    assert batch is not None
    assert (batch.paths, set(batch.nodes)) == (("busy",), {7, 8})
    assert rig.scheduler.due() is None


def test_an_empty_flush_is_a_batch_too(rig: Rig) -> None:
    rig.scheduler.flush()
    batch = rig.scheduler.take()
    assert batch is not None
    assert (batch.paths, batch.nodes) == ((), ())


def test_more_paths_than_the_list_holds_are_a_crawl(rig: Rig) -> None:
    for number in range(MOST_PATHS * 3):
        rig.hint(f"{number}")
        assert rig.scheduler.waiting <= MOST_PATHS
    _, batch = rig.next()
    assert "at once" in batch.crawl
    assert len(batch.paths) <= MOST_PATHS


def test_a_crawl_amid_a_burst_waits_for_a_longer_quiet(rig: Rig) -> None:
    rig.hint("a")
    rig.scheduler.crawl("overflow")
    assert rig.after(QUIET * 2) is None
    batch = rig.after(LARGE_QUIET)
    assert batch is not None
    assert (batch.paths, batch.crawl) == (("a",), "overflow")


def test_a_crawl_takes_busy_paths_along(rig: Rig) -> None:
    for _ in range(BUSY_FREE + 3):
        rig.hint("busy")
        rig.next()
    rig.hint("busy")
    rig.scheduler.crawl("audit")
    assert rig.next()[1].paths == ("busy",)
    assert rig.scheduler.due() is None


def test_what_was_asked_for_meanwhile_is_in_no_batch(rig: Rig) -> None:
    rig.scheduler.look([1, 2])
    rig.scheduler.flush("asked for")
    assert rig.scheduler.waiting == 2
    assert rig.scheduler.asked_meanwhile() == ([1, 2], "asked for")
    batch = rig.scheduler.take()
    assert batch is not None
    assert (batch.nodes, batch.crawl) == ((), "")
    assert rig.scheduler.asked_meanwhile() == ([], "")


def test_an_audit_that_waits_gives_way_to_any_other_reason(rig: Rig) -> None:
    """As in a long checkout: an audit does not ask what watches were lost, and the list of paths is gone."""
    rig.hint("a")
    rig.scheduler.crawl(AUDIT)
    assert rig.scheduler.take() is None
    rig.hint(*(f"{number}" for number in range(MOST_PATHS + 1)))
    batch = rig.next()[1]
    assert batch.crawl == f"more than {MOST_PATHS} paths at once"
    assert batch.paths == ()


def test_the_first_reason_for_a_crawl_is_kept(rig: Rig) -> None:
    rig.scheduler.crawl("overflow")
    rig.scheduler.crawl("audit")
    assert rig.next()[1].crawl == "overflow"
    assert rig.scheduler.due() is None


def test_the_oldest_hint_of_a_batch_is_its_first(rig: Rig) -> None:
    first = rig.now
    rig.hint("a")
    rig.now += QUIET / 2
    rig.hint("b", "a")
    assert rig.scheduler.oldest() == first
    assert rig.next()[1].first == first


def test_a_hint_during_a_batch_is_for_the_next_one(rig: Rig) -> None:
    rig.hint("a")
    rig.next()
    rig.hint("a")
    assert rig.next()[1].paths == ("a",)


def test_abandoned_tickets_are_handed_back(rig: Rig) -> None:
    tickets = [rig.scheduler.flush() for _ in range(3)]
    assert rig.scheduler.abandon() == tickets
    assert rig.scheduler.due() is None


def test_whoever_waits_on_the_condition_is_woken_by_every_kind_of_work(rig: Rig) -> None:
    for work in (
        lambda: rig.hint("a"),
        lambda: rig.scheduler.look([1]),
        lambda: rig.scheduler.crawl("audit"),
        lambda: rig.scheduler.flush(),
        lambda: rig.scheduler.retry(1),
    ):
        woken = threading.Event()
        waiting = threading.Event()

        def wait(waiting: threading.Event = waiting, woken: threading.Event = woken) -> None:
            with rig.scheduler.changed:
                waiting.set()
                if rig.scheduler.changed.wait(120):
                    woken.set()

        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(120)
        work()
        thread.join(120)
        assert woken.is_set()


def test_the_constants_are_in_order() -> None:
    assert QUIET < update_scheduler.HELD_STEP <= LARGE_QUIET < BUSY_MOST < CAP < HELD_CAP
