"""Lookups: the ways to look into a table, each a query, and their answers from scratch.

Invariants
    L1  A lookup is a query whose value is a function of the rows that match it: no other row concerns it,
        and no row at all is an answer too.
    L2  Answers are sorted by source key, then by columns.
    L3  A member that fails has no rows. `of` raises its error, `failures` lists it.
    L4  Outside an engine, and in a snapshot, a lookup is made from scratch: that defines what is right.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar, cast

from attrs import define, frozen

from engine.define import define_query
from engine.errors import BadLookup, CycleError, WrongColumn
from engine.failure import describe
from engine.frame import CURRENT, Frame
from engine.key import Key, short
from engine.message import EngineError, escaped
from engine.query import QueryInfo
from engine.store.canonical import canonical
from engine.tables.columns import Found, Plain, in_order, order
from engine.tables.scratch import Fetch, keys_of, scratch

if TYPE_CHECKING:
    from engine.tables.table import CollectionInfo

R_co = TypeVar("R_co", covariant=True)

WHERE, FIRST, EXISTS, COUNT, STARTING = "where", "first", "exists", "count", "starting"
OF, FAILURES = "of", "failures"
LARGEST: Final = 16_384  # bytes of an answer that are stored again: some hundred rows
MODES: Final = (WHERE, FIRST, EXISTS, COUNT, STARTING)


@frozen
class MemberFailure:
    """A source key whose rows could not be computed, as people read it, and why."""

    source: str
    error: str


@define(slots=True, eq=False, repr=False)
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
                self.refuse(name)
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

    def refuse(self, name: str) -> NoReturn:
        """Raise what is wrong with looking up a column that is not indexed."""
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
        """See `QueryInfo.call`. It may be a memo of a column that is indexed no more, or of another type now.

        Nobody asks by that any more, and no row that comes or goes finds it: it is refused. See
        test_a_lookup_by_a_value_that_the_column_takes_for_another_one_now_is_refused.
        """
        indexed = set(self.of.index).issuperset(args[::2])
        if self.mode in MODES and not (
            indexed and self.mode != STARTING and all(type(one) is str for one in args)
        ):
            bound = self.bind(args, {})
            if canonical(bound) != canonical(args):
                raise WrongColumn(table=self.of.name, looked_for=short(args), taken_for=short(bound))
        return self.function(*args)


class Lookup(Generic[R_co]):
    """One way to look into a table: a query by columns. `db.get(definitions.where, name="greet")`."""

    def __init__(self, info: LookupInfo) -> None:
        self.__query__ = info
        self.__name__ = info.mode
        info.wrapper = self

    def __repr__(self) -> str:
        return f"<Lookup {escaped(self.__query__.name)}>"

    def __reduce__(self) -> NoReturn:
        """Refused when it is pickled, not when it is read."""
        raise BadLookup(
            lookup=self.__query__.name,
            cause="a lookup cannot be pickled: no module knows it by a name",
            hint="Send the values of its columns, and make its key where they arrive.",
        )

    def __call__(self, *args: Any, **columns: Any) -> R_co:
        """The answer; inside a query it is recorded as a dependency."""
        info = self.__query__
        frame = CURRENT.get()
        try:
            bound = info.bind(args, columns)
        except EngineError as error:
            if frame is None or args:
                raise
            bound = tuple([part for pair in columns.items() for part in pair])
            try:
                canonical(bound)
            except EngineError:
                raise error from None
            # It fails, in a memo: another definition of the table forces that, and so who looked. See
            # test_a_lookup_that_is_refused_runs_again_when_the_table_has_the_column.
        return cast(R_co, info.function(*bound) if frame is None else frame.fetch(info, bound))

    def key(self, *args: Any, **columns: Any) -> Key[R_co]:
        """Names this answer without computing it."""
        try:
            return Key(self.__query__, self.__query__.bind(args, columns))
        except EngineError:
            self(*args, **columns)  # raises that too, and within a query a memo fails so
            raise


def lookup_of(found: CollectionInfo, mode: str, shape: str) -> LookupInfo:
    """Define the query of one way to look into a table. `shape`: what its answers depend on beside rows."""
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


def tuple_of(row: Any) -> Any:
    """The type of any number of rows."""
    return tuple[row, ...]


_RETURNS: dict[str, Callable[[CollectionInfo], Any]] = {
    WHERE: lambda found: tuple_of(found.columns.row),
    STARTING: lambda found: tuple_of(found.columns.row),
    OF: lambda found: tuple_of(found.columns.row),
    FIRST: lambda found: typing.Optional[found.columns.row],  # noqa: UP045 -- a class known at run time
    EXISTS: lambda found: bool,
    COUNT: lambda found: int,
    FAILURES: lambda found: tuple[MemberFailure, ...],
}


# -- answers -------------------------------------------------------------------------------------


def told(error: Exception) -> str:
    """An error as `failures` says it: in a store, which holds no lone surrogate, and from scratch."""
    return describe(error).encode("utf-8", "replace").decode()


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
    return in_order(_matching(found, terms, starting))


def _matching(found: CollectionInfo, terms: tuple[Any, ...], starting: bool = False) -> list[Found]:
    frame = CURRENT.get()
    rows = None if frame is None else frame.select(found, terms, starting)
    if rows is None:
        fits = matches(found, terms, starting)
        rows = [row for row in scratch(found, _fetch(frame)) if fits(row[1])]
    return rows


def _fetch(frame: Frame | None) -> Fetch:
    return (lambda info, args: info.call(args)) if frame is None else frame.fetch_rows


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
                known.append((short(key), told(error)))
    return tuple([MemberFailure(*one) for one in sorted(known)])


_ANSWERS: dict[str, Callable[..., Any]] = {
    WHERE: _where,
    FIRST: _first,
    EXISTS: _exists,
    COUNT: _count,
    STARTING: _starting,
    OF: _of,
    FAILURES: _failures,
}
