"""Scratch: the source keys and the rows of a collection, computed from nothing that is kept (lookup L4).

Invariants
    C1  Source keys are told apart as arguments are: 1, True and 1.0 are three of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from engine.errors import BadTable, CycleError
from engine.key import short
from engine.query import QueryInfo
from engine.store.canonical import canonical
from engine.tables.columns import Found, plain

if TYPE_CHECKING:
    from engine.tables.table import CollectionInfo

Fetch: TypeAlias = Callable[[QueryInfo, tuple[Any, ...]], Any]


def several_keys(found: CollectionInfo, given: Any) -> Iterable[Any]:
    """What the query of `each=` gave, if that is several keys. A text would be taken for its characters."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise BadTable(
            table=found.name,
            each=getattr(found.each, "name", None),
            cause=f"the query that gives the keys gave one value: {short(given)}",
            hint="Let it return a tuple of keys.",
        )
    return given


def keys_of(found: CollectionInfo, fetch: Fetch) -> Iterable[Any]:
    """The source keys, each once (C1)."""
    if isinstance(found.each, QueryInfo):
        return {canonical((key,)): key for key in several_keys(found, fetch(found.each, ()))}.values()
    source = found.each.table.__collection__
    at = source.columns.names.index(found.each.name)
    several = dict.fromkeys(columns[at] for _, columns in scratch(source, fetch))
    return [source.columns.value(found.each.name, value) for value in several]


def scratch(found: CollectionInfo, fetch: Fetch) -> Iterator[Found]:
    """All rows, computed from the members: what every other way to get them has to agree with.

    Members are a group: all are asked for, also behind one that is a cycle, for another one may be on it too.
    """
    closed: CycleError | None = None
    for key in keys_of(found, fetch):
        try:
            rows = fetch(found.member, (key,))
        except CycleError as error:
            closed = closed or error
            continue
        except Exception:  # of a member: told by `of` and `failures` (lookup L3)
            continue
        source = plain(key)
        for columns in found.columns_of(rows):
            yield source, columns
    if closed is not None:
        raise closed
