"""Telling consumers in the same process, and events as JSON lines."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
import subprocess
import sys
import threading
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadEvent
from engine.watch.events import (
    Figures,
    Revised,
    Skipped,
    Stopped,
    Trouble,
    WatchEvent,
    Watching,
)
from engine.watch.events_json import NAMES, from_json, to_json
from engine.watch.subscribers import Mailbox, Subscribers
from tests.telling import (
    CHECKOUT,
    EXAMPLES,
    HOSTILE,
    REVISED,
    SOON,
    STARTED,
    revision_of,
    skips,
    with_rounded_times,
    with_texts,
)

# -- mailboxes --------------------------------------------------------------------------------------


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
    assert subscribers.count() == 0


def test_a_closed_mailbox_ends_at_once_and_a_finished_one_after_what_it_has() -> None:
    subscribers = Subscribers()
    closed, finished = subscribers.subscribe(), subscribers.subscribe()
    subscribers.publish(skips(1)[0])
    closed.close()
    finished.finish()
    subscribers.publish(skips(2)[0])
    assert list(closed) == []
    assert list(finished) == skips(1)
    assert subscribers.count() == 0


def test_a_mailbox_that_nobody_holds_is_forgotten() -> None:
    subscribers = Subscribers()
    for _ in subscribers.subscribe(first=skips(1)):
        break
    gc.collect()
    assert subscribers.count() == 0


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
        thread.join(SOON)
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
        thread.join(SOON)
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
        thread.join(SOON)
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
        timeout=SOON,
        check=True,
    )
    assert answer.stdout == "7\n"


# -- async ------------------------------------------------------------------------------------------


def test_async_iteration_gets_what_other_threads_tell_and_ends() -> None:
    subscribers = Subscribers()

    async def consume(mailbox: Mailbox) -> list[WatchEvent]:
        return [event async for event in mailbox]

    async def main() -> list[list[WatchEvent]]:
        tasks = [asyncio.create_task(consume(subscribers.subscribe())) for _ in range(3)]
        await asyncio.sleep(0)
        for event in EXAMPLES:
            await asyncio.to_thread(subscribers.publish, event)
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [list(EXAMPLES)] * 3


def test_an_async_consumer_that_is_cancelled_loses_nothing() -> None:
    mailbox = Mailbox()

    async def main() -> list[WatchEvent]:
        got: list[WatchEvent] = []
        for number in range(50):
            task = asyncio.ensure_future(anext(mailbox))
            await asyncio.sleep(0)
            mailbox.put(skips(number)[0])
            if number % 3:
                await asyncio.sleep(0)  # the wake-up is on its way, or has come
            task.cancel()
            got += [
                one for one in await asyncio.gather(task, return_exceptions=True) if isinstance(one, Watching)
            ]
        mailbox.finish()
        return [*got, *[event async for event in mailbox]]

    assert asyncio.run(main()) == skips(*range(50))
    assert mailbox._waiters == []


def test_an_async_consumer_does_not_stop_its_loop() -> None:
    mailbox = Mailbox()

    async def main() -> int:
        task = asyncio.ensure_future(anext(mailbox))
        turns = 0
        for _ in range(100):
            await asyncio.sleep(0)
            turns += 1
        mailbox.close()
        with pytest.raises(StopAsyncIteration):
            await task
        return turns

    assert asyncio.run(main()) == 100


def test_a_loop_that_was_closed_amid_a_wait_disturbs_nobody() -> None:
    subscribers = Subscribers()
    mailbox, other = subscribers.subscribe(), subscribers.subscribe()
    loop = asyncio.new_event_loop()
    waiting: Any = mailbox.__anext__()

    async def wait() -> None:
        await waiting

    task = loop.create_task(wait())
    loop.run_until_complete(asyncio.sleep(0))
    task.cancel()  # never delivered: the loop does not run again
    loop.close()
    subscribers.publish(Stopped(1, ""))
    assert list(other) == [Stopped(1, "")]
    assert mailbox.get(0) == Stopped(1, "")
    waiting.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio cannot know that it is meant


def test_a_task_that_nobody_holds_still_gets_its_events() -> None:
    subscribers = Subscribers()
    got: list[WatchEvent] = []

    async def consume() -> None:
        got.extend([event async for event in subscribers.subscribe()])

    async def main() -> None:
        asyncio.create_task(consume())  # noqa: RUF006 -- that is the point
        await asyncio.sleep(0)
        gc.collect()
        subscribers.publish(Stopped(1, ""))
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert got == [Stopped(1, "")]


# -- callbacks --------------------------------------------------------------------------------------


def test_a_callback_gets_every_event_and_its_exceptions_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    subscribers = Subscribers()
    got: list[WatchEvent] = []
    done = threading.Event()

    def callback(event: WatchEvent) -> None:
        got.append(event)
        if isinstance(event, Stopped):
            done.set()
        raise ValueError("a bad day")

    with caplog.at_level(logging.ERROR, "engine"), subscribers.call(callback):
        for event in EXAMPLES:
            subscribers.publish(event)
        assert done.wait(SOON)
    assert got == list(EXAMPLES)
    assert caplog.text.count("ValueError: a bad day") == len(EXAMPLES)


def test_a_slow_callback_is_told_what_it_missed_and_holds_up_nobody() -> None:
    subscribers = Subscribers()
    got: list[WatchEvent] = []
    busy, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def slow(event: WatchEvent) -> None:
        busy.set()
        assert go_on.wait(SOON)
        got.append(event)
        if isinstance(event, Stopped):
            done.set()

    other = subscribers.subscribe()
    caller = subscribers.call(slow, limit=2)
    subscribers.publish(skips(0)[0])
    assert busy.wait(SOON)
    for event in (*skips(*range(1, 10)), Stopped(3, "")):
        subscribers.publish(event)
    assert len(list(other)) == 11
    go_on.set()
    assert done.wait(SOON)
    caller.close()
    assert got == [*skips(0), Skipped(8, 0), *skips(9), Stopped(3, "")]


def test_a_callback_may_close_its_own_caller() -> None:
    subscribers = Subscribers()
    calls: list[WatchEvent] = []
    closed = threading.Event()

    def callback(event: WatchEvent) -> None:
        calls.append(event)
        caller.close()
        closed.set()

    caller = subscribers.call(callback)
    for event in skips(1, 2):
        subscribers.publish(event)
    assert closed.wait(SOON)
    caller.close()
    assert calls == skips(1)
    assert subscribers.count() == 0


# -- JSON lines -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("event", "line"), EXAMPLES.items(), ids=lambda one: type(one).__name__)
def test_the_json_of_an_event_is_a_promise(event: WatchEvent, line: str) -> None:
    assert to_json(event) == line


def test_every_kind_of_event_has_its_promise_and_is_in_the_documentation() -> None:
    assert {type(event) for event in EXAMPLES} == set(NAMES.values())
    page = (CHECKOUT / "docs" / "events.md").read_text(encoding="utf-8")
    for line in EXAMPLES.values():
        assert f"\n{line}\n" in page


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda one: type(one).__name__)
def test_an_event_comes_back_from_its_line_whatever_its_texts_are(event: WatchEvent) -> None:
    hostile = with_texts(event, HOSTILE)
    line = to_json(hostile)
    assert line.isascii()
    assert line.isprintable()
    assert from_json(line) == with_rounded_times(hostile)
    assert to_json(from_json(line.encode())) == line


@given(
    st.text(st.characters(exclude_categories=())).filter(lambda text: not re.search("[\ud800-\udbff]", text))
)
def test_any_text_comes_back(text: str) -> None:
    event = Trouble(text, text, text)
    line = to_json(event)
    assert line.isascii()
    assert line.isprintable()
    assert from_json(line) == event


def test_a_clock_that_failed_is_written_as_unknown() -> None:
    figures = Figures(latency=float("nan"), applied=float("inf"))
    event = from_json(to_json(attrs.evolve(REVISED, figures=figures)))
    assert isinstance(event, Revised)
    assert (event.figures.latency, event.figures.applied) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("", "Expecting value"),
        ("[1]", "not an object"),
        ("{}", "its schema is None"),
        ('{"event": "stopped", "revision": 1, "reason": "", "schema": 2}', "its schema is 2, and 1 is known"),
        ('{"event": "stopped", "revision": 1, "reason": "", "schema": true}', "its schema is True"),
        ('{"event": "exploded", "schema": 1}', "no event is called 'exploded'"),
        ('{"event": ["stopped"], "schema": 1}', "no event is called"),
        ('{"event": "stopped", "schema": 1, "revision": 1}', "missing required field `reason`"),
        ('{"event": "stopped", "schema": 1, "revision": "1", "reason": ""}', "Expected `int`"),
        ('{"event": "skipped", "schema": 1, "revision": NaN, "events": 1}', "NaN is not JSON"),
        ("[" * 200_000, "recursion" if sys.version_info < (3, 14) else "Stack overflow"),
        (b"\xff\xfe\xfd", "decode"),
    ],
)
def test_what_is_not_an_event_is_refused_with_its_cause(line: str | bytes, cause: str) -> None:
    with pytest.raises(BadEvent, match=re.escape(cause)):
        from_json(line)


def test_fields_that_a_newer_engine_added_are_left_alone() -> None:
    line = json.dumps({**json.loads(EXAMPLES[STARTED]), "colour": {"red": 1}})
    assert from_json(line) == with_rounded_times(STARTED)
