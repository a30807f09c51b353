"""Subscribers: everybody who wants the events of a watch, each with a mailbox of its own.

Invariants
    S1  Telling never waits: a consumer that is slow, stopped or gone costs the others nothing.
    S2  A mailbox is bounded, in events and in what they name. When it is full its oldest events go, and the
        consumer next gets one `Skipped` in their place; all others come in order, each to one taker.
    S3  After `Stopped` there is nothing: iteration ends. Who subscribes later gets that `Stopped` at once.
    S4  A mailbox that nobody holds any more is forgotten.
    S5  An async consumer that is cancelled loses no event: one is taken only by who returns with it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from engine.errors import ForkedEngine
from engine.watch.events import Revised, Skipped, Stopped, WatchEvent

if TYPE_CHECKING:
    import asyncio

LIMIT: Final = 1_000  # events in a mailbox: a second of the busiest watch, an hour of a usual one
KEYS: Final = 50_000  # that several events in a mailbox name: 20 MB; switching branches may change 10,000
JOIN_SECONDS: Final = 1.0  # a callback that takes longer is left to end by itself

# A loop holds its tasks weakly. A task that waits here is held by its mailbox, and the mailbox by this.
_AWAITED: Final[set[Mailbox]] = set()


class Mailbox:
    """The events of a watch for one consumer: an iterator, an async iterator, and `get` with a timeout.

    Iteration waits for the next event, and ends after `Stopped` or when the mailbox is closed. Usable
    from any thread and any running loop, also from several at once: each event comes to one of them.
    Leaving a loop early is fine: close the mailbox, or drop it.
    """

    def __init__(self, limit: int = LIMIT, left: Callable[[Mailbox], None] | None = None) -> None:
        if limit < 1:
            raise ValueError("a mailbox holds at least one event")
        self._limit = limit
        self._left = left
        # Reentrant: a signal handler or a finalizer may close the mailbox of the thread it interrupts.
        self._changed = threading.Condition(threading.RLock())
        self._events: deque[WatchEvent] = deque()
        self._keys = 0  # that these name
        self._dropped = 0  # events that were lost since the last one was taken
        self._revision = 0  # of the last event that was taken or dropped
        self._open = True  # whether more can come
        self._waiters: list[asyncio.Future[None]] = []
        self._process = os.getpid()

    # -- for the consumer ------------------------------------------------------------------------

    def get(self, timeout: float | None = None) -> WatchEvent | None:
        """The next event; None when there are no more. TimeoutError: none came within `timeout` seconds."""
        self._check_process()
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                event = self._take()
                if event is not None or not self._open:
                    return event
                rest = None if deadline is None else deadline - time.monotonic()
                if rest is not None and rest <= 0:
                    raise TimeoutError("no event")
                self._changed.wait(rest)

    def __iter__(self) -> Mailbox:
        return self

    def __next__(self) -> WatchEvent:
        event = self.get()
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> Mailbox:
        return self

    async def __anext__(self) -> WatchEvent:
        import asyncio

        self._check_process()
        loop = asyncio.get_running_loop()
        while True:
            with self._changed:
                event = self._take()
                if event is not None:
                    return event
                if not self._open:
                    raise StopAsyncIteration
                waiter = loop.create_future()
                self._waiters.append(waiter)
                _AWAITED.add(self)
            try:
                await waiter
            finally:
                with self._changed:
                    self._forget(waiter)

    def waiting(self) -> int:
        """How many events can be taken without waiting."""
        with self._changed:
            return len(self._events) + (self._dropped > 0)

    def close(self) -> None:
        """No more events, also not those that are here. Everybody who waits comes back."""
        self._end(keep=False)

    def finish(self) -> None:
        """No more events; those that are here can still be taken."""
        self._end(keep=True)

    def __enter__(self) -> Mailbox:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- for who tells ---------------------------------------------------------------------------

    def put(self, event: WatchEvent) -> None:
        """Add an event. Never waits for the consumer; nothing happens if the mailbox is closed."""
        with self._changed:
            if not self._open:
                return
            self._events.append(event)
            self._keys += _keys_in(event)
            while len(self._events) > self._limit or (self._keys > KEYS and len(self._events) > 1):
                self._drop(self._next())
            self._open = not isinstance(event, Stopped)
            waiters = self._all_wake()
        _wake(waiters)

    # -- how; all of it under the lock -----------------------------------------------------------

    def _take(self) -> WatchEvent | None:
        if self._dropped:
            lost, self._dropped = self._dropped, 0
            return Skipped(events=lost, revision=self._revision)
        if not self._events:
            return None
        event = self._next()
        self._revision = getattr(event, "revision", self._revision)
        return event

    def _next(self) -> WatchEvent:
        event = self._events.popleft()
        self._keys -= _keys_in(event)
        return event

    def _drop(self, event: WatchEvent) -> None:
        self._dropped += event.events if isinstance(event, Skipped) else 1
        self._revision = getattr(event, "revision", self._revision)

    def _end(self, *, keep: bool) -> None:
        if os.getpid() != self._process:
            return  # the lock may be held for ever by a thread that this process does not have
        with self._changed:
            self._open = False
            if not keep:
                self._events.clear()
                self._keys = self._dropped = 0
            waiters = self._all_wake()
        _wake(waiters)
        if self._left is not None:
            self._left(self)

    def _all_wake(self) -> list[asyncio.Future[None]]:
        self._changed.notify_all()
        waiters, self._waiters = self._waiters, []
        _AWAITED.discard(self)
        return waiters

    def _forget(self, waiter: asyncio.Future[None]) -> None:
        self._waiters = [one for one in self._waiters if one is not waiter]
        if not self._waiters:
            _AWAITED.discard(self)

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise ForkedEngine(hint="Events come to the process that watches: subscribe there.")


def _keys_in(event: WatchEvent) -> int:
    return len(event.inputs) + len(event.changed) if isinstance(event, Revised) else 0


def _wake(waiters: Iterable[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        try:
            waiter.get_loop().call_soon_threadsafe(_set, waiter)
        except RuntimeError:
            continue  # its loop is closed: nobody waits there any more


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():  # it may have been cancelled on the way
        waiter.set_result(None)


class Caller:
    """A callback that gets every event, in a daemon thread of its own.

    What it raises is logged by the logger "engine", and the next event comes. If it is slow it misses
    events, and is told so by a `Skipped`.
    """

    def __init__(
        self, mailbox: Mailbox, callback: Callable[[WatchEvent], object], leave: Callable[[], None] | None
    ) -> None:
        self._mailbox = mailbox
        self._callback = callback
        self._leave = leave
        self._thread = threading.Thread(target=self._run, name="engine-watch-caller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No further calls. Waits for one that runs, at most a second, and not inside of it."""
        self._mailbox.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=JOIN_SECONDS)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            with self._mailbox:
                for event in self._mailbox:
                    try:
                        self._callback(event)
                    except KeyboardInterrupt:  # no signal comes here: the engine was asked to stop
                        return
                    except Exception:  # of the host: the next event is told all the same
                        logging.getLogger("engine").exception("a callback failed on %s", type(event).__name__)
        finally:  # the callback may end this thread, by SystemExit
            if self._leave is not None:
                self._leave()


class Subscribers:
    """All mailboxes of one watch."""

    def __init__(self) -> None:
        # Order of locks: this one, then that of a mailbox. It keeps the order of events the same in all.
        self._lock = threading.RLock()
        self._mailboxes: weakref.WeakSet[Mailbox] = weakref.WeakSet()
        self._stopped: Stopped | None = None

    def publish(self, event: WatchEvent) -> None:
        """Tell everybody. From any thread; never waits for a consumer."""
        with self._lock:
            if self._stopped is not None:
                return
            if isinstance(event, Stopped):
                self._stopped = event
            for mailbox in list(self._mailboxes):  # a finalizer may leave amid the loop
                mailbox.put(event)
            if self._stopped is not None:
                self._mailboxes.clear()

    def subscribe(self, limit: int = LIMIT, first: Iterable[WatchEvent] = ()) -> Mailbox:
        """A mailbox for the events from now on, with the events `first` in it already.

        The caller holds it: `close` or the last reference to it ends the subscription.
        """
        mailbox = Mailbox(limit, self._leave)
        with self._lock:
            for event in (*first, *([self._stopped] if self._stopped else ())):
                mailbox.put(event)
            if self._stopped is None:
                self._mailboxes.add(mailbox)
        return mailbox

    def call(
        self,
        callback: Callable[[WatchEvent], object],
        limit: int = LIMIT,
        leave: Callable[[], None] | None = None,
    ) -> Caller:
        """Call back with every event from now on, until it is closed or the watch stops; then `leave`."""
        return Caller(self.subscribe(limit), callback, leave)

    def _leave(self, mailbox: Mailbox) -> None:
        with self._lock:
            self._mailboxes.discard(mailbox)
