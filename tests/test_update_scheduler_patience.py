"""What keeps changing, or keeps failing, waits longer each time, and holds up nobody."""

from __future__ import annotations

from itertools import pairwise

import pytest

from engine.watch.update_scheduler import BUSY_FREE, BUSY_MOST, LARGE_QUIET, MOST_PATHS, QUIET
from tests.scheduler_rig import Rig, rig

__all__ = ["rig"]


def test_a_path_that_keeps_changing_waits_longer_and_holds_up_nobody(rig: Rig) -> None:
    waits = []
    for _ in range(12):
        rig.hint("busy")
        waited, batch = rig.next()
        assert batch.paths == ("busy",)
        waits.append(waited)
    assert waits == sorted(waits)
    assert all(wait <= QUIET * 1.1 for wait in waits[:BUSY_FREE])
    assert waits[BUSY_FREE] == pytest.approx(0.010, rel=0.1)
    assert waits[-1] <= BUSY_MOST * 1.1
    rig.hint("busy")
    rig.hint("calm")
    waited, batch = rig.next()
    assert waited <= QUIET * 2
    assert batch.paths == ("calm",)
    assert rig.next()[1].paths == ("busy",)


def test_a_path_that_came_to_rest_is_not_busy_any_more(rig: Rig) -> None:
    for _ in range(12):
        rig.hint("busy")
        rig.next()
    rig.now += 1.0
    for _ in range(BUSY_FREE):
        rig.hint("busy")
        assert rig.next()[0] <= QUIET * 2


def test_a_path_that_is_postponed_comes_later_or_with_a_batch_that_somebody_waits_for(rig: Rig) -> None:
    rig.scheduler.postpone("echo", 5.0)
    rig.hint("echo", "other")
    assert rig.next()[1].paths == ("other",)
    waited, batch = rig.next()
    assert waited == pytest.approx(5.0, abs=0.1)
    assert batch.paths == ("echo",)
    rig.scheduler.postpone("echo", 5.0)
    rig.hint("echo")
    rig.scheduler.flush()
    assert rig.next()[1].paths == ("echo",)


def test_postponed_paths_are_forgotten_when_their_time_is_over(rig: Rig) -> None:
    for number in range(100):
        rig.scheduler.postpone(f"{number}", 1.0)
        rig.now += 1.0
    assert len(rig.scheduler._postponed) == 1


def test_a_file_written_every_five_milliseconds_makes_a_bounded_number_of_batches(rig: Rig) -> None:
    batches = 0
    for _ in range(2_000):  # ten seconds
        rig.hint("busy")
        batches += rig.after(0.005) is not None
        assert rig.scheduler.waiting <= 1
    assert batches <= 10 / BUSY_MOST + 10


def test_busy_paths_are_forgotten(rig: Rig) -> None:
    for number in range(MOST_PATHS * 3):
        rig.hint(f"{number}")
        rig.next()
        rig.now += 0.1
    assert len(rig.scheduler._busy) <= MOST_PATHS + 1


def test_what_fails_is_tried_again_later_and_later_and_then_given_up(rig: Rig) -> None:
    waits = []
    while (wait := rig.scheduler.retry(5)) is not None:
        waits.append(wait)
        assert rig.after(wait * 0.5) is None
        batch = rig.after(wait * 0.6)
        assert batch is not None
        assert batch.nodes == (5,)
    assert len(waits) == 7
    assert waits[0] < 0.2
    assert 2.0 < waits[-1] <= 5.1
    assert all(later > earlier / 2 for earlier, later in pairwise(waits))
    assert rig.scheduler.due() is None


def test_what_failed_waits_for_its_time_and_takes_nothing_of_a_burst_along(rig: Rig) -> None:
    wait = rig.scheduler.retry(5)
    assert wait is not None
    rig.hint("early")
    assert rig.next()[1].nodes == ()
    rig.now += wait - LARGE_QUIET
    rig.hint(*map(str, range(100)))
    rig.now += LARGE_QUIET - QUIET - 1e-4
    rig.hint("late")
    batch = rig.after(1e-3)
    assert batch is not None
    assert (batch.paths, batch.nodes) == ((), (5,))
    assert len(rig.next()[1].paths) == 101


def test_after_giving_up_it_begins_anew(rig: Rig) -> None:
    while rig.scheduler.retry(5) is not None:
        pass
    wait = rig.scheduler.retry(5)
    assert wait is not None
    assert wait < 0.2


def test_what_healed_is_not_tried_again(rig: Rig) -> None:
    rig.scheduler.retry(5)
    rig.scheduler.healed([5, 6])
    assert rig.scheduler.due() is None
    wait = rig.scheduler.retry(5)
    assert wait is not None
    assert wait < 0.2
