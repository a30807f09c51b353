"""UpdateScheduler: settles bursts of hints into batches, and says when each is due and in which order.

It holds no thread and reads no clock by itself: its owner waits as long as `due` says and calls `take`.

Invariants
    U1  What was hinted before a `flush` is in a batch at once, whatever else it would wait for.
    U2  A path is in one batch at a time; a hint that comes while its batch is worked on is for the next one.
    U3  A path that keeps changing waits longer and longer and holds up nobody else.
    U4  No more than MOST_PATHS wait: beyond that everything is looked at, which costs less and needs no list.
    U5  Nothing is dropped: what cannot be read is tried again, later and later; when that is given up, the
        next hint, crawl or flush begins anew.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Final, Generic, TypeVar

from attrs import define, field, frozen

H = TypeVar("H", bound=Hashable)

AUDIT: Final = "audit"  # the reason of a crawl that has no other: it gives way to any

# Seconds without a new path after which a burst is over; watchfiles waited for a quiet step before.
QUIET = 0.002
LARGE_BURST = 20  # paths in LARGE_QUIET; from here on it is a program that writes, not a person
LARGE_QUIET = 0.050  # seconds, for large bursts: unpacking and checking out pause for some milliseconds
CAP = 3.0  # seconds a burst may last before what there is becomes a batch (ty waits as long)
HELD_CAP = 10.0  # seconds that `.git/index.lock` is respected; an abandoned one must not stop the watch
HELD_STEP = 0.010  # seconds until it is looked at again
BUSY_WINDOW = 0.060  # seconds: a path hinted again so soon after its last batch is written by a program
BUSY_FREE = 3  # batches in a row that a busy path has without a delay
BUSY_MOST = 0.250  # seconds, the longest delay of a busy path
MOST_PATHS = 2_000  # a stat of 2,000 scattered paths takes as long as a crawl of 20,000 files


@define(slots=True)
class _Pending:
    first: float
    due: float  # not before


@define(slots=True)
class _Busy:
    last: float
    times: int


@define(slots=True, eq=False)
class Ticket:
    """Somebody waits for what was hinted before. `wait` returns whether it is done."""

    _done: threading.Event = field(factory=threading.Event)
    differing: int = 0  # inputs that differed in its batch
    error: Exception | None = None

    def finish(self, differing: int = 0, error: Exception | None = None) -> None:
        """Called by the owner of the scheduler."""
        self.differing, self.error = differing, error
        self._done.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Whether it is done, at the latest after some seconds."""
        return self._done.wait(seconds)


@frozen(slots=True)
class Batch(Generic[H]):
    """What is to be looked at now, as one revision.

    paths       most urgent first: what somebody waits for, then what was hinted last
    nodes       inputs to look at that nobody hinted at by path
    crawl       why everything is to be looked at; "" where paths and nodes are enough
    first       when the oldest of its hints came
    """

    paths: tuple[str, ...]
    nodes: tuple[H, ...]
    crawl: str
    tickets: tuple[Ticket, ...]
    first: float


class UpdateScheduler(Generic[H]):
    """Thread safe. `clock` is monotonic seconds; `held` says whether a version control system is at work."""

    def __init__(self, clock: Callable[[], float], held: Callable[[], bool] = lambda: False) -> None:
        self._clock = clock
        self._held = held
        self.changed = threading.Condition()  # something became due earlier
        self._pending: dict[str, _Pending] = {}  # in the order of the latest hint
        self._nodes: dict[H, None] = {}
        self._retries: dict[H, Retry] = {}
        self._crawl = ""
        self._asked = 0.0  # when the crawl or the first of the nodes that wait was asked for; 0: nothing is
        self._tickets: list[Ticket] = []
        self._busy: dict[str, _Busy] = {}
        self._postponed: dict[str, float] = {}  # until when
        self._first = 0.0  # of the burst; 0 when there is none
        self._newest = 0.0  # when a burst last got a path that it did not have
        self._lately: deque[float] = deque(maxlen=LARGE_BURST)  # when the latest paths came, in bursts or not

    # -- what is to be done --------------------------------------------------------------------

    def hint(self, paths: Iterable[str]) -> None:
        """Something may have happened at these paths."""
        with self.changed:
            now = self._clock()
            for path in paths:
                known = self._pending.pop(path, None)  # the latest hint last
                if known is None:
                    known = _Pending(now, max(now + self._delay(path, now), self._postponed.get(path, 0.0)))
                    if known.due <= now:  # a busy path does not keep the burst open (U3)
                        self._first = self._first or now
                        self._newest = now
                        self._lately.append(now)
                self._pending[path] = known
            if len(self._pending) > MOST_PATHS:
                self._want_crawl(f"more than {MOST_PATHS} paths at once")
                self._pending.clear()
            self.changed.notify_all()

    def postpone(self, path: str, seconds: float) -> None:
        """Hints at a path are not followed for so long, unless somebody waits or everything is looked at."""
        with self.changed:
            now = self._clock()
            self._postponed = {one: until for one, until in self._postponed.items() if until > now}
            self._postponed[path] = now + seconds

    def look(self, nodes: Iterable[H]) -> None:
        """These inputs are to be looked at soon."""
        with self.changed:
            self._nodes.update(dict.fromkeys(nodes))
            if self._nodes:
                self._asked = self._asked or self._clock()
                self.changed.notify_all()

    def asked_meanwhile(self) -> tuple[list[H], str]:
        """What `look` and `crawl` asked for up to now, to be looked at by the caller."""
        with self.changed:
            nodes, why = list(self._nodes), self._crawl
            self._nodes, self._crawl, self._asked = {}, "", 0.0
            return nodes, why

    def crawl(self, why: str) -> None:
        """Everything is to be looked at soon."""
        with self.changed:
            self._want_crawl(why)
            self.changed.notify_all()

    def flush(self, crawl: str = "") -> Ticket:
        """Everything hinted up to now is to be looked at now (U1)."""
        ticket = Ticket()
        with self.changed:
            self._tickets.append(ticket)
            if crawl:
                self._want_crawl(crawl)
            self.changed.notify_all()
        return ticket

    def _want_crawl(self, why: str) -> None:
        self._asked = self._asked or self._clock()
        if self._crawl in ("", AUDIT):
            self._crawl = why

    def retry(self, node: H) -> float | None:
        """A node could not be read, or a key not computed. Seconds until the next try; None: given up."""
        with self.changed:
            known = self._retries.setdefault(node, Retry())
            wait = known.next_wait()
            if wait is None:
                del self._retries[node]
                return None
            known.due = self._clock() + wait
            self.changed.notify_all()
            return wait

    def healed(self, nodes: Iterable[H]) -> None:
        """These were read or computed; their next failure is a first one."""
        with self.changed:
            for node in nodes:
                self._retries.pop(node, None)

    # -- when and in which order ---------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many paths and inputs wait."""
        return len(self._pending) + len(self._nodes)

    def is_waited_for(self) -> bool:
        """Whether somebody waits for the next batch."""
        return bool(self._tickets)

    def oldest(self) -> float | None:
        """When the oldest hint that waits came."""
        with self.changed:
            return min((pending.first for pending in self._pending.values()), default=None)

    def due(self) -> float | None:
        """Seconds until there is a batch, 0 for now, None for not foreseen. The condition is held or not."""
        with self.changed:
            if self._tickets:
                return 0.0
            now = self._clock()
            moments = [retry.due for retry in self._retries.values() if retry.due is not None]
            if self._first:
                moments.append(self._burst_ends())
            elif self._crawl or self._nodes:
                moments.append(now)
            # What is due of a burst waits for its end; busy paths come when it is their time.
            moments += [one.due for one in self._pending.values() if one.due > now or not self._first]
            wait = max(0.0, min(moments) - now) if moments else None
            return HELD_STEP if wait is not None and wait < HELD_STEP and self._is_held(now) else wait

    def take(self) -> Batch[H] | None:
        """The batch that is due now, if there is one."""
        with self.changed:
            now = self._clock()
            wait = self.due()
            if wait is None or wait > 0.0:
                return None
            everything = bool(self._tickets or self._crawl)
            burst_is_over = not self._first or self._burst_ends() <= now
            chosen = [
                path
                for path, pending in self._pending.items()
                if everything or (pending.due <= now and burst_is_over)
            ]
            first = min((self._pending[path].first for path in chosen), default=now)
            for path in chosen:
                self._note_busy(path, self._pending.pop(path).first, now)
            if everything or burst_is_over:
                self._first = 0.0
            nodes, self._nodes = self._nodes, {}
            crawl, self._crawl = self._crawl, ""
            self._asked = 0.0
            for node, retry in self._retries.items():
                if retry.due is not None and (retry.due <= now or everything):
                    retry.due = None
                    nodes[node] = None
            tickets, self._tickets = tuple(self._tickets), []
            return Batch(tuple(reversed(chosen)), tuple(nodes), crawl, tickets, first)

    def abandon(self) -> list[Ticket]:
        """The tickets that nobody will work on any more."""
        with self.changed:
            tickets, self._tickets = self._tickets, []
            return tickets

    def _burst_ends(self) -> float:
        # A program that is slow, or told of in pieces, has few paths waiting at any time.
        many = len(self._lately) == LARGE_BURST and self._newest - self._lately[0] <= LARGE_QUIET
        quiet = LARGE_QUIET if many or len(self._pending) >= LARGE_BURST or self._crawl else QUIET
        return min(self._newest + quiet, self._first + CAP)

    def _is_held(self, now: float) -> bool:
        moments = [pending.first for pending in self._pending.values()]
        moments += [moment for moment in (self._first, self._asked) if moment]
        return now - min(moments, default=now) < HELD_CAP and self._held()

    def _delay(self, path: str, now: float) -> float:
        busy = self._busy.get(path)
        if busy is None or now - busy.last > BUSY_WINDOW or busy.times < BUSY_FREE:
            return 0.0
        return float(min(BUSY_MOST, 0.010 * 2 ** (busy.times - BUSY_FREE)))

    def _note_busy(self, path: str, hinted: float, now: float) -> None:
        busy = self._busy.get(path)
        # When it was hinted: its own delay does not count.
        if busy is None or hinted - busy.last > BUSY_WINDOW:
            if len(self._busy) > MOST_PATHS:
                self._busy = {one: kept for one, kept in self._busy.items() if now - kept.last <= BUSY_WINDOW}
            self._busy[path] = _Busy(now, 1)
        else:
            busy.last, busy.times = now, busy.times + 1


class Retry:
    """How often one thing was tried, and when it is tried next."""

    def __init__(self) -> None:
        from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_exponential, wait_random

        self._stop = stop_after_attempt(8)  # some 6 seconds in all: a file server restarts in that time
        self._wait = wait_exponential(multiplier=0.05, max=5.0) + wait_random(0, 0.05)
        self._state = RetryCallState(Retrying(), None, (), {})
        self.due: float | None = None

    def next_wait(self) -> float | None:
        if self._stop(self._state):
            return None
        wait = float(self._wait(self._state))
        self._state.attempt_number += 1
        return wait
