"""Watch: the pipeline put together, and the face of it.

    FileWatcher -> UpdateScheduler -> DeltaProcessor -> GraphUpdater -> ProgressTracker

Two threads work besides those of the backend: "engine-watch-inputs" takes batches from the scheduler and
makes revisions of them; "engine-watch-keys" brings what is watched up to date and tells it. So a batch that
arrives during a long refresh is in place at once, and cancels what it makes outdated. A third one, "audits",
looks at tables and folds when nothing happens.

Invariants
    W1  A revision is told after everything watched is right and committed.
    W2  Trouble in one part is told and tried again. The threads of a watch end when it does.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from engine.attempt import finish
from engine.core import Core
from engine.errors import Closed, ForkedEngine, StoreError
from engine.key import Key
from engine.locate import find
from engine.query import QueryInfo
from engine.reader import Valued, whole_of
from engine.subscribe import Subscription, refresh
from engine.tables.table import Table
from engine.watch.backend import Factory
from engine.watch.catch_up import catch_up
from engine.watch.cookies import Cookies
from engine.watch.delta_processor import OWN, DeltaProcessor
from engine.watch.echo import Echo
from engine.watch.event_output import state_after
from engine.watch.events import Revised, RulesChanged, Started, Stopped, Trouble, WatchEvent
from engine.watch.file_watcher import AUDIT_SECONDS, POLL_SECONDS, FileWatcher, boot_clock
from engine.watch.graph_updater import GraphUpdater, text_of
from engine.watch.held import Held
from engine.watch.inputs import Inputs
from engine.watch.kernel import KernelBackend
from engine.watch.keys import Keys
from engine.watch.pipeline import Pipeline
from engine.watch.progress import Progress
from engine.watch.progress_tracker import ProgressTracker
from engine.watch.rule_code import RuleCode
from engine.watch.sampling import CHECK_SECONDS, Sampling
from engine.watch.subscribers import Caller, Mailbox, Subscribers
from engine.watch.update_scheduler import UpdateScheduler

R = TypeVar("R")
JOIN_SECONDS = 0.9  # for a thread to end: an ended watch has to be gone within a second


def kernel(cookies: str, suggest: Any, fail: Any) -> KernelBackend:
    """The backend that listens to the operating system."""
    return KernelBackend(cookies, suggest, fail)


class Watch:
    """A live engine: made by `Engine.watch`, a context manager, an iterator and an async iterator of events.

        with db.watch(report) as watch:
            for event in watch: ...

    It starts when it is entered, or when somebody wants to be told, and ends with `close`. Everything else of
    the engine works meanwhile; `Engine.get` answers from what the watch keeps right.
    """

    def __init__(
        self,
        core: Core,
        keys: Iterable[Key[Any]],
        publish: Callable[[], None],
        *,
        deltas: bool = False,
        audit_seconds: float = AUDIT_SECONDS,
        poll_seconds: float = POLL_SECONDS,
        backend: Factory = kernel,
        threads: int = 1,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._core = core
        self._publish_to_engine = publish
        self._subscribers = Subscribers()
        self._telling = threading.Lock()  # an event, and the state after it, go together
        self._now: Started | None = None  # what a consumer that comes later is told first
        self._cookies = Cookies(core.store.path.parent if core.store is not None and core.saves else None)
        scheduler: UpdateScheduler[Any] = UpdateScheduler(time.monotonic, Held(core.root))
        self.files = FileWatcher(
            core,
            scheduler,
            self._cookies,
            backend,
            self._publish,
            audit_seconds=audit_seconds,
            poll_seconds=poll_seconds,
            clock=boot_clock(),
        )
        tracker = ProgressTracker(running=core.running_names)
        updater = GraphUpdater(core, tracker.record, self.files.places.is_file, OWN)
        updater.watched.update(dict.fromkeys(keys))
        self._asked = set(updater.watched)  # watched whether somebody subscribes to them or not
        self._subscribed: Counter[Key[Any]] = Counter()
        processor = DeltaProcessor(core, threads=threads)
        echo = Echo(self.files.saved_at)
        self._pipeline = Pipeline(
            core, scheduler, self.files, processor, updater, tracker, echo, self._publish, deltas
        )
        self._sampling = Sampling(core, self._publish, tracker, check_seconds)
        self._keys = Keys(self._pipeline, self._sampling.worked)
        self._inputs = Inputs(self._pipeline, self._keys.wake)
        self._threads: list[threading.Thread] = []
        self._callers: weakref.WeakSet[Caller] = weakref.WeakSet()  # each is held by its thread
        self._own: Mailbox | None = None
        self._lock = threading.Lock()

    # -- for the host --------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch. Returns at once; `wait_until_ready` waits for `Started`."""
        if os.getpid() != self._core.pid:  # before the lock: another thread may have held it during fork()
            raise ForkedEngine(opened_by=self._core.pid, this_process=os.getpid())
        with self._lock:
            if self._threads:
                return
            if self._pipeline.ending:
                raise Closed(hint="Begin another watch.")
            self._pipeline.updater.begin()
            self._own = self._subscribers.subscribe()
            bodies = {"inputs": self._inputs.run, "keys": self._keys.run, "audits": self._audit}
            for name, body in bodies.items():
                thread = threading.Thread(
                    target=self._until_over, args=(body,), name=f"engine-watch-{name}", daemon=True
                )
                self._threads.append(thread)
            self._callers.add(self._subscribers.call(self._publish_values))
        for thread in self._threads:
            thread.start()

    def _until_over(self, body: Callable[[], None]) -> None:
        body()
        self.close("the engine was stopped")  # where nobody closed it: a watch with half its threads is none

    def _audit(self) -> None:
        self._sampling.run(self._pipeline)

    def wait_until_ready(self, timeout: float | None = None) -> bool:
        """Whether everything watched is right for the first time; waits up to `timeout` seconds."""
        self.start()
        return self._pipeline.live.wait(timeout)

    def add(self, query: Any) -> None:
        """Watch one more key, or query without arguments."""
        key = whole_of(query)
        with self._lock:
            self._asked.add(key)
            self._pipeline.updater.watched[key] = None
        self._keys.wake()

    def look_again(self, keys: Iterable[tuple[QueryInfo, tuple[Any, ...]]]) -> None:
        """Inputs were given back to the world. What happened to them while they were set was looked at by
        nobody, and what was read for them may be old by now."""
        with self._core.lock:
            nodes = [node for info, args in keys if (node := find(self._core, info, args))]
        if nodes:
            self._pipeline.scheduler.look(nodes)

    def nudge(self) -> None:
        """The host changed an input: what is watched is brought up to date, and told."""
        self._keys.wake()

    def follow_rules(self, others: Iterable[str] = ()) -> RuleCode:
        """Tell `RulesChanged` when a file changes that the queries were loaded from, or one of `others`."""
        rules = RuleCode(others)
        self._inputs.steps.append(rules.follow(lambda paths: self._publish(RulesChanged(paths))))
        return rules

    def tell(self, event: WatchEvent) -> None:
        """Tell everybody an event of the host's own."""
        self._publish(event)

    def remove(self, query: Any) -> None:
        """Watch a key, or query without arguments, no longer, unless a subscriber does. Its memo stays."""
        key = whole_of(query)
        with self._lock:
            self._asked.discard(key)
            if not self._subscribed[key]:
                self._pipeline.updater.watched.pop(key, None)

    def events(self, *, start: bool = True) -> Mailbox:
        """The events from now on, for one more consumer; a `Started` with the state of now comes first. The
        watch begins, unless the caller has more to do before that: `start=False`."""
        if start:
            self.start()
        with self._telling:
            return self._subscribers.subscribe(first=[self._now] if self._now else [])

    @overload
    def subscribe(self, key: Valued[R], callback: Callable[[R], object], /) -> Caller: ...
    @overload
    def subscribe(self, table: Table[Any, Any], callback: Callable[[str], object], /) -> Caller: ...
    def subscribe(self, query: Any, callback: Callable[[Any], object], /) -> Caller:
        """Call back, in a thread of its own, with the value of a key or query without arguments whenever it
        changed. The key is watched until this is closed. A failing query is told as its exception."""
        key = whole_of(query)
        subscription = Subscription([], key, callback)
        self.start()
        refresh(self._core, subscription, tell=False)
        with self._lock:
            self._subscribed[key] += 1
            self._pipeline.updater.watched[key] = None
        self._keys.wake()

        def look(event: WatchEvent) -> None:
            if not isinstance(event, Stopped):
                self._calling(lambda: refresh(self._core, subscription))

        def leave() -> None:
            with self._lock:
                self._subscribed[key] -= 1
                if not self._subscribed[key]:
                    del self._subscribed[key]
                    if key not in self._asked:
                        self._pipeline.updater.watched.pop(key, None)

        caller = self._subscribers.call(look, leave=leave)
        with self._lock:
            self._callers.add(caller)
        return caller

    def sync(self, *, crawl: bool = False) -> int:
        """Return when everything saved before this call is in place; how many inputs differed in that batch.

        A cookie goes through the kernel's queue (some 15 ms); with `crawl`, or where the cookie is lost,
        every observed input is looked at, which also finds what the kernel never tells (writes through a
        memory map). Raises `RootGone`, `Closed`.
        """
        self.start()
        return catch_up(self._pipeline, self._cookies, crawl=crawl)

    def progress(self) -> Progress:
        """Figures of now."""
        self._tell_figures()
        return self._pipeline.tracker.snapshot()

    @property
    def watched(self) -> tuple[Key[Any], ...]:
        """The keys that are kept right."""
        return tuple(self._pipeline.updater.watched)

    @property
    def failing(self) -> dict[Key[Any], str]:
        """The watched keys whose value was an error in the event told last, and what it says."""
        return dict(self._pipeline.updater.failing)

    @property
    def active(self) -> bool:
        """Whether it was started and has not ended."""
        return bool(self._threads) and not self._pipeline.ending

    @property
    def ended(self) -> str:
        """Why the watch ended; "" while it has not."""
        return self._pipeline.ending

    def close(self, reason: str = "closed") -> None:
        """End: nothing is watched any more, what was computed is committed. Within about a second."""
        if os.getpid() != self._core.pid:
            return  # a forked child: threads, cookies and store are its parent's
        with self._lock:
            if self._pipeline.ending:
                return
            self._pipeline.end(reason)
        self.files.close()
        self._keys.wake()
        self._core.outdate()
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join(JOIN_SECONDS)
        self._pipeline.processor.close()
        self._cookies.close()
        if not self._core.closed:
            self._commit()
        self._core.telling.journal = None
        for ticket in self._pipeline.scheduler.abandon():
            ticket.finish(error=Closed())
        self._publish(Stopped(self._core.revision, reason))
        with self._lock:
            callers = list(self._callers)
        for caller in callers:
            caller.close()
        self._pipeline.live.set()

    def _commit(self) -> None:
        """Revisions that nobody refreshed for yet. A store that is gone is told, and ends nothing."""
        core = self._core
        try:
            with core.lock:
                finish(core)
        except StoreError as error:
            place = "" if core.store is None else str(core.store.path)
            self._publish(Trouble(place, text_of(error), error.hint))

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Mailbox:
        self.start()
        assert self._own is not None
        return self._own

    __aiter__ = __iter__

    # -- telling -------------------------------------------------------------------------------

    def _publish(self, event: WatchEvent) -> None:
        with self._telling:
            self._now = state_after(self._now, event)
            self._subscribers.publish(event)

    def _publish_values(self, event: WatchEvent) -> None:
        if isinstance(event, Revised | Started):
            self._calling(self._publish_to_engine)

    def _calling(self, callbacks: Callable[[], None]) -> None:
        """Run callbacks; what they write meanwhile may be an echo."""
        began = time.time()
        try:
            callbacks()
        finally:
            self._pipeline.echo.worked(began, time.time())

    def _tell_figures(self) -> None:
        pipeline = self._pipeline
        pipeline.tracker.state(self.files.state)
        if self.files.last_event:
            pipeline.tracker.event_seen(time.time() - self.files.since_last_event())
        oldest = pipeline.scheduler.oldest()
        hinted = None if oldest is None else time.time() - (time.monotonic() - oldest)
        since = min((at for at in (hinted, self._keys.oldest()) if at is not None), default=None)
        pipeline.tracker.pending(pipeline.scheduler.waiting, self._keys.pending(), since)
