"""Watch: the pipeline put together, and the face of it.

    FileWatcher -> UpdateScheduler -> DeltaProcessor -> GraphUpdater -> ProgressTracker

Two threads work besides those of the backend: "engine-watch-inputs" takes batches from the scheduler and makes
revisions of them; "engine-watch-keys" brings what is watched up to date and tells it. So a batch that arrives
during a long refresh is in place at once, and cancels what it makes outdated.

Invariants
    W1  A revision is told after everything watched is right and committed.
    W2  `sync` returns after everything saved before it is in place; it waits for no watched key.
    W3  Trouble in one part is told and tried again. The threads of a watch end when it does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from attrs import evolve

from engine.attempt import Gate, insist
from engine.core import Core
from engine.errors import BadSettings, Closed, EngineError, RootGone, escaped
from engine.key import Key
from engine.look import Looked, load_observed, take
from engine.query import info_of
from engine.subscribe import Subscription, refresh
from engine.watch.backend import Factory
from engine.watch.cookies import Cookies
from engine.watch.delta_processor import OWN, DeltaProcessor, Edited
from engine.watch.events import Figures, Revised, RulesChanged, Started, Stopped, Trouble, WatchEvent
from engine.watch.file_watcher import AUDIT_SECONDS, POLL_SECONDS, FileWatcher
from engine.watch.graph_updater import GraphUpdater, Pass, text_of
from engine.watch.held import Held
from engine.watch.kernel import KernelBackend
from engine.watch.progress import Progress
from engine.watch.progress_tracker import ProgressTracker
from engine.watch.rule_code import RuleCode
from engine.watch.subscribers import Caller, Mailbox, Subscribers
from engine.watch.update_scheduler import Batch, UpdateScheduler

STEP_SECONDS = 0.25  # between two looks after the watch itself, when nothing is due
COOKIE_SECONDS = 1.0  # a cookie later than this is lost: everything is looked at instead (watchman waits 60 s)
JOIN_SECONDS = 0.9  # for a thread to end: an ended watch has to be gone within a second
HURRY_SECONDS = 0.015  # that a `sync` waits for a refresh which was cancelled too often; then it cancels it again
LEARNED_AT_ONCE = 16  # files: some 50 ms, the longest that learning makes an update wait
RECENT_SECONDS = 10.0  # a file's own time counts as the moment it was saved if it lies this close to its event

log = logging.getLogger("engine.watch")


def kernel(cookies: str, suggest: Any, fail: Any) -> KernelBackend:
    """The backend that listens to the operating system."""
    return KernelBackend(cookies, suggest, fail)


class Watch:
    """A live engine: made by `Engine.watch`, a context manager, an iterator and an async iterator of events.

        with db.watch(report) as watch:
            for event in watch: ...

    It starts when it is entered or iterated, and ends with `close`. Everything else of the engine works
    meanwhile; `Engine.get` answers from what the watch keeps right.
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
        threads: int | None = None,
    ) -> None:
        if audit_seconds <= 0 or poll_seconds <= 0:
            raise BadSettings(audit_seconds=audit_seconds, poll_seconds=poll_seconds, hint="Both are above 0.")
        self._core = core
        self._publish_to_engine = publish
        self._deltas = deltas
        self._subscribers = Subscribers()
        self._cookies = Cookies(None if core.store is None else core.store.path.parent)
        self._scheduler: UpdateScheduler[Any] = UpdateScheduler(time.monotonic, Held(core.root))
        self.files = FileWatcher(
            core,
            self._scheduler,
            self._cookies,
            backend,
            self._publish,
            audit_seconds=audit_seconds,
            poll_seconds=poll_seconds,
            clock=boot_clock(),
        )
        self._processor = DeltaProcessor(core, threads=threads)
        self.tracker = ProgressTracker(running=lambda: running_names(core))
        self._updater = GraphUpdater(core, self.tracker.record, OWN)
        self._updater.watched.update(dict.fromkeys(keys))
        self._news = threading.Condition()  # the keys thread has something to do
        self._due: list[_Due] = []
        self._wanted = True  # the first pass
        self._ending = ""
        self._end = threading.Event()
        self._errors = 0  # batches and refreshes in a row that failed for a reason nobody foresaw
        self._unlearned: deque[str] = deque()  # files whose version is not known yet, for deltas
        self._started: Started | None = None
        self._ready = threading.Event()
        self._told_revision = 0
        self._threads: list[threading.Thread] = []
        self._callers: list[Caller] = []
        self._own: Mailbox | None = None
        self._lock = threading.Lock()
        self.steps: list[Callable[[], None]] = []  # called every quarter of a second, by the inputs thread

    # -- for the host --------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch. Returns at once; `wait_until_ready` waits for `Started`."""
        with self._lock:
            if self._threads:
                return
            self._own = self._subscribers.subscribe()
            for name, body in (("inputs", self._run_inputs), ("keys", self._run_keys)):
                thread = threading.Thread(target=body, name=f"engine-watch-{name}", daemon=True)
                self._threads.append(thread)
            self._callers.append(self._subscribers.call(self._publish_values))
        for thread in self._threads:
            thread.start()

    def wait_until_ready(self, timeout: float | None = None) -> bool:
        """Whether everything watched is right for the first time; waits up to `timeout` seconds."""
        self.start()
        return self._ready.wait(timeout)

    def add(self, key: Key[Any]) -> None:
        """Watch one more key."""
        self._updater.watched[key] = None
        self._wake()

    def nudge(self) -> None:
        """The host changed an input: what is watched is brought up to date, and told."""
        self._wake()

    def follow_rules(self, others: Iterable[str] = (), since: int | None = None) -> RuleCode:
        """Tell `RulesChanged` when a file changes that the queries were loaded from, or one of `others`."""
        rules = RuleCode(others, since)
        self.steps.append(rules.follow(lambda paths: self._publish(RulesChanged(paths))))
        return rules

    def remove(self, key: Key[Any]) -> None:
        """Watch a key no longer. Its memo stays."""
        self._updater.watched.pop(key, None)

    def events(self) -> Mailbox:
        """The events from now on, for one more consumer; the last `Started` comes first."""
        return self._subscribers.subscribe(first=[self._started] if self._started else [])

    def subscribe(self, query: Any, callback: Callable[[Any], None]) -> Caller:
        """Call back with the value of a key or query without arguments whenever it changed, in a thread of
        its own. The key is watched from now on. A failing query is told as its exception."""
        key: Key[Any] = query if isinstance(query, Key) else Key(info_of(query), info_of(query).bind((), {}))
        subscription = Subscription([], key, callback)
        refresh(self._core, subscription, tell=False)
        self.add(key)

        def look(event: WatchEvent) -> None:
            if not isinstance(event, Stopped):
                refresh(self._core, subscription)

        caller = self._subscribers.call(look)
        self._callers.append(caller)
        return caller

    def sync(self, *, crawl: bool = False) -> int:
        """Return when everything saved before this call is in place; how many inputs differed in that batch.

        A cookie goes through the kernel's queue (some 10 ms); with `crawl`, or where the cookie is lost,
        every observed input is looked at, which also finds what the kernel never tells (writes through a
        memory map). Raises `RootGone`, `Closed`.
        """
        self.start()
        why = "asked for" if crawl else self._wait_for_cookie()
        ticket = self._scheduler.flush(why)
        while not ticket.wait(STEP_SECONDS):
            if self._ending or self._core.closed:
                raise Closed()
        if ticket.error is not None:
            raise ticket.error
        return ticket.differing

    def _wait_for_cookie(self) -> str:
        """Wait until everything told up to now has been hinted. Returns why that cannot be relied on, or ""."""
        doubt = self.files.why_not_to_rely_on_events()
        if doubt:
            return doubt
        voices = self.files.backend.voices()
        try:
            cookie = self._cookies.drop(voices)
        except OSError as error:
            self.files.doubt(f"no cookie could be made: {error}", reinstall=True)
            return "no cookie could be made"
        try:
            deadline = time.monotonic() + COOKIE_SECONDS
            while not cookie.complete.wait(0.05):
                cookie.keep(self.files.backend.voices())  # a voice that was replaced says nothing any more
                doubt = self.files.why_not_to_rely_on_events()
                if doubt or cookie.complete.is_set() or self._ending:
                    return doubt
                if time.monotonic() >= deadline:
                    self.files.doubt("a cookie was late")
                    return "a cookie was late"
        finally:
            self._cookies.forget(cookie)
        return ""

    def progress(self) -> Progress:
        """Figures of now."""
        self._tell_pending()
        return self.tracker.snapshot()

    @property
    def watched(self) -> tuple[Key[Any], ...]:
        """The keys that are kept right."""
        return tuple(self._updater.watched)

    @property
    def failing(self) -> dict[Key[Any], str]:
        """The watched keys whose value is an error now, and what it says."""
        return dict(self._updater.failing)

    @property
    def ended(self) -> str:
        """Why the watch ended; "" while it has not."""
        return self._ending

    def close(self, reason: str = "closed") -> None:
        """End: nothing is watched any more, what was computed is committed. Within about a second."""
        with self._lock:
            if self._ending:
                return
            self._ending = reason
            self._end.set()
        self.files.close()
        with self._scheduler.changed:
            self._scheduler.changed.notify_all()
        self._wake()
        self._core.outdate()
        for thread in self._threads:
            if thread is not threading.current_thread() and thread.is_alive():
                thread.join(JOIN_SECONDS)
        self._processor.close()
        self._cookies.close()
        self._core.journal = None
        self._subscribers.publish(Stopped(self._core.revision, reason))
        for caller in self._callers:
            caller.close()
        self._ready.set()

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __iter__(self) -> Mailbox:
        self.start()
        assert self._own is not None
        return self._own

    def __aiter__(self) -> Mailbox:
        return self.__iter__()

    # -- inputs: batches become revisions -------------------------------------------------------

    def _run_inputs(self) -> None:
        try:
            self._first_crawl()
        except Exception as error:
            self._report("the first look", error)
        while not self._ending:
            try:
                self.files.step()
                for step in self.steps:
                    step()
                batch = self._next_batch()
                if batch is not None:
                    self._work_on(batch)
                    self._errors = 0
            except (Closed, KeyboardInterrupt):
                break  # the engine was closed, or asked to stop, under the watch
            except Exception as error:
                self._report("a batch", error)
        for ticket in self._scheduler.abandon():
            ticket.finish(error=Closed())

    def _first_crawl(self) -> None:
        with self._core.sync_lock, self._core.lock:
            if not self._core.synced:
                load_observed(self._core)
        self._crawl(Batch((), (), "the watch begins", (), time.monotonic()))

    def _next_batch(self) -> Batch[Any] | None:
        scheduler = self._scheduler
        with scheduler.changed:
            wait = scheduler.due()
            if wait is None or wait > 0:
                scheduler.changed.wait(STEP_SECONDS if wait is None else min(wait, STEP_SECONDS))
        return scheduler.take()

    def _work_on(self, batch: Batch[Any]) -> None:
        error: Exception | None = None
        differing = 0
        try:
            if self.files.root_is_gone:
                error = RootGone(root=self._core.root)
            elif batch.crawl:
                differing = self._crawl(batch)
            else:
                differing = self._look(batch)
        except Exception as failed:
            error = failed
            raise
        finally:
            for ticket in batch.tickets:
                ticket.finish(differing, error)

    def _crawl(self, batch: Batch[Any]) -> int:
        self.files.begin_crawl(batch.crawl)
        self.tracker.state(self.files.state)
        started = time.monotonic()
        differing = self._revise(None, batch)
        seconds = time.monotonic() - started
        self.files.end_crawl(seconds)
        self.tracker.state(self.files.state)
        self.tracker.crawled(time.time(), batch.crawl, seconds, len(self.files.places))
        if self._started is None or any(isinstance(node, Key) for node in batch.nodes):
            self._wake()
        return differing

    def _look(self, batch: Batch[Any]) -> int:
        nodes = dict.fromkeys(self.files.nodes_of(batch.paths))
        keys = [node for node in batch.nodes if isinstance(node, Key)]
        nodes.update(dict.fromkeys(node for node in batch.nodes if not isinstance(node, Key)))
        if batch.tickets:
            self.files.cover()
            nodes.update(dict.fromkeys(self.files.uncovered()))
            nodes.update((node, None) for node in self._scheduler.nodes() if not isinstance(node, Key))
        differing = self._revise(list(nodes), batch) if nodes else 0
        if keys and not differing:
            self._wake()
        return differing

    def _revise(self, nodes: list[int] | None, batch: Batch[Any]) -> int:
        """Look, and make one revision of what differs; leave the keys to the other thread."""
        core = self._core
        began = time.perf_counter()

        def attempt(gate: Gate) -> tuple[Looked, list[Edited], int]:
            with core.sync_lock, gate:
                looked = self._processor.look(nodes)
                edited = self._processor.edited(looked) if self._deltas and self._started else []
                note = batch.crawl or _named(batch.paths, looked)
                waits = HURRY_SECONDS if batch.tickets else -1.0
                differing = take(core, looked, note, commits=not self._started, waits=waits)
                return looked, edited, differing

        looked, edited, differing = insist(core, attempt)
        for node in looked.retry:
            self._try_again(node, f"input {core.name_of(node)} could not be read")
        self._scheduler.healed(change.node for change in looked.changes)
        applied = (time.perf_counter() - began) * 1000
        if differing or looked.retry or looked.changes:
            changed = [change.node for change in looked.changes]
            saved = self._saved_at(batch, changed)
            self._wake(_Due(batch.crawl, looked.stamped, applied, saved, edited, changed[::-1], bool(differing)))
        return differing

    def _try_again(self, node: Any, what: str) -> float:
        """Have it tried again. Seconds until then; 0 where that was given up, which is told."""
        wait = self._scheduler.retry(node)
        if wait is None:
            remedy = "It is tried again when something changes."
            self._publish(Trouble(what, "it failed again and again", remedy, gave_up=True))
        return round(wait or 0.0, 3)

    def _saved_at(self, batch: Batch[Any], changed: list[int]) -> float:
        """When the oldest change of a batch was saved, by the wall clock; 0 where nobody knows."""
        if not batch.paths or not changed:
            return 0.0
        hinted = time.time() - (time.monotonic() - batch.first)
        times = [self.files.saved_at(path) for path in batch.paths[:100]]
        near = [at for at in times if at is not None and hinted - RECENT_SECONDS < at <= hinted]
        return min(near, default=hinted)

    # -- keys: what is watched becomes right ------------------------------------------------------

    def _wake(self, due: _Due | None = None) -> None:
        with self._news:
            if due is not None:
                self._due.append(due)
            self._wanted = True
            self._news.notify_all()

    def _run_keys(self) -> None:
        while True:
            with self._news:
                while not (self._wanted and self.files.looked) and not self._ending:
                    if self._unlearned:
                        break
                    self._news.wait()  # install, look, and only then run
                if self._ending:
                    break
                wanted, self._wanted = self._wanted, False
                due, self._due = self._due, []
            try:
                if wanted:
                    self._refresh(due)
                else:
                    count = min(LEARNED_AT_ONCE, len(self._unlearned))
                    self._processor.learn([self._unlearned.popleft() for _ in range(count)])
            except (Closed, KeyboardInterrupt):
                break
            except Exception as error:
                self._report("a refresh", error)

    def _refresh(self, due: list[_Due]) -> None:
        began = time.monotonic()
        edited = [node for one in reversed(due) for node in one.nodes]
        done = self._updater.refresh(edited, lambda: not self._ending)
        self.files.cover()
        waits = {str(key): self._try_again(key, f"key {key}") for key in done.retry}
        done.failures = [evolve(one, again_in=waits.get(one.key, 0.0)) for one in done.failures]
        self._scheduler.healed(key for key in self._updater.watched if key not in self._updater.failing)
        self.tracker.observed(len(self.files.places), self.files.directories())
        if self._started is None:
            self._begin(done, began)
            return
        self._tell(due, done)

    def _begin(self, done: Pass, began: float) -> None:
        self._updater.telling = True
        self._told_revision = done.revision
        self._started = Started(
            done.revision,
            tuple(str(key) for key in self._updater.watched),
            self.files.backend.mode,
            len(self.files.places),
            self.files.directories(),
            round(time.monotonic() - began, 3),
            tuple(done.failures),
        )
        self.tracker.started(self._started)
        self._publish(self._started)
        self._ready.set()
        if self._deltas:
            self._unlearned.extend(self._processor.texts())

    def _tell(self, due: list[_Due], done: Pass) -> None:
        if done.revision == self._told_revision and not done.changed and not done.inputs:
            return
        edited = {one.path: one for some in due for one in some.edited}
        deltas = self._processor.compare(list(edited.values())) if edited else []
        saved = min((one.saved for one in due if one.saved), default=0.0)
        now = time.time()
        figures = Figures(
            looked_at=sum(one.looked_at for one in due),
            inputs=len(done.inputs),
            executed=done.counts.executed,
            cut_off=done.counts.cut_off,
            verified=done.counts.verified,
            failed=done.counts.failed,
            applied=round(sum(one.applied for one in due), 3),
            refreshed=round(done.seconds * 1000, 3),
            latency=round(max(0.0, now - saved) * 1000, 3) if saved else 0.0,
        )
        event = Revised(
            done.revision,
            self._told_revision,
            tuple(done.inputs),
            tuple(done.changed),
            done.omitted,
            tuple(done.failures),
            tuple(deltas),
            figures,
            next((one.crawl for one in due if one.crawl), ""),
        )
        self._told_revision = done.revision
        self.tracker.revised(event)
        self._publish(event)

    # -- telling -------------------------------------------------------------------------------

    def _publish(self, event: WatchEvent) -> None:
        self._subscribers.publish(event)

    def _publish_values(self, event: WatchEvent) -> None:
        if isinstance(event, Revised | Started):
            self._publish_to_engine()

    def _report(self, what: str, error: Exception) -> None:
        """Something went wrong that should not have; the watch goes on, with a crawl."""
        if self._ending:
            return
        self._errors += 1
        log.exception("%s failed", what, exc_info=error)
        remedy = error.hint if isinstance(error, EngineError) else "The watch goes on and looks at everything."
        self._publish(Trouble(what, text_of(error), remedy))
        self._end.wait(min(5.0, 0.05 * 2**self._errors))
        self.files.doubt(f"{what} failed")
        self._wake()  # also after a batch: keys to be tried again may have been in it

    def _tell_pending(self) -> None:
        if self.files.last_event:
            self.tracker.event_seen(time.time() - self.files.since_last_event())
        oldest = self._scheduler.oldest()
        at = None if oldest is None else time.time() - (time.monotonic() - oldest)
        keys = len(self._updater.watched) if self._wanted or self._due else 0
        self.tracker.pending(self._scheduler.waiting, keys, at)


class _Due:
    """What a batch leaves to the keys thread."""

    def __init__(
        self,
        crawl: str,
        looked_at: int,
        applied: float,
        saved: float,
        edited: list[Edited],
        nodes: list[int],
        differs: bool,
    ) -> None:
        self.crawl = crawl
        self.looked_at = looked_at
        self.applied = applied
        self.saved = saved
        self.edited = edited
        self.nodes = nodes
        self.differs = differs


def _named(paths: tuple[str, ...], looked: Looked) -> str:
    """A batch in a few words, for the log of revisions."""
    found = list(paths) or [str(Key(change.info, change.args)) for change in looked.changes]
    rest = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{escaped(found[0], limit=100)}{rest}" if found else "nothing in particular"


def running_names(core: Core) -> tuple[str, ...]:
    """The keys whose functions run now."""
    with core.lock:
        return tuple(core.name_of(node) for node in list(core.claims))


def boot_clock() -> Callable[[], float]:
    """Seconds that go on while the machine sleeps, where the system has such a clock."""
    number = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if number is None else lambda: time.clock_gettime(number)
