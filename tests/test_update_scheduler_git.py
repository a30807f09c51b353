"""While git holds its lock nothing is taken, for some seconds; who waits gets a batch at once."""

from __future__ import annotations

import pytest

from engine.watch.update_scheduler import HELD_CAP, QUIET
from tests.scheduler_rig import Rig, rig

__all__ = ["rig"]


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


@pytest.mark.parametrize("what", ["hint", "look", "crawl"])
def test_what_comes_meanwhile_makes_nothing_wait_longer_for_git(rig: Rig, what: str) -> None:
    rig.held = True
    began = rig.now
    batch = None
    while batch is None:
        match what:
            case "hint":
                rig.hint(f"{rig.now}")
            case "look":
                rig.scheduler.look([3])
            case _:
                rig.scheduler.crawl("audit")
        batch = rig.after(1.0)
        assert rig.now - began <= HELD_CAP + 1.0
    assert rig.now - began >= HELD_CAP


@pytest.mark.parametrize("taken", ["as a batch", "meanwhile"])
def test_the_next_burst_waits_for_git_as_long_as_the_one_before(rig: Rig, taken: str) -> None:
    rig.scheduler.look([3])
    if taken == "meanwhile":
        rig.scheduler.asked_meanwhile()
    else:
        rig.next()
    rig.now += HELD_CAP
    rig.held = True
    rig.hint("a")
    assert rig.after(1.0) is None


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
