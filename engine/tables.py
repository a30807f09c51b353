"""Tables: a derived collection of rows, one set of rows for each source key, looked up by column.

    @table(each=python_files, index=("name",))
    def definitions(path: str) -> Iterable[Definition]:
        yield from facts(path).definitions

    definitions.where(name="greet")      # in a query: depends on the rows of that name alone

Invariants
    L1  A lookup is a query whose value is a function of the rows that match it: no other row concerns it,
        and no row at all is an answer too.
    L2  Rows are a set for each source key: what a member gives twice is there once. Answers are sorted by
        source key, then by columns.
    L3  A member that fails has no rows. `of` raises its error, `failures` lists it.
    L4  Outside an engine, and in a snapshot, a lookup is made from scratch: that defines what is right.

Not here: how rows are kept right and where (collect, rows).
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, Literal, TypeVar, cast

from attrs import define, frozen

from engine.columns import Columns, Plain, field_names, order, plain
from engine.errors import BadLookup, BadTable, CycleError, EngineError, escaped
from engine.frame import CURRENT, Frame
from engine.key import Key, short
from engine.query import Query, QueryInfo, define_query, info_of
from engine.store.canonical import canonical

K = TypeVar("K")
R_co = TypeVar("R_co", covariant=True)
Row = TypeVar("Row")

Found = tuple[Plain, tuple[Plain, ...]]  # source and columns of a row
WHERE, FIRST, EXISTS, COUNT, STARTING = "where", "first", "exists", "count", "starting"
OF, FAILURES = "of", "failures"
LARGEST: Final = 16_384  # bytes of an answer that are stored again: some hundred rows
MODES: Final = (WHERE, FIRST, EXISTS, COUNT, STARTING)


@frozen
class MemberFailure:
    """A source key whose rows could not be computed, as people read it, and why."""

    source: str
    error: str


@frozen(eq=False)
class Column(Generic[K]):
    """The values of an indexed column of a table, each once: what `each=` of another table may be."""

    table: Table[Any, Any]
    name: str


@define(slots=True, eq=False)
class CollectionInfo:
    """What the engine knows of one table or fold, beside its queries.

    member  computes what one source key contributes
    each    gives the source keys: a query without arguments, or a column of a table
    settle  the query that stands for the whole: it is right when all members are
    """

    name: str
    kind: str
    member: QueryInfo
    each: QueryInfo | Column[Any]
    settle: QueryInfo
    lookups: dict[str, LookupInfo]
    index: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    row: Callable[[], type] | None = None
    into: Any = None
    version: str | int | None = None
    value: QueryInfo | None = None  # of a fold
    reduced: QueryInfo | None = None  # of a fold: a query whose code is that of `into`
    is_learned: bool = False  # of a fold: whether the classes of its values are known (`folds.learn_values`)
    _columns: Columns | None = None

    @property
    def columns(self) -> Columns:
        """How rows become columns; made at first use."""
        if self._columns is None:
            assert self.row is not None
            self._columns = Columns(self.name, self.row())
        return self._columns

    def columns_of(self, rows: Iterable[Any]) -> tuple[tuple[Plain, ...], ...]:
        """The rows of one member as a set of columns, in the member's order."""
        return tuple(dict.fromkeys(map(self.columns.encode, rows)))


@define(slots=True, eq=False)
class LookupInfo(QueryInfo):
    """The definition of one way to look into a table. Its arguments are names and values, flat."""

    mode: str = WHERE
    of: Any = None  # CollectionInfo

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """See `QueryInfo.bind`. Raises `BadLookup`, or `WrongColumn` for a value that no row can have."""
        if self.mode in (OF, FAILURES):
            return QueryInfo.bind(self, args, kwargs)
        found: CollectionInfo = self.of
        named = self._named(args, kwargs)
        columns = found.columns
        for name in named:
            if name not in found.index:
                self._refuse(name)
        if self.mode == STARTING and len(named) != 1:
            raise BadLookup(
                table=found.name, cause="`starting` takes one column", columns=", ".join(found.index)
            )
        terms: list[Any] = []
        for name in found.index:
            if name in named:
                value = named[name]
                if self.mode == STARTING and not (isinstance(value, str) and columns.is_text(name)):
                    raise BadLookup(
                        table=found.name, column=name, cause="only texts have a beginning", value=short(value)
                    )
                terms += (name, columns.value(name, columns.encode_one(name, value)))
        return tuple(terms)

    def display(self, args: tuple[Any, ...]) -> str:
        """See `QueryInfo.display`: columns by name, as they are written."""
        if self.mode in (OF, FAILURES):
            return QueryInfo.display(self, args)
        terms = zip(args[::2], args[1::2], strict=True)
        return escaped(f"{self.name}({', '.join(f'{name}={short(value)}' for name, value in terms)})", 400)

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Value by column. Without names they are pairs, as a stored key has them."""
        named = dict(zip(args[::2], args[1::2], strict=False))
        if len(args) % 2 or not all(isinstance(name, str) for name in named):
            cause = "columns are given by name"
        elif 2 * len(named) != len(args) or named.keys() & kwargs.keys():
            cause = "a column is given twice"
        else:
            return {**named, **kwargs}
        indexed = self.of.index
        example = f"Write {self.mode}({indexed[0]}=value)." if indexed else None
        raise BadLookup(table=self.of.name, cause=cause, indexed=", ".join(indexed) or "none", hint=example)

    def _refuse(self, name: str) -> None:
        known = self.of.columns.names
        raise BadLookup(
            table=self.of.name,
            column=name,
            cause="it is not indexed" if name in known else "there is no such column",
            indexed=", ".join(self.of.index) or "none",
            hint=f'Add it where the table is defined: index=(…, "{name}").' if name in known else None,
        )

    def memo_key(self, args: tuple[Any, ...]) -> object:
        """See `QueryInfo.memo_key`."""
        if len(args) != 1 and all(type(one) is str for one in args):
            return args
        return (canonical(args),)

    def call(self, args: tuple[Any, ...]) -> Any:
        """See `QueryInfo.call`."""
        return self.function(*args)


class Lookup(Generic[R_co]):
    """One way to look into a table: a query by columns. `db.get(definitions.where, name="greet")`."""

    def __init__(self, info: LookupInfo) -> None:
        self.__query__ = info
        self.__name__ = info.mode
        info.wrapper = self

    def __call__(self, *args: Any, **columns: Any) -> R_co:
        """The answer; inside a query it is recorded as a dependency."""
        info = self.__query__
        bound = info.bind(args, columns)
        frame = CURRENT.get()
        return cast(R_co, info.function(*bound) if frame is None else frame.fetch(info, bound))

    def key(self, *args: Any, **columns: Any) -> Key[R_co]:
        """Names this answer without computing it."""
        return Key(self.__query__, self.__query__.bind(args, columns))


class Table(Generic[K, Row]):
    """What `@table` returns. Called with a source key it is the query that computes the rows of that key.

    where(column=value, ...)   the rows that have these values; without any, all rows
    first(column=value, ...)   the first of them, or None
    exists, count              whether there is one; how many there are
    starting(column="text")    the rows whose value starts so
    of(key)                    the rows of one source key; () where it is none
    failures()                 the source keys whose rows could not be computed

    Each depends on its own rows alone. Costs some 20 microseconds and 2 for each row the first time, and
    after that what reading any query costs. From the host: `db.get(definitions.where, name="greet")`.
    """

    def __init__(self, info: CollectionInfo) -> None:
        self.__collection__ = info
        self.__query__ = info.member
        self.__name__ = info.member.function.__name__
        self.__doc__ = info.member.function.__doc__
        lookups = info.lookups
        self.where: Lookup[tuple[Row, ...]] = Lookup(lookups[WHERE])
        self.first: Lookup[Row | None] = Lookup(lookups[FIRST])
        self.exists: Lookup[bool] = Lookup(lookups[EXISTS])
        self.count: Lookup[int] = Lookup(lookups[COUNT])
        self.starting: Lookup[tuple[Row, ...]] = Lookup(lookups[STARTING])
        self.of: Lookup[tuple[Row, ...]] = Lookup(lookups[OF])
        self.failures: Lookup[tuple[MemberFailure, ...]] = Lookup(lookups[FAILURES])

    def __call__(self, key: K) -> tuple[Row, ...]:
        """The rows of one source key."""
        return cast("tuple[Row, ...]", self.__query__.wrapper(key))

    def key(self, key: K) -> Key[tuple[Row, ...]]:
        """Names the rows of one source key."""
        return Key(self.__query__, self.__query__.bind((key,), {}))

    def __iter__(self) -> Iterator[Row]:
        """All rows, sorted."""
        return iter(self.where())

    def column(self, name: str) -> Column[Any]:
        """The values of an indexed column, as source keys of another table."""
        if name not in self.__collection__.index:
            self.__collection__.lookups[WHERE]._refuse(name)
        return Column(self, name)


def table(
    *,
    each: Query[[], Iterable[K]] | Column[K],
    index: Iterable[str] = (),
    identity: Iterable[str] = (),
    name: str | None = None,
    version: str | int | None = None,
    workers: Literal["auto", "process", "thread", "inline"] = "auto",
    timeout: float | None = None,
    limit: str | None = None,
) -> Callable[[Callable[[K], Iterable[Row]]], Table[K, Row]]:
    """Make a table of a function that gives the rows of one source key.

    Rows are of an attrs class, a dataclass or a NamedTuple, which the return annotation names. They live in
    an SQLite table of their own (see docs/store.md).

    Options:
        each      the source keys: a query without arguments, or `other.column("name")`, which costs one
                  lookup for each key that comes or goes, whatever their number.
        index     the columns that rows are looked up by.
        identity  the columns that say which row it is: in a change feed a row whose other columns changed
                  is then a changed row, not a removed and an added one.
        name, version, workers, timeout, limit   as for `query`; it is the query of one source key.

    Raises `BadTable`.
    """
    index, identity = tuple(index), tuple(identity)

    def make(function: Callable[[K], Iterable[Row]]) -> Table[K, Row]:
        options = {"name": name, "version": version, "workers": workers, "timeout": timeout, "limit": limit}
        return Table(_collection(function, each, index, identity, options))

    return make


def _collection(
    function: Any,
    each: Any,
    index: tuple[str, ...],
    identity: tuple[str, ...],
    options: dict[str, Any],
) -> CollectionInfo:
    if not inspect.isfunction(function) or len(inspect.signature(function).parameters) != 1:
        raise BadTable(
            table=getattr(function, "__qualname__", function),
            cause="it is not a function of one argument",
            hint="A table is made of a function that takes a source key and gives its rows.",
        )

    @functools.wraps(function)
    def member(key: Any) -> Any:
        return tuple(function(key))

    row = functools.cache(functools.partial(_row_class, function))
    info = define_query(
        member,
        persist=False,
        needs_bytes=True,
        returns=lambda: _tuple_of(row()),
        **options,
    ).__query__
    return assemble(
        info, "table", each, index=index, identity=identity, row=row, modes=(*MODES, OF, FAILURES)
    )


def assemble(
    member: QueryInfo,
    kind: str,
    each: Any,
    *,
    index: tuple[str, ...] = (),
    identity: tuple[str, ...] = (),
    row: Callable[[], type] | None = None,
    into: Any = None,
    version: str | int | None = None,
    modes: tuple[str, ...] = (),
    name: str | None = None,
) -> CollectionInfo:
    """A collection and the queries that look into it. Raises `BadTable` where its parts do not fit."""
    name = name or member.name
    source = each if isinstance(each, Column) else info_of(each)
    if isinstance(source, QueryInfo) and source.parameters:
        raise BadTable(table=name, each=source.name, cause="the query that gives the keys takes arguments")

    def settled() -> Any:
        frame = CURRENT.get()
        return None if frame is None else frame.settle(found)

    fed_by = (
        source.name if isinstance(source, QueryInfo) else f"{source.table.__collection__.name}/{source.name}"
    )
    shape = repr((kind, fed_by, index, identity, version))
    settle = define_query(
        settled, name=f"{name}.members", code="version", version=shape, quiet=True
    ).__query__
    found = CollectionInfo(name, kind, member, source, settle, {}, index, identity, row, into, version)
    settle.collection = found
    for mode in modes:
        found.lookups[mode] = _lookup(found, mode, shape)
    if row is not None:
        _check_names(found)
    return found


def _lookup(found: CollectionInfo, mode: str, shape: str) -> LookupInfo:
    function = functools.partial(_ANSWERS[mode], found)

    def look(*terms: Any) -> Any:
        return function(*terms)

    def key_of(key: Any) -> Any:
        return function(key)

    def nothing() -> Any:
        return function()

    shown: Any = {OF: key_of, FAILURES: nothing}.get(mode, look)
    info = define_query(
        shown,
        name=f"{found.name}.{mode}",
        code="version",
        version=shape,
        largest=LARGEST,
        returns=lambda: _RETURNS[mode](found),
        kind=LookupInfo,
        mode=mode,
        of=found,
    ).__query__
    info.collection = found
    return cast(LookupInfo, info)


def _check_names(found: CollectionInfo) -> None:
    """Refuse columns that rows do not have, as early as the annotations can be read."""
    assert found.row is not None
    try:
        names = field_names(found.name, found.row())
    except NameError:
        return  # a class that is defined below: looked at at first use
    for name in (*found.index, *found.identity):
        if name not in names:
            raise BadTable(
                table=found.name, column=name, cause="rows have no such column", columns=", ".join(names)
            )


def _row_class(function: Any) -> type:
    hints = typing.get_type_hints(function)
    arguments = typing.get_args(hints.get("return"))
    row = arguments[0] if arguments else None
    field_names(f"{function.__module__}:{function.__qualname__}", row)
    return cast(type, row)


def _tuple_of(row: Any) -> Any:
    return tuple[row, ...]


_RETURNS: dict[str, Callable[[CollectionInfo], Any]] = {
    WHERE: lambda found: _tuple_of(found.columns.row),
    STARTING: lambda found: _tuple_of(found.columns.row),
    OF: lambda found: _tuple_of(found.columns.row),
    FIRST: lambda found: typing.Optional[found.columns.row],  # noqa: UP045 -- a class known at run time
    EXISTS: lambda found: bool,
    COUNT: lambda found: int,
    FAILURES: lambda found: tuple[MemberFailure, ...],
}


# -- answers -------------------------------------------------------------------------------------


def keys_of(found: CollectionInfo, fetch: Callable[[QueryInfo, tuple[Any, ...]], Any]) -> Iterable[Any]:
    """The source keys from scratch, each once."""
    if isinstance(found.each, QueryInfo):
        return dict.fromkeys(fetch(found.each, ()))
    source = found.each.table.__collection__
    at = source.columns.names.index(found.each.name)
    several = dict.fromkeys(columns[at] for _, columns in scratch(source, fetch))
    return [source.columns.value(found.each.name, value) for value in several]


def scratch(found: CollectionInfo, fetch: Callable[[QueryInfo, tuple[Any, ...]], Any]) -> Iterator[Found]:
    """All rows, computed from the members: what every other way to get them has to agree with (L4)."""
    for key in keys_of(found, fetch):
        try:
            rows = fetch(found.member, (key,))
        except CycleError:
            raise
        except Exception:
            continue  # L3: told by `of` and `failures`
        source = plain(key)
        for columns in found.columns_of(rows):
            yield source, columns


def matches(
    found: CollectionInfo, terms: tuple[Any, ...], starting: bool
) -> Callable[[tuple[Plain, ...]], bool]:
    """Whether columns are those of a row that a lookup asks for."""
    if starting:
        column, beginning = terms
        place = found.columns.names.index(column)

        def begins(columns: tuple[Plain, ...]) -> bool:
            value = found.columns.value(column, columns[place])
            return isinstance(value, str) and value.startswith(beginning)

        return begins
    wanted = [
        (found.columns.names.index(name), found.columns.encode_one(name, value))
        for name, value in zip(terms[::2], terms[1::2], strict=True)
    ]
    return lambda columns: all(columns[at] == value for at, value in wanted)


def _select(found: CollectionInfo, terms: tuple[Any, ...], starting: bool = False) -> list[Found]:
    """Source and columns of the rows that match, sorted."""
    rows = _matching(found, terms, starting)
    rows.sort(key=lambda row: (order((row[0],)), order(row[1])))
    return rows


def _matching(found: CollectionInfo, terms: tuple[Any, ...], starting: bool = False) -> list[Found]:
    frame = CURRENT.get()
    rows = None if frame is None else frame.select(found, terms, starting)
    if rows is None:
        fits = matches(found, terms, starting)
        rows = [row for row in scratch(found, _fetch(frame)) if fits(row[1])]
    return rows


def _fetch(frame: Frame | None) -> Callable[[QueryInfo, tuple[Any, ...]], Any]:
    return (lambda info, args: info.call(args)) if frame is None else frame.fetch


def _where(found: CollectionInfo, *terms: Any) -> Any:
    return tuple([found.columns.decode(columns) for _, columns in _select(found, terms)])


def _starting(found: CollectionInfo, *terms: Any) -> Any:
    return tuple([found.columns.decode(columns) for _, columns in _select(found, terms, True)])


def _first(found: CollectionInfo, *terms: Any) -> Any:
    rows = _matching(found, terms)
    if not rows:
        return None
    least = min({source for source, _ in rows}, key=lambda source: order((source,)))
    of_it = [columns for source, columns in rows if source == least]
    return found.columns.decode(min(of_it, key=order))


def _exists(found: CollectionInfo, *terms: Any) -> bool:
    return bool(_count(found, *terms))


def _count(found: CollectionInfo, *terms: Any) -> int:
    frame = CURRENT.get()
    number = None if frame is None else frame.count(found, terms)
    return len(_matching(found, terms)) if number is None else number


def _of(found: CollectionInfo, key: Any) -> Any:
    frame = CURRENT.get()
    several = None if frame is None else frame.rows_of(found, key)
    if several is None:
        fetch, wanted = _fetch(frame), canonical((key,))
        is_member = any(canonical((one,)) == wanted for one in keys_of(found, fetch))
        several = found.columns_of(fetch(found.member, (key,))) if is_member else ()
    return tuple([found.columns.decode(columns) for columns in sorted(several, key=order)])


def _failures(found: CollectionInfo) -> Any:
    frame = CURRENT.get()
    known = None if frame is None else frame.failures(found)
    if known is None:
        fetch = _fetch(frame)
        known = []
        for key in keys_of(found, fetch):
            try:
                fetch(found.member, (key,))
            except CycleError:
                raise
            except Exception as error:  # of a member: what is listed
                known.append((short(key), describe(error)))
    return tuple([MemberFailure(*one) for one in sorted(known)])


def describe(error: BaseException) -> str:
    """An error as one line, with the place and the cause that an error of the engine names."""
    try:
        lines = str(error).splitlines()
    except Exception:  # of the user's class: the others would fail with it
        lines = []
    text = lines[0] if lines else ""
    if isinstance(error, EngineError) and error.fields:
        named = [f"{name}: {value}" if name else value for name, value in error.fields.items()]
        text = f"{text} ({', '.join(named)})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_ANSWERS: dict[str, Callable[..., Any]] = {
    WHERE: _where,
    FIRST: _first,
    EXISTS: _exists,
    COUNT: _count,
    STARTING: _starting,
    OF: _of,
    FAILURES: _failures,
}
