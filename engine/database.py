"""Engine: the face. Opens a store, answers requests, takes inputs; every call is one verb of the core.

What it is asked is in `reader`, how it begins in `opening`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from engine import invariants, look, request
from engine.advance import Change
from engine.attempt import finish_last
from engine.core import DEPTH_LIMIT
from engine.durability import Durability
from engine.errors import BadSettings
from engine.event import Event
from engine.graph import Graph
from engine.key import Key
from engine.opening import open_core
from engine.options import WatchOptions, check_called, check_sample, check_watch
from engine.proven import proven
from engine.query import Query
from engine.reader import Reader, Valued, whole_of
from engine.subscribe import Subscription, refresh
from engine.unentered import Unentered

if TYPE_CHECKING:
    from engine.parallel.executor import Executor
    from engine.store.gc import Collected
    from engine.tables.table import Table
    from engine.verification import Verification, Verifier
    from engine.watch.session import Watch

R = TypeVar("R")


class Engine(Reader):
    """Keeps the values of queries up to date. A context manager; threads may share one.

    path        the store's directory, made if need be (`.engine`); None keeps everything in memory.
    root        the directory that file rules are relative to; default: the directory that holds the store,
                or the working directory.
    workers     threads of this process for parallel groups (`each`) of any queries. One is best for queries
                that compute; those that wait say so themselves: `@query(workers="thread")`.
    processes   worker processes for parallel groups of queries that compute; started when that pays. "auto":
                as many as there are cores. See docs/parallel.md.
    executor    who computes for this engine instead of processes here (`engine.parallel.executor`). Opened
                when it is needed first, and closed with the engine.
    limits      how many keys of queries with a `limit=` of that name may run at a time.
    strict      never run a query that might turn out not to be needed (see docs/algorithm.md, probes).
    read_only   answer from the store as another process left it, compute what is missing, save nothing.
    depth_limit how deep running queries may nest.
    history     how many earlier memos of a key are kept, so that nothing runs when what it reads is again
                what it was (a branch that is checked out again, an edit that is undone); 0: none, which is
                the default without a store. With one, it is 4.
    max_memory  how many bytes of values may stay in memory, about; what goes is read from the store again.
                With a store it is 256 MiB; all stay without one, and with read_only. Keys and edges are no
                values and stay in any case.
    synchronous "NORMAL" (a power cut may cost the last commits, nothing else) or "FULL".
    relax_collector  while a request runs, Python looks for garbage in cycles less often (see
                collector.py); False: the thresholds of `gc` are left alone.

    Raises `StoreInUse` when another process has the store, and the other `StoreError`s.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        *,
        root: str | os.PathLike[str] | None = None,
        workers: int = 1,
        processes: int | str = 0,
        executor: Executor | None = None,
        limits: Mapping[str, int] | None = None,
        strict: bool = False,
        read_only: bool = False,
        depth_limit: int = DEPTH_LIMIT,
        history: int | None = None,
        max_memory: int | None = None,
        synchronous: str = "NORMAL",
        relax_collector: bool = True,
    ) -> None:
        super().__init__(
            open_core(
                path,
                root=root,
                workers=workers,
                processes=processes,
                executor=executor,
                limits=limits,
                strict=strict,
                read_only=read_only,
                depth_limit=depth_limit,
                history=history,
                max_memory=max_memory,
                synchronous=synchronous,
                relax_collector=relax_collector,
            )
        )
        self._open = threading.local()  # the batch that a thread has open
        self._subscriptions: list[Subscription] = []
        self._publishing = threading.RLock()  # subscribers hear of one change after the other
        self._watch: Watch | None = None
        self._verifiers: list[Verifier] = []

    # -- looking -------------------------------------------------------------------------------

    def sync(self) -> int:
        """Look at the world: everything saved before this call is seen by the next `get`.

        Returns how many observed inputs differ; they make one new revision. Costs one stamp per observed
        input (about 3 microseconds for a file), or, while a watch runs, a cookie: some 15 milliseconds.
        """
        self._outside("sync")
        if self._watch is not None and self._watch.active:
            return self._watch.sync()
        differing = look.sync(self._core)
        self._publish()
        return differing

    def verify(self, *keys: Any, sample: int | None = None) -> Verification:
        """Compute keys once more from scratch, in an engine beside this one, and compare all that both have.

        keys     keys, queries without arguments, tables and folds; default: every key that was ever asked
                 for from outside. They are brought up to date first.
        sample   only so many nodes, chosen at random among those that the keys rest on. A lookup among them
                 has its whole table built.

        Costs what a first build costs. Incremental equals from scratch: `differences` is empty, always.
        """
        import random

        from engine.verification import Verifier  # late: who never asks pays nothing

        self._outside("verify")
        check_sample(sample)
        verifier = Verifier(proven(self._core), [whole_of(key) for key in keys], sample, random.Random())
        self._verifiers.append(verifier)
        try:
            return verifier.run()
        finally:
            self._verifiers.remove(verifier)

    # -- changing inputs -----------------------------------------------------------------------

    def set(self, key: Key[R] | Query[[], R], value: R, *, durability: Durability | None = None) -> int:
        """Give an input another value. Returns the revision now: a new one if the value differs.

        On an observed input it is an overlay (an unsaved buffer): it beats the world until `reset`, or
        until the engine is closed. It is one of that input alone: what is read of the file or of its
        directory in another way is as the disk has it. What cannot be read whatever the disk has, as a path
        outside the root, cannot be set: it raises as `get` does. The value of a host cell is stored.
        """
        self._outside("set")
        key = whole_of(key)
        return self._commit([request.prepare(self._core, key, value, durability)], f"{key} set")

    def reset(self, key: Key[Any] | Query[[], Any]) -> int:
        """Give an input back to its function: the world, or its default. Returns the revision now."""
        self._outside("reset")
        key = whole_of(key)
        return self._commit([request.prepare_reset(self._core, key.query, key.args)], f"{key} reset")

    def batch(self) -> AbstractContextManager[None]:
        """Many changes, one revision. Reads inside see the state before it; an exception drops it all."""
        return Unentered(self._batch(), "with db.batch():")

    @contextmanager
    def _batch(self) -> Iterator[None]:
        self._outside("batch")
        if getattr(self._open, "batch", None) is not None:
            raise BadSettings(cause="a batch is already open", hint="Batches do not nest.")
        changes: list[Change] = []
        try:
            try:
                self._open.batch = changes  # in here: an interrupt must not leave it open
                yield
            finally:
                self._open.batch = None
        finally:
            self._open.batch = None  # where an interrupt came before it above: later changes would be lost
        if changes:
            self._commit(changes, f"{len(changes)} inputs set")

    def forget(self, pattern: str) -> int:
        """Let every key whose display name matches a pattern (`*`, `?`) run again when it is asked for.

        Returns how many. Equal values are still cut off.
        """
        self._outside("forget")
        self._writable()
        return request.forget(self._core, lambda name: fnmatchcase(name, pattern))

    def gc(self) -> Collected:
        """Delete from the store what no key needs that was ever asked for from outside, and compact it.

        What the host set is kept. Takes about 3 microseconds a node; the engine must be at rest.
        """
        self._outside("gc")
        core = proven(self._core)
        core.check_usable()
        if core.store is None:
            raise BadSettings(cause="there is no store to collect", hint="Open one: Engine(path).")
        self._writable()
        return request.collect(core)

    # -- being told ----------------------------------------------------------------------------

    def watch(self, *queries: Any, **options: Unpack[WatchOptions]) -> Watch:
        """Keep keys (or queries without arguments) right as files change: `with db.watch(report) as watch:`.

        The `Watch` is an iterator and an async iterator of typed events. One at a time for each engine. While
        it runs, `sync` is cheap, and subscribers are called in a thread of its own.

        Options:
            deltas          True: tell which lines and definitions of a changed file are others.
            audit_seconds   how long a change that the system told nothing of may stay unnoticed.
            poll_seconds    how often inputs are looked at that the system tells nothing of.
            backend         what suggests where to look; see `engine.watch.backend`.
            check_seconds   how long nothing happens before some members of a table or fold are computed again
                            and compared with what is kept; 0: never.
            threads         how many files are read and compared at a time: 1, more where reading waits.
        """
        from engine.watch.session import Watch  # late: who never watches pays nothing

        self._outside("watch")
        proven(self._core).check_usable()
        check_watch(options)
        if self._watch is not None:
            if self._watch.active:
                raise BadSettings(cause="a watch is running already", hint="Add keys, or close it first.")
            self._watch.close("another watch took its place")
        keys = [whole_of(query) for query in queries]
        self._watch = Watch(self._core, keys, self._publish_now, **options)
        return self._watch

    @overload
    def subscribe(self, key: Valued[R], callback: Callable[[R], object], /) -> Subscription: ...
    @overload
    def subscribe(self, table: Table[Any, Any], callback: Callable[[str], object], /) -> Subscription: ...
    def subscribe(self, query: Any, callback: Callable[[Any], object], /) -> Subscription:
        """Call back with the new value whenever `set`, `reset`, `batch` or `sync` changed it.

        The key is computed now, so that later values have something to differ from. A query that fails
        is told as its exception, a whole table as a digest of its rows (which ones, `changes` tells).
        Callbacks run in the thread that made the change.
        """
        self._core.check_usable()
        subscription = Subscription(self._subscriptions, whole_of(query), callback)
        refresh(self._core, subscription, tell=False)
        self._subscriptions.append(subscription)
        return subscription

    def listen(self, listener: Callable[[Event], object]) -> Callable[[], None]:
        """Call `listener` with every event; returns the function that ends it.

        Any thread that computes calls it, one at a time. A failure is logged once, and it is called on.
        """
        check_called(listener, "listener")
        return self._core.telling.listen(listener)

    def check_invariants(self) -> None:
        """Raise AssertionError if what the engine keeps contradicts itself. For tests, at rest; O(nodes)."""
        with self._core.lock:
            invariants.check_invariants(self._core)

    # -- ending --------------------------------------------------------------------------------

    def stop(self) -> None:
        """Requests, and later ones too, raise KeyboardInterrupt at their next read. For signal handlers."""
        self._core.stopping = True
        self._core.outdate()
        for verifier in tuple(self._verifiers):
            verifier.stop()

    def close(self) -> None:
        """Commit and let the store go. Later calls raise `Closed`; requests under way end with it too."""
        core = self._core
        if os.getpid() != core.pid:
            core.closed = True  # a forked child: the store belongs to its parent, and so may the lock
            return
        if core.closed:
            with core.lock:  # another thread may be at it
                if core.store is not None:
                    core.store.close()  # again, which does nothing unless an interrupt came before it
            return
        if self._watch is not None:
            self._watch.close("the engine was closed")
        try:
            proven(core)
        finally:
            self._close()

    def _close(self) -> None:
        core = self._core
        core.outdate()  # requests give the lock away
        with core.lock:
            core.closed = True
            try:
                core.outdate()  # what has begun since
                finish_last(core)
            finally:
                try:
                    if core.dispatch is not None:
                        core.dispatch.close()
                finally:
                    if core.store is not None:
                        core.store.close()
                        core.telling.notes += core.store.notes
                # Of 100,000 files, the garbage collector walks these lists for 60 ms when the process ends.
                core.graph = Graph(1)
                core.unsaved.clear()  # of a commit that failed: a request that ends now must not try it again
                core.observed.clear()
        core.telling.emit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _commit(self, changes: list[Change], note: str) -> int:
        self._writable()
        batch: list[Change] | None = getattr(self._open, "batch", None)
        if batch is not None:
            batch += changes
            return self.revision
        revision = request.commit_changes(self._core, changes, note)
        if self._watch is not None and self._watch.active:
            self._watch.look_again([(change.info, change.args) for change in changes if not change.pinned])
        self._publish()
        return revision

    def _publish(self) -> None:
        if self._watch is not None and self._watch.active:
            # its thread calls back: a slow subscriber must not hold up who changes inputs
            self._watch.nudge()
        else:
            self._publish_now()

    def _publish_now(self) -> None:
        with self._publishing:
            for subscription in tuple(self._subscriptions):
                refresh(self._core, subscription)
