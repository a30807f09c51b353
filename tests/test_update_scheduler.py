"""UpdateScheduler, alone, with a clock that a test moves: bursts, order, busy paths, tries."""

from __future__ import annotations

import random
import threading
from itertools import pairwise

import pytest

from engine.watch import update_scheduler
from engine.watch.update_scheduler import (
    BUSY_FREE,
    BUSY_MOST,
    CAP,
    HELD_CAP,
    LARGE_BURST,
    LARGE_QUIET,
    MOST_PATHS,
    QUIET,
    Batch,
    UpdateScheduler,
)


class Rig:
    """A scheduler, its clock and its repository."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.held = False
        self.scheduler: UpdateScheduler[int] = UpdateScheduler(lambda: self.now, lambda: self.held)

    def hint(self, *paths: str) -> None:
        self.scheduler.hint(paths)

    def after(self, seconds: float) -> Batch[int] | None:
        self.now += seconds
        return self.scheduler.take()

    def next(self) -> tuple[float, Batch[int]]:
        """Wait as the scheduler says until there is a batch: seconds waited, and the batch."""
        began = self.now
        for _ in range(10_000):
            batch = self.scheduler.take()
            if batch is not None:
                return self.now - began, batch
            wait = self.scheduler.due()
            assert wait is not None, "nothing is due"
            self.now += wait + 1e-6
        raise AssertionError("no batch in 10,000 steps")


@pytest.fixture
def rig() -> Rig:
    return Rig()


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


def test_while_git_holds_its_lock_nothing_is_taken(rig: Rig) -> None:
    rig.held = True
    rig.hint("a")
    assert rig.after(2.0) is None
    rig.hint("b")
    assert rig.after(2.0) is None
    rig.held = False
    batch = rig.after(QUIET * 2)
    assert batch is not None
    assert set(batch.paths) == {"a", "b"}


def test_an_abandoned_lock_of_git_is_respected_for_some_seconds_only(rig: Rig) -> None:
    rig.held = True
    rig.hint("a")
    waited, batch = rig.next()
    assert waited == pytest.approx(HELD_CAP, abs=0.1)
    assert batch.paths == ("a",)


def test_a_crawl_waits_for_git_too_but_not_for_ever(rig: Rig) -> None:
    rig.held = True
    rig.scheduler.crawl("audit")
    assert rig.after(1.0) is None
    waited, batch = rig.next()
    assert waited <= HELD_CAP
    assert batch.crawl == "audit"


def test_inputs_without_a_path_wait_for_git_too(rig: Rig) -> None:
    rig.held = True
    rig.scheduler.look([3])
    rig.scheduler.retry(4)
    rig.scheduler.crawl("audit")
    assert rig.after(1.0) is None
    rig.held = False
    batch = rig.after(QUIET)
    assert batch is not None
    assert (batch.nodes, batch.crawl) == ((3, 4), "audit")


def test_who_waits_gets_a_batch_at_once_also_while_git_holds_its_lock(rig: Rig) -> None:
    rig.held = True
    rig.hint("a")
    ticket = rig.scheduler.flush()
    assert rig.scheduler.due() == 0.0
    batch = rig.scheduler.take()
    assert batch is not None
    assert (batch.paths, batch.tickets) == (("a",), (ticket,))
    assert not ticket.wait(0)
    ticket.finish(3)
    assert ticket.wait(0)
    assert ticket.differing == 3


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


def test_the_first_reason_for_a_crawl_is_kept(rig: Rig) -> None:
    rig.scheduler.crawl("overflow")
    rig.scheduler.crawl("audit")
    assert rig.next()[1].crawl == "overflow"
    assert rig.scheduler.due() is None


def test_a_path_that_keeps_changing_waits_longer_and_holds_up_nobody(rig: Rig) -> None:
    waits = []
    for _ in range(12):
        rig.hint("busy")
        waited, batch = rig.next()
        assert batch.paths == ("busy",)
        waits.append(waited)
    assert waits == sorted(waits)
    assert waits[0] <= QUIET * 2
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
    rig.hint("busy")
    assert rig.next()[0] <= QUIET * 2


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
                if rig.scheduler.changed.wait(10):
                    woken.set()

        thread = threading.Thread(target=wait)
        thread.start()
        assert waiting.wait(10)
        work()
        thread.join(10)
        assert woken.is_set()


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_ever_dropped_or_left_waiting(seed: int) -> None:
    chance = random.Random(seed)
    rig = Rig()
    owed: dict[str, float] = {}  # hinted, not in a batch since: when
    nodes: set[int] = set()
    for _ in range(400):
        match chance.randrange(8):
            case 0 | 1 | 2:
                paths = [f"{chance.randrange(6)}" for _ in range(chance.randrange(1, 4))]
                rig.hint(*paths)
                for path in paths:
                    owed.setdefault(path, rig.now)
            case 3:
                node = chance.randrange(5)
                rig.scheduler.look([node])
                nodes.add(node)
            case 4:
                rig.held = not rig.held
            case 5 if chance.random() < 0.2:
                rig.scheduler.flush(chance.choice(["", "asked for"]))
            case _:
                rig.now += chance.choice([0.0005, 0.003, 0.02, 0.3])
        batch = rig.scheduler.take()
        if batch is not None:
            for path in batch.paths:
                assert path in owed, "a path in two batches"
                del owed[path]
            nodes -= set(batch.nodes)
            if batch.crawl:
                assert not owed
                assert not nodes
            if batch.tickets:
                assert not owed, "who waits has everything that was hinted before"
        late = [path for path, since in owed.items() if rig.now - since > HELD_CAP + CAP + BUSY_MOST + 1]
        assert not late
    rig.held = False
    rig.now += HELD_CAP
    while rig.scheduler.due() is not None:
        _, batch = rig.next()
        for path in batch.paths:
            owed.pop(path, None)
        nodes -= set(batch.nodes)
    assert not owed
    assert not nodes


def test_the_constants_are_in_order() -> None:
    assert QUIET < update_scheduler.HELD_STEP <= LARGE_QUIET < BUSY_MOST < CAP < HELD_CAP
