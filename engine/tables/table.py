"""Table: a derived collection of rows, one set of rows for each source key, looked up by column.

    @table(each=python_files, index=("name",))
    def definitions(path: str) -> Iterable[Definition]:
        yield from facts(path).definitions

    definitions.where(name="greet")      # in a query: depends on the rows of that name alone

Invariants
    R1  Rows are a set for each source key: what a member gives twice is there once.
    R2  The versions of its queries name its parts (keys, columns, version): with others, they run again.
    R3  What does not fit together is refused where the table is defined, as far as it can be known there.

Not here: what lookups answer (lookup), how rows are kept right and where (collect, kept_table).
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeAlias, TypeVar, cast

from attrs import define, frozen

from engine.define import all_at_once, define_query
from engine.errors import BadTable
from engine.frame import CURRENT
from engine.key import Key, short
from engine.message import EngineError, escaped
from engine.parameters import hints_of, parameters_of
from engine.query import Query, QueryInfo, info_of
from engine.script import module_name
from engine.tables.columns import Columns, Encoded, Plain, record_of_rows
from engine.tables.lookup import (
    COUNT,
    EXISTS,
    FAILURES,
    FIRST,
    MODES,
    OF,
    STARTING,
    WHERE,
    Lookup,
    LookupInfo,
    MemberFailure,
    lookup_of,
    tuple_of,
)

if TYPE_CHECKING:
    from engine.tables.fold import Fold

K = TypeVar("K")
P = ParamSpec("P")
R = TypeVar("R")
Row = TypeVar("Row")


@frozen(eq=False)
class Column(Generic[K]):
    """The values of an indexed column of a table, each once: what `each=` of another table may be."""

    table: Table[Any, Any]
    name: str


SourceKeys: TypeAlias = "Query[[], Iterable[K]] | Fold[Iterable[K]] | Column[K]"
"""What `each=` may be."""


@define(slots=True, eq=False, repr=False)
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
    of: QueryInfo | None = None  # of a fold: what gives the values, which `member` may only read
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

    def made_by(self) -> list[Any]:
        """The functions whose annotations say of which classes rows are, or values, states and results."""
        names = ("zero", "empty", "lift", "add", "merge", "result")
        several = (*(self.of or self.member).made_by(), *(getattr(self.into, name, None) for name in names))
        return [one for one in several if one is not None]

    def columns_of(self, rows: Iterable[Any]) -> tuple[tuple[Plain, ...], ...]:
        """The rows of one member as a set of columns, in the member's order."""
        if type(rows) is Encoded:
            return rows
        return tuple(dict.fromkeys(self.columns.encode(rows)))


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

    def __repr__(self) -> str:
        return f"<Table {escaped(self.__collection__.name)}>"

    def __iter__(self) -> Iterator[Row]:
        """All rows, sorted."""
        return iter(self.where())

    def column(self, name: str) -> Column[Any]:
        """The values of an indexed column, as source keys of another table."""
        if name not in self.__collection__.index:
            self.__collection__.lookups[WHERE].refuse(name)
        return Column(self, name)


def by_name(example: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Of a function that takes its arguments by name: say so to who gives them otherwise."""

    def told(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def called(*args: P.args, **options: P.kwargs) -> R:
            if args:
                raise BadTable(given=short(args[0]), cause="it has no name", hint=f"Say {example}.")
            return function(*args, **options)

        return called

    return told


@by_name('@table(each=keys, index=("name",))')
def table(
    *,
    each: SourceKeys[K],
    index: Iterable[str] = (),
    identity: Iterable[str] = (),
    name: str | None = None,
    version: str | int | None = None,
    workers: Literal["auto", "process", "thread", "inline"] = "auto",
    timeout: float | None = None,
    limit: str | None = None,
) -> Callable[[Callable[[K], Iterable[Row]]], Table[K, Row]]:
    """Make a table of a function that gives the rows of one source key.

    Rows are of an attrs class, a dataclass, a NamedTuple or a Struct, which the return annotation names. They
    live in an SQLite table of their own (see docs/store.md).

    Options:
        each      the source keys: a query without arguments, a fold into a `Set`, or
                  `other.column("name")`, which costs one lookup for each key that comes or goes, whatever
                  their number.
        index     the columns that rows are looked up by.
        identity  the columns that say which row it is: in a change feed a row whose other columns changed
                  is then a changed row, not a removed and an added one.
        name, version, workers, timeout, limit   as for `query`; it is the query of one source key.

    Raises `BadTable`.
    """
    for option, columns in {"index": index, "identity": identity}.items():
        if isinstance(columns, str):
            raise BadTable(cause=f"{option}= takes several names", hint=f'Say {option}=("{columns}",).')
    index, identity = tuple(index), tuple(identity)

    def make(function: Callable[[K], Iterable[Row]]) -> Table[K, Row]:
        options = {"name": name, "version": version, "workers": workers, "timeout": timeout, "limit": limit}
        with all_at_once():
            return Table(_collection(function, each, index, identity, options))

    return make


def _collection(
    function: Any,
    each: Any,
    index: tuple[str, ...],
    identity: tuple[str, ...],
    options: dict[str, Any],
) -> CollectionInfo:
    if not inspect.isfunction(function) or len(parameters_of(function)) != 1:
        raise BadTable(
            table=getattr(function, "__qualname__", function),
            cause="it is not a function of one argument",
            hint="A table is made of a function that takes a source key and gives its rows.",
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise BadTable(table=function.__qualname__, cause="it is async", hint="Make it a plain function.")

    @functools.wraps(function)
    def member(key: Any) -> Any:
        return tuple(function(key))

    row = functools.cache(functools.partial(_row_class, function))
    info = define_query(
        member,
        persist=False,
        needs_bytes=True,
        returns=lambda: tuple_of(row()),
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
    if not callable(each) and not isinstance(each, Column):  # what `each=glob("*.txt")` says
        raise BadTable(
            table=name,
            each=short(each),
            cause="it is a value, not the query that gives the keys",
            hint="Give `each=` a query without arguments, which returns this.",
        )
    refuse_function("each", each, BadTable, table=name)
    source = each if isinstance(each, Column) else info_of(each)
    if isinstance(source, QueryInfo) and source.parameters:
        raise BadTable(
            table=name,
            each=source.name,
            cause="the query that gives the keys takes arguments",
            hint="Give `each=` a query without arguments, which may call this one.",
        )

    def settled() -> Any:
        frame = CURRENT.get()
        return None if frame is None else frame.settle(found)

    fed_by = (
        source.name if isinstance(source, QueryInfo) else f"{source.table.__collection__.name}/{source.name}"
    )
    shape = repr((kind, member.name, fed_by, index, identity, version))
    settle = define_query(
        settled, name=f"{name}.members", code="version", version=shape, quiet=True
    ).__query__
    found = CollectionInfo(name, kind, member, source, settle, {}, index, identity, row, into, version)
    settle.collection = found
    for mode in modes:
        found.lookups[mode] = lookup_of(found, mode, shape)
    if row is not None:
        _check_names(found)
    return found


def refuse_function(option: str, given: Any, kind: type[EngineError], **where: str) -> None:
    """Raise an error of a kind where a plain function is given for a query."""
    if inspect.isfunction(given) and not hasattr(given, "__query__"):
        cause = "it is a function, and no query"
        hint = f"Write @query over a function with a name, and give `{option}=` that."
        raise kind(**where, **{option: short(given)}, cause=cause, hint=hint)


def _check_names(found: CollectionInfo) -> None:
    """Refuse columns that rows do not have, as early as the annotations can be read."""
    assert found.row is not None
    try:
        names = record_of_rows(found.name, found.row()).names
    except BadTable as error:
        if error.__cause__ is None:
            raise
        return  # a class that is defined below, or in a module that imports this one: looked at at first use
    for name in (*found.index, *found.identity):
        if name not in names:
            raise BadTable(
                table=found.name, column=name, cause="rows have no such column", columns=", ".join(names)
            )


def _row_class(function: Any) -> type:
    name = f"{module_name(function.__module__)}:{function.__qualname__}"
    hints = hints_of(function, BadTable, extras=False, table=name)
    arguments = typing.get_args(hints.get("return"))
    row = arguments[0] if arguments else None
    record_of_rows(name, row)
    return cast(type, row)
