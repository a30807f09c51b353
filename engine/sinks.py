"""Sinks: something outside that is kept as a table is, by its change feed.

    with FullText(path, {"text": 1.0}) as file:
        drain(db, definitions, FullTextSink(file, lambda row: (row.text,)), "search")

Invariants
    K1  A sink keeps its position together with what it made of the deltas up to there, both or none. So it
        may be killed anywhere: nothing is lost and nothing is applied twice.
    K2  Where a sink cannot go on (its position is of another store, it is older than what was acknowledged,
        or it has none), it begins anew with all rows.
    K3  A delta is acknowledged after it was applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from engine.errors import BadArguments, BadCursor, BadTable
from engine.key import short
from engine.tables.table import Table

if TYPE_CHECKING:
    from engine.database import Engine
    from engine.store.fulltext import FullText
    from engine.tables.changes import Delta

Row = TypeVar("Row")
TRIES: Final = 5  # while others feed the same sink


class Sink(Protocol[Row]):
    """What is kept by a feed."""

    def position(self) -> str | None:
        """The `position` of the last delta that was applied; None: none was."""
        ...

    def apply(self, delta: Delta[Row]) -> None:
        """Take a delta over, and its position, in one transaction (K1).

        With `delta.reset`, what was there before goes. `BadCursor`: somebody else went on meanwhile.
        """
        ...


def drain(db: Engine, table: Table[Any, Row], sink: Sink[Row], name: str) -> int:
    """Bring a sink up to date with a table, as the consumer `name`; how many deltas that took."""
    _check_table(table, name)
    return pour(lambda after: _deltas(db, table, name, after), sink)


def pour(deltas: Callable[[str | None], Iterable[Delta[Row]]], sink: Sink[Row]) -> int:
    """Apply to a sink the deltas after its position. `deltas(None)` begins anew, with a reset."""
    _check_sink(sink)
    applied = 0
    for _ in range(TRIES):
        position = sink.position()
        try:
            for delta in deltas(position):
                sink.apply(delta)
                applied += 1
            return applied
        except BadCursor:
            if position is None or sink.position() != position:
                continue  # another process feeds it too: from where it is now
        try:
            for delta in deltas(None):
                sink.apply(delta)
                applied += 1
            return applied
        except BadCursor:
            continue
    raise BadCursor(cause="others feed the same sink all the time", hint="Let one process do it.")


def _check_table(table: object, name: str) -> None:
    if not isinstance(table, Table):  # `db.changes` would tell of a value, which has no rows
        hint = "Of a value, ask db.changes(key, since=name), and keep what it tells."
        raise BadTable(f"{short(table)} is not a table", consumer=name, hint=hint)


def _check_sink(sink: object) -> None:
    lacking = [name for name in ("position", "apply") if not callable(getattr(sink, name, None))]
    if not lacking and not isinstance(sink, type):
        return
    cause = f"it lacks {', '.join(lacking)}" if lacking else "it is a class, and not one of its objects"
    hint = "A sink has position() and apply(delta), as engine.sinks.Sink says."
    raise BadArguments(sink=short(sink), cause=cause, hint=hint)


def _deltas(db: Engine, table: Table[Any, Row], name: str, after: str | None) -> Iterator[Delta[Row]]:
    if after is None:
        db.changes(table, since=name).close()  # whatever it was told: it has nothing (K2)
    yield from db.changes(table, since=name, after=after)


class FullTextSink(Generic[Row]):
    """A full-text index as a sink. `texts`: the columns of a row, in the order of the index."""

    def __init__(self, index: FullText, texts: Callable[[Row], tuple[str, ...]]) -> None:
        self._index = index
        self._texts = texts

    def position(self) -> str | None:
        """See `Sink.position`."""
        return self._index.position()

    def apply(self, delta: Delta[Row]) -> None:
        """See `Sink.apply`."""
        gone = [*delta.removed, *(before for before, _ in delta.changed)]
        came = [*delta.added, *(after for _, after in delta.changed)]
        self._index.apply(
            delta.position,
            removed=map(self._texts, gone),
            added=map(self._texts, came),
            reset=delta.reset,
        )
