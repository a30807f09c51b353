"""Engine: the face. Opens a store, answers requests, takes inputs; every call is one verb of the core."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypedDict, TypeVar, Unpack, overload

from engine import audit, explain, look, request
from engine.advance import Change
from engine.attempt import finish
from engine.changes import TableChanges, ValueChanges
from engine.core import DEPTH_LIMIT, Core
from engine.durability import Durability
from engine.errors import BadSettings, BadTable, ChangedInsideQuery, StoreFull, StoreReadOnly
from engine.event import Counts, Event
from engine.folds import Fold
from engine.frame import CURRENT
from engine.graph import ABSENT, ROOT
from engine.history import HISTORY, History
from engine.key import Key, display
from engine.kinds import restore_collections
from engine.locate import find, find_named
from engine.memory import LIMIT, Memory
from engine.persist import open_graph
from engine.query import READY, REGISTRY, Query, info_of
from engine.snapshot import Snapshot
from engine.store import open_store
from engine.subscribe import Subscription, refresh
from engine.tables import CollectionInfo, Lookup, Table

if TYPE_CHECKING:
    from engine.audit import Audit
    from engine.store.gc import Collected
    from engine.store.sqlite import Store
    from engine.verification import Verification, Verifier
    from engine.watch.backend import Factory
    from engine.watch.session import Watch

P = ParamSpec("P")
R = TypeVar("R")
K = TypeVar("K")
Row = TypeVar("Row")


class WatchOptions(TypedDict, total=False):
    """Options of `Engine.watch`."""

    deltas: bool
    audit_seconds: float
    poll_seconds: float
    backend: Factory
    threads: int
    check_seconds: float


class Engine:
    """Keeps the values of queries up to date. A context manager; threads may share one.

    path        the store's directory, made if need be (`.engine`); None keeps everything in memory.
    root        the directory that file rules are relative to; default: the directory that holds the store,
                or the working directory.
    workers     threads for parallel groups (`each`) of any queries. One is best for queries that compute;
                those that wait say so themselves: `@query(workers="thread")`.
    processes   worker processes for parallel groups of queries that compute; started when that pays. "auto":
                as many as there are cores. See docs/parallel.md.
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

    Raises `StoreInUse` when another process has the store, and the other `StoreError`s.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        *,
        root: str | os.PathLike[str] | None = None,
        workers: int = 1,
        processes: int | str = 0,
        limits: Mapping[str, int] | None = None,
        strict: bool = False,
        read_only: bool = False,
        depth_limit: int = DEPTH_LIMIT,
        history: int | None = None,
        max_memory: int | None = None,
        synchronous: str = "NORMAL",
    ) -> None:
        if workers < 1 or depth_limit < 1:
            raise BadSettings(workers=workers, depth_limit=depth_limit, hint="Both are at least 1.")
        if history is None:
            history = HISTORY if path is not None else 0
        if history < 0:
            raise BadSettings(history=history, hint="It is at least 0.")
        if max_memory is not None and (max_memory < 1 or path is None):
            hint = "Values that go are read from a store: name one." if path is None else "It is at least 1."
            raise BadSettings(max_memory=max_memory, hint=hint)
        counts = [*(limits or {}).values(), 1 if processes in ("auto", 0) else processes]
        if not all(isinstance(count, int) and count >= 1 for count in counts):
            raise BadSettings(
                processes=processes,
                limits=limits,
                hint='Whole numbers, at least 1; processes also 0 or "auto".',
            )
        if synchronous not in ("NORMAL", "FULL"):
            raise BadSettings(synchronous=synchronous, hint='Say "NORMAL" or "FULL".')
        store: Store | None = None
        if path is not None:
            try:
                store = open_store(
                    Path(path), read_only=read_only, synchronous="FULL" if synchronous == "FULL" else "NORMAL"
                )
            except (StoreFull, StoreReadOnly) as error:
                error.hint = (
                    "Make room or name another store; Engine(None), or --no-store, works without one."
                )
                raise
        place = Path(root) if root is not None else Path(path).absolute().parent if path else Path.cwd()
        self._core = Core(store, place.absolute(), workers=workers, strict=strict, depth_limit=depth_limit)
        if self._core.saves:  # else nobody could read again what was computed here
            self._core.memory = Memory(LIMIT if max_memory is None else max_memory)
        self._core.history = History(history) if history else None
        self._core.limits = dict(limits or {})
        if processes:
            from engine.parallel import for_engine  # late: most engines have no processes

            self._core.dispatch = for_engine(self._core, processes)
        self._open = threading.local()  # the batch that a thread has open
        self._subscriptions: list[Subscription] = []
        self._publishing = threading.RLock()  # subscribers hear of one change after the other
        self._watch: Watch | None = None
        self._verifiers: list[Verifier] = []
        if store is not None:
            try:
                open_graph(self._core)
                restore_collections(self._core)
            except BaseException:
                store.close()
                raise
            self._core.notes += store.notes
            store.notes.clear()

    # -- reading -------------------------------------------------------------------------------

    @overload
    def get(self, key: Key[R], /) -> R: ...
    @overload
    def get(self, fold: Fold[R], /) -> R: ...
    @overload
    def get(self, lookup: Lookup[R], /, *args: Any, **columns: Any) -> R: ...
    @overload
    def get(self, table: Table[K, Row], key: K, /) -> tuple[Row, ...]: ...
    @overload
    def get(self, query: Query[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def get(self, query: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The value of a key now: `get(report)`, `get(lines, "a.py")` or `get(lines.key("a.py"))`.

        Runs what must run, and nothing else. Raises the query's own exception, with a note of the keys
        that led to it. A hit costs about a microsecond; what a change costs is proportional to the change.
        Looks at the world only at the first call after opening; later ones see it at `sync`.
        """
        core = self._core
        key = _key(query, args, kwargs)
        info = key.query
        graph = core.graph
        if info.index < len(graph.tables) and core.is_calm():
            node = graph.tables[info.index].get(key.typed)
            if node is not None and graph.status[node] == READY and graph.flags[node] & ROOT:
                value = graph.values[node]
                core.check_usable()
                if CURRENT.get() is None and graph.status[node] == READY and value is not ABSENT:
                    return value
        frame = CURRENT.get()
        if frame is not None and getattr(frame, "core", core) is core:
            return frame.fetch(info, key.args)  # asked inside a query: a dependency like any other
        return request.demand(core, info, key.args)

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

    def why(self, query: Any, /, *args: Any, **kwargs: Any) -> explain.Why:
        """Why a key ran last, or why it did not run. Computes nothing.

        Here and in the next two, `query` may also be the name of a stored query, whose module need not be
        loaded; `UnknownQuery` where there is none.
        """
        with self._known(query, args, kwargs) as (node, name):
            return explain.why(self._core, node, name)

    def dependencies(self, query: Any, /, *args: Any, **kwargs: Any) -> list[str]:
        """What a key read when it last ran, in order, as display names. Empty where nothing is known."""
        with self._known(query, args, kwargs) as (node, _):
            return explain.dependencies(self._core, node) if node else []

    def dependents(self, query: Any, /, *args: Any, **kwargs: Any) -> list[str]:
        """The keys that read a key, sorted, as display names."""
        with self._known(query, args, kwargs) as (node, _):
            return explain.dependents(self._core, node) if node else []

    @contextmanager
    def _known(
        self, query: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Iterator[tuple[int | None, str]]:
        core = self._core
        core.check_usable()
        try:
            with core.lock:
                if isinstance(query, str) and query not in REGISTRY:
                    yield find_named(core, query, args), display(query, args)
                else:
                    key = _key(REGISTRY[query].wrapper if isinstance(query, str) else query, args, kwargs)
                    yield find(core, key.query, key.args), str(key)
        except KeyboardInterrupt as error:
            core.interrupted(error)
            raise

    def query_names(self) -> tuple[str, ...]:
        """The names of all queries that the engine knows, in this process or from the store; sorted."""
        return tuple(sorted(self._core.rows))

    @contextmanager
    def snapshot(self) -> Iterator[View]:
        """Consistent reads of the revision of now, while the engine goes on: `old.get(report)`."""
        request.settle_inputs(self._core)
        with Snapshot(self._core) as snapshot:
            yield View(snapshot)

    @overload
    def changes(
        self, table: Table[Any, Row], /, *, since: str, after: str | None = None
    ) -> TableChanges[Row]: ...
    @overload
    def changes(self, query: Query[[], R], /, *, since: str, after: str | None = None) -> ValueChanges[R]: ...
    @overload
    def changes(self, fold: Fold[R], /, *, since: str, after: str | None = None) -> ValueChanges[R]: ...
    @overload
    def changes(self, key: Key[R], /, *, since: str, after: str | None = None) -> ValueChanges[R]: ...
    def changes(self, what: Any, /, *, since: str, after: str | None = None) -> Any:
        """What changed in a table, or in the value of a key, since a consumer looked last.

        since   the name of the consumer: the store keeps how far it has come. A new one gets all rows.
        after   `delta.position` as the consumer stored it itself, together with what it made of that delta:
                then nothing is told twice, wherever it was killed.

        Raises `BadCursor` for a position of another store, and for one that goes backwards.
        """
        self._outside("changes")
        self._writable()
        if isinstance(what, Table):
            return TableChanges(self._core, what.__collection__, since, after)
        return ValueChanges(self._core, _key(what, (), {}), since, after)

    def audit(self, what: Table[Any, Any] | Fold[Any], /, *, sample: int | None = None) -> Audit:
        """Compute a table or a fold from its members once more, and compare with what is kept.

        sample   how many members and lookups, chosen at random; default: all. Costs a run of each.
        """
        self._outside("audit")
        info = getattr(what, "__collection__", None)
        if not isinstance(info, CollectionInfo):
            raise BadTable(f"{what!r} is neither a table nor a fold")
        import random  # late: 3 ms that most starts do not need

        return audit.audit(self._core, info, sample, random.Random())

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
        verifier = Verifier(self._core, [_key(key, (), {}) for key in keys], sample, random.Random())
        self._verifiers.append(verifier)
        try:
            return verifier.run()
        finally:
            self._verifiers.remove(verifier)

    # -- changing inputs -----------------------------------------------------------------------

    def set(self, key: Key[R], value: R, *, durability: Durability | None = None) -> int:
        """Give an input another value. Returns the revision now: a new one if the value differs.

        On an observed input it is an overlay (an unsaved buffer): it beats the world until `reset`, or
        until this process ends. The value of a host cell is stored.
        """
        self._outside("set")
        change = request.prepare(self._core, key.query, key.args, value, durability)
        return self._commit([change], f"{key} set")

    def reset(self, key: Key[Any]) -> int:
        """Give an input back to its function: the world, or its default. Returns the revision now."""
        self._outside("reset")
        change = request.prepare_reset(self._core, key.query, key.args)
        return self._commit([change], f"{key} reset")

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Many changes, one revision. Reads inside see the state before it; an exception drops it all."""
        self._outside("batch")
        if getattr(self._open, "batch", None) is not None:
            raise BadSettings(cause="a batch is already open", hint="Batches do not nest.")
        changes: list[Change] = []
        self._open.batch = changes
        try:
            yield
        finally:
            self._open.batch = None
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
        core = self._core
        core.check_usable()
        if core.store is None or core.store.read_only:
            raise StoreReadOnly(
                cause="there is no store to collect" if core.store is None else "read_only=True"
            )
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
        self._core.check_usable()
        if self._watch is not None:
            if self._watch.active:
                raise BadSettings(cause="a watch is running already", hint="Add keys, or close it first.")
            self._watch.close("another watch took its place")
        keys = [_key(query, (), {}) for query in queries]
        self._watch = Watch(self._core, keys, self._publish_now, **options)
        return self._watch

    @overload
    def subscribe(self, key: Key[R], callback: Callable[[R], None], /) -> Subscription: ...
    @overload
    def subscribe(self, query: Query[[], R], callback: Callable[[R], None], /) -> Subscription: ...
    def subscribe(self, query: Any, callback: Callable[[Any], None], /) -> Subscription:
        """Call back with the new value whenever `set`, `reset`, `batch` or `sync` changed it.

        The key is computed now, so that later values have something to differ from. A query that fails
        is told as its exception. Callbacks run in the thread that made the change.
        """
        self._core.check_usable()
        subscription = Subscription(self._subscriptions, _key(query, (), {}), callback)
        refresh(self._core, subscription, tell=False)
        self._subscriptions.append(subscription)
        return subscription

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every event; returns the function that ends it.

        It may be called from any thread that computes, one event at a time.
        """
        self._core.listeners.append(listener)
        return lambda: self._core.listeners.remove(listener)

    def counts(self) -> Counts:
        """How much was executed, cut off, verified, visited and read since opening."""
        return self._core.counts()

    def notes(self) -> tuple[str, ...]:
        """Sentences for people that came up since the last call: a store set aside, values not stored."""
        notes, self._core.notes = tuple(self._core.notes), []
        return notes

    @property
    def revision(self) -> int:
        """The number of the current state of all inputs."""
        return self._core.revision

    @property
    def root(self) -> Path:
        """The directory that file rules are relative to."""
        return self._core.root

    @property
    def store(self) -> Store | None:
        """The open store, for inspection; None in memory."""
        return self._core.store

    def check_invariants(self) -> None:
        """Raise AssertionError if the engine's lists contradict each other. For tests; O(nodes)."""
        with self._core.lock:
            cyclic = any(one.cyclic for one in self._core.collections.values())
            self._core.graph.check_invariants(cyclic=cyclic)

    # -- ending --------------------------------------------------------------------------------

    def stop(self) -> None:
        """Let running queries unwind at their next read; what was computed is kept. For signal handlers."""
        self._core.stopping = True
        self._core.outdate()
        for verifier in tuple(self._verifiers):
            verifier.stop()

    def close(self) -> None:
        """Commit and let the store go. Later calls raise `Closed`; requests under way end with it too."""
        core = self._core
        if core.closed:
            return
        if self._watch is not None and os.getpid() == core.pid:
            self._watch.close("the engine was closed")
        if os.getpid() != core.pid:
            core.closed = True  # a forked child: the store belongs to its parent, and so may the lock
            return
        core.outdate()
        with core.lock:
            core.closed = True
            try:
                finish(core)
            finally:
                if core.dispatch is not None:
                    core.dispatch.close()
                if core.store is not None:
                    core.store.close()
                    core.notes += core.store.notes
        core.emit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _outside(self, what: str) -> None:
        if CURRENT.get() is not None:
            raise ChangedInsideQuery(call=what)

    def _writable(self) -> None:
        if self._core.store is not None and self._core.store.read_only:
            raise StoreReadOnly(cause="the engine was opened with read_only=True")

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


class View:
    """One revision, held still."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @overload
    def get(self, key: Key[R], /) -> R: ...
    @overload
    def get(self, fold: Fold[R], /) -> R: ...
    @overload
    def get(self, lookup: Lookup[R], /, *args: Any, **columns: Any) -> R: ...
    @overload
    def get(self, table: Table[K, Row], key: K, /) -> tuple[Row, ...]: ...
    @overload
    def get(self, query: Query[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def get(self, query: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The value of a key at this revision."""
        key = _key(query, args, kwargs)
        return self._snapshot.get(key.query, key.args)

    @property
    def revision(self) -> int:
        """The revision that is held."""
        return self._snapshot.revision


def _key(query: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key[Any]:
    if isinstance(query, Key):
        return query
    if isinstance(query, Table) and not args and not kwargs:
        return Key(query.__collection__.settle, ())  # the whole of it: its value is a digest of all rows
    info = info_of(query)
    return Key(info, info.bind(args, kwargs))
