"""A mailbox gives every event in order, or says how many it dropped."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest

from engine.watch.events import Changed, Figures, Revised, Skipped, Stopped, WatchEvent, Watching
from engine.watch.subscribers import KEYS, Mailbox, Subscribers
from tests.patience import PATIENCE
from tests.telling import CHECKOUT, EXAMPLES, revision_of, skips


def test_every_mailbox_gets_all_events_in_order() -> None:
    subscribers = Subscribers()
    mailboxes = [subscribers.subscribe() for _ in range(3)]
    for event in EXAMPLES:
        subscribers.publish(event)
    assert [list(mailbox) for mailbox in mailboxes] == [list(EXAMPLES)] * 3


def test_a_full_mailbox_drops_the_oldest_and_says_how_many() -> None:
    mailbox = Mailbox(limit=2)
    for number in range(1, 6):
        mailbox.put(Revised(number, number - 1, (), (), 0, (), (), Figures()))
    first = mailbox.get()
    assert first == Skipped(events=3, revision=3)
    assert [one.revision for one in (mailbox.get(), mailbox.get()) if isinstance(one, Revised)] == [4, 5]
    mailbox.put(Stopped(5, ""))
    assert list(mailbox) == [Stopped(5, "")]


def test_a_mailbox_is_also_full_when_its_events_name_too_many_keys() -> None:
    keys = tuple(Changed(f"key {number}", "query", "", "", "") for number in range(KEYS // 4))
    mailbox = Mailbox()
    for number in range(1, 10):
        mailbox.put(Revised(number, number - 1, keys, keys, 0, (), (), Figures()))
        mailbox.put(skips(1)[0])
    assert mailbox.get() == Skipped(events=13, revision=7)
    left = [mailbox.get() for _ in range(5)]
    assert [one.revision for one in left if isinstance(one, Revised)] == [8, 9]
    mailbox.put(Revised(10, 9, 5 * keys, (), 0, (), (), Figures()))
    assert isinstance(mailbox.get(), Revised), "one event may name more"


def test_the_revision_of_a_skipped_is_known_also_when_events_without_one_were_dropped() -> None:
    mailbox = Mailbox(limit=1)
    mailbox.put(revision_of(3))
    for event in skips(1, 2):
        mailbox.put(event)
    assert mailbox.get() == Skipped(events=2, revision=3)
    assert mailbox.get() == skips(2)[0]


def test_a_skipped_that_is_dropped_counts_for_what_it_stands_for() -> None:
    mailbox = Mailbox(limit=1)
    mailbox.put(Skipped(events=10, revision=4))
    mailbox.put(skips(1)[0])
    assert mailbox.get() == Skipped(events=10, revision=4)


def test_the_end_is_told_even_to_a_full_mailbox() -> None:
    mailbox = Mailbox(limit=1)
    for event in (*skips(1, 2), Stopped(2, "")):
        mailbox.put(event)
    assert list(mailbox) == [Skipped(2, 0), Stopped(2, "")]
    mailbox.put(skips(3)[0])
    assert list(mailbox) == []


def test_who_subscribes_after_the_end_is_told_so() -> None:
    subscribers = Subscribers()
    subscribers.publish(Stopped(2, "over"))
    assert list(subscribers.subscribe(first=skips(1))) == [*skips(1), Stopped(2, "over")]
    assert not subscribers._mailboxes


def test_a_closed_mailbox_ends_at_once_and_a_finished_one_after_what_it_has() -> None:
    subscribers = Subscribers()
    closed, finished = subscribers.subscribe(), subscribers.subscribe()
    subscribers.publish(skips(1)[0])
    closed.close()
    finished.finish()
    subscribers.publish(skips(2)[0])
    assert list(closed) == []
    assert list(finished) == skips(1)
    assert not subscribers._mailboxes


def test_a_mailbox_that_nobody_holds_is_forgotten() -> None:
    subscribers = Subscribers()
    for _ in subscribers.subscribe(first=skips(1)):
        break
    gc.collect()
    assert not subscribers._mailboxes


def test_get_gives_up_after_its_timeout_and_says_when_it_is_over() -> None:
    mailbox = Mailbox()
    with pytest.raises(TimeoutError):
        mailbox.get(0.01)
    mailbox.close()
    assert mailbox.get(0.01) is None


def test_a_waiting_thread_comes_back_when_the_mailbox_is_closed() -> None:
    mailbox = Mailbox()
    got: list[WatchEvent | None] = []
    threads = [threading.Thread(target=lambda: got.append(mailbox.get())) for _ in range(2)]
    for thread in threads:
        thread.start()
    mailbox.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert got == [None, None]


def test_each_event_comes_to_one_of_two_threads_and_both_end() -> None:
    mailbox = Mailbox(limit=10_000)
    got: list[list[WatchEvent]] = [[], []]
    threads = [threading.Thread(target=lambda mine=mine: mine.extend(mailbox)) for mine in got]
    for thread in threads:
        thread.start()
    for event in (*skips(*range(2_000)), Stopped(1, "")):
        mailbox.put(event)
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(map(str, [*got[0], *got[1]])) == sorted(map(str, [*skips(*range(2_000)), Stopped(1, "")]))
    for mine in got:
        numbers = [int(event.reason) for event in mine if isinstance(event, Watching)]
        assert numbers == sorted(numbers)


def test_publishers_in_many_threads_are_seen_in_one_order_by_all() -> None:
    subscribers = Subscribers()
    mailboxes = [subscribers.subscribe(limit=10_000) for _ in range(2)]

    def publish(who: int) -> None:
        for event in skips(*range(who * 1000, who * 1000 + 500)):
            subscribers.publish(event)

    threads = [threading.Thread(target=publish, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    subscribers.publish(Stopped(0, ""))
    first, second = (list(mailbox) for mailbox in mailboxes)
    assert first == second
    assert len(first) == 2_001


def test_a_forked_process_is_told_that_events_come_elsewhere() -> None:
    program = """
import os
from engine.errors import ForkedEngine
from engine.watch.subscribers import Subscribers
subscribers = Subscribers()
mailbox = subscribers.subscribe()
mailbox._changed.acquire()  # as another thread may, at the moment of the fork
child = os.fork()
if child == 0:
    try:
        mailbox.get()
    except ForkedEngine:
        mailbox.close()
        os._exit(7)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert answer.stdout == "7\n"
