"""Reader: what can be asked of an engine, and of one revision of it that is held still.

Invariants
    A1  Nothing here changes an input; what is missing is computed.
    A2  Inside a query, `get` is a dependency like any other. The rest records none, or is refused there.
    A3  What tells why, and who read whom, computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, overload

from engine import explain, request
from engine.answer import shorten
from engine.core import Core
from engine.errors import BadArguments, BadTable, ChangedInsideQuery, StoreReadOnly
from engine.event import Counts
from engine.frame import CURRENT
from engine.graph import ABSENT, ROOT
from engine.key import Key, display
from engine.locate import find, find_named
from engine.message import escaped
from engine.options import check_sample
from engine.proven import proven
from engine.query import READY, REGISTRY, Query, info_of
from engine.snapshot import Snapshot
from engine.tables.fold import Fold
from engine.tables.lookup import Lookup
from engine.tables.table import CollectionInfo, Table
from engine.unentered import Unentered

if TYPE_CHECKING:
    from engine.store.sqlite import Store
    from engine.tables.audit import Audit
    from engine.tables.changes import TableChanges
    from engine.value_changes import ValueChanges

P = ParamSpec("P")
R = TypeVar("R")
K = TypeVar("K")
Row = TypeVar("Row")

Valued: TypeAlias = Key[R] | Fold[R] | Lookup[R] | Query[[], R]
"""What can be followed by its value, without further arguments."""


class Reader:
    """The half of `Engine` that asks."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __repr__(self) -> str:
        core = self._core
        place = "in memory" if core.store is None else f"at {core.store.path.parent}"
        return f"<Engine {escaped(place)}, {'closed' if core.closed else f'revision {core.revision}'}>"

    @overload
    def get(self, key: Key[R], /) -> R: ...
    @overload
    def get(self, fold: Fold[R], /) -> R: ...
    @overload
    def get(self, lookup: Lookup[R], /, *args: Any, **columns: Any) -> R: ...
    @overload
    def get(self, table: Table[K, Row], /) -> tuple[Row, ...]: ...
    @overload
    def get(self, table: Table[K, Row], key: K, /) -> tuple[Row, ...]: ...
    @overload
    def get(self, query: Query[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def get(self, query: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The value of a key now: `get(report)`, `get(lines, "a.py")` or `get(lines.key("a.py"))`.

        Of a table, all rows, or those of one source key: `get(words)`, `get(words, "notes/a.txt")`.
        Runs what must run, and nothing else. Raises the query's own exception, with a note of the keys
        that led to it. A hit costs about a microsecond; what a change costs is proportional to the change.
        Looks at the world only at the first call after opening; later ones see it at `sync`. What is not
        kept, as the text of a file, may be read again before that.
        """
        core = self._core
        key = key_of(query, args, kwargs)
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
        try:
            return request.demand(core, info, key.args)
        except Exception as error:  # the query's own, whatever it is
            shorten(error)
            raise

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
        core = proven(self._core)
        core.check_usable()
        try:
            with core.lock:
                if isinstance(query, str) and query not in REGISTRY:
                    yield find_named(core, query, args), display(query, args)
                else:
                    key = whole_of(REGISTRY[query].wrapper if isinstance(query, str) else query, args, kwargs)
                    yield find(core, key.query, key.args), str(key)
        except KeyboardInterrupt as error:
            core.interrupted(error)
            raise

    def query_names(self) -> tuple[str, ...]:
        """The names of all queries that the engine knows, in this process or from the store; sorted."""
        return tuple(sorted(proven(self._core).queries.by_name))

    def snapshot(self) -> AbstractContextManager[View]:
        """Consistent reads of the revision of now, while the engine goes on: `with db.snapshot() as old:`."""
        return Unentered(self._snapshot(), "with db.snapshot() as old:")

    @contextmanager
    def _snapshot(self) -> Iterator[View]:
        request.make_calm(self._core)
        with Snapshot(self._core) as snapshot:
            yield View(snapshot)

    @overload
    def changes(
        self, table: Table[Any, Row], /, *, since: str, after: str | None = None
    ) -> TableChanges[Row]: ...
    @overload
    def changes(self, key: Valued[R], /, *, since: str, after: str | None = None) -> ValueChanges[R]: ...
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
            from engine.tables.changes import TableChanges  # late: most engines have no consumers

            return TableChanges(self._core, what.__collection__, since, after)
        from engine.value_changes import ValueChanges

        return ValueChanges(self._core, whole_of(what), since, after)

    def audit(self, what: Table[Any, Any] | Fold[Any], /, *, sample: int | None = None) -> Audit:
        """Compute a table or a fold from its members once more, and compare with what is kept.

        sample   how many members and lookups, chosen at random; default: all. Costs a run of each.
        """
        self._outside("audit")
        info = getattr(what, "__collection__", None)
        if not isinstance(info, CollectionInfo):
            raise BadTable(
                f"{what!r} is neither a table nor a fold", hint="Of any other key, ask verify(key)."
            )
        import random  # late: 3 ms that most starts do not need

        from engine.tables.audit import audit

        check_sample(sample)
        return audit(self._core, info, sample, random.Random())

    def counts(self) -> Counts:
        """How much was executed, cut off, verified, visited and read since opening."""
        return self._core.counts()

    def notes(self) -> tuple[str, ...]:
        """Sentences for people that came up since the last call: a store set aside, values not stored.

        Of a host that asks seldom, the newest 1,000.
        """
        core = proven(self._core)
        notes, core.telling.notes = tuple(core.telling.notes), []
        return notes

    @property
    def revision(self) -> int:
        """The number of the current state of all inputs."""
        return proven(self._core).revision

    @property
    def root(self) -> Path:
        """The directory that file rules are relative to."""
        return self._core.root

    @property
    def store(self) -> Store | None:
        """The open store, for inspection; None in memory."""
        return proven(self._core).store

    def _outside(self, what: str) -> None:
        if CURRENT.get() is not None:
            raise ChangedInsideQuery(call=what)

    def _writable(self) -> None:
        store = proven(self._core).store
        if store is not None and store.read_only:
            if store.unwritable:
                raise StoreReadOnly(reason=store.unwritable)
            cause = "the engine was opened with read_only=True"
            raise StoreReadOnly(cause=cause, hint="Open it without: Engine(path).")


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
    def get(self, table: Table[K, Row], /) -> tuple[Row, ...]: ...
    @overload
    def get(self, table: Table[K, Row], key: K, /) -> tuple[Row, ...]: ...
    @overload
    def get(self, query: Query[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def get(self, query: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The value of a key at this revision."""
        key = key_of(query, args, kwargs)
        return self._snapshot.get(key.query, key.args)

    @property
    def revision(self) -> int:
        """The revision that is held."""
        return self._snapshot.revision


def key_of(query: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key[Any]:
    """The key whose value somebody outside wants: that of a whole table is its rows."""
    if isinstance(query, Key):
        if args or kwargs:
            raise BadArguments(key=query, cause="a key has its arguments already")
        return query
    if isinstance(query, Table) and not args and not kwargs:
        return query.where.key()
    info = info_of(query)
    return Key(info, info.bind(args, kwargs))


def whole_of(query: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Key[Any]:
    """The key that somebody means who wants to know of it: that of a whole table has a digest of its rows."""
    if isinstance(query, Table) and not args and not kwargs:
        return Key(query.__collection__.settle, ())
    return key_of(query, args, kwargs or {})
