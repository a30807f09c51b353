"""Async consumers and callbacks get what is told, and hold up nobody."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from typing import Any

import pytest

from engine.watch.events import Skipped, Stopped, WatchEvent, Watching
from engine.watch.subscribers import Mailbox, Subscribers
from tests.patience import PATIENCE
from tests.telling import EXAMPLES, skips

# -- async -----------------------------------------------------------------------------------------


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


# -- callbacks -------------------------------------------------------------------------------------


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
        assert done.wait(PATIENCE)
    assert got == list(EXAMPLES)
    assert caplog.text.count("ValueError: a bad day") == len(EXAMPLES)


def test_a_slow_callback_is_told_what_it_missed_and_holds_up_nobody() -> None:
    subscribers = Subscribers()
    got: list[WatchEvent] = []
    busy, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def slow(event: WatchEvent) -> None:
        busy.set()
        assert go_on.wait(PATIENCE)
        got.append(event)
        if isinstance(event, Stopped):
            done.set()

    other = subscribers.subscribe()
    caller = subscribers.call(slow, limit=2)
    subscribers.publish(skips(0)[0])
    assert busy.wait(PATIENCE)
    for event in (*skips(*range(1, 10)), Stopped(3, "")):
        subscribers.publish(event)
    assert len(list(other)) == 11
    go_on.set()
    assert done.wait(PATIENCE)
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
    assert closed.wait(PATIENCE)
    caller.close()
    assert calls == skips(1)
    assert not subscribers._mailboxes
