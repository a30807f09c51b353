"""Feed: what changed in a table or in a key's value, one delta after the other, as JSON and as lines.

Invariants
    F1  A document is the same, whoever computes it: the command itself or the watch that it asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine import Engine, Key
    from engine.tables.changes import Delta
    from engine.value_changes import NewValue


class Feed:
    """The changes of the table or key that `key` stands for, for one consumer; see `Engine.changes`."""

    def __init__(self, db: Engine, key: Key[Any], cursor: str, after: str | None) -> None:
        from engine import Table

        collection = key.query.collection
        self._name = str(key)
        self._columns: tuple[str, ...] | None = None
        what: Any = key
        if collection is not None and collection.settle is key.query and collection.kind == "table":
            what = Table(collection)
            self._columns = collection.columns.names
        self._feed: Any = db.changes(what, since=cursor, after=after)

    @property
    def is_new(self) -> bool:
        """Whether nobody of that name had a cursor before."""
        return bool(self._feed.is_new)

    def next(self) -> tuple[dict[str, Any], Any] | None:
        """The next delta, as a document and as it is; None where there is none now."""
        delta = next(iter(self._feed), None)
        return None if delta is None else (self._document(delta), delta)

    def acknowledge(self, delta: Any) -> None:
        """This delta was dealt with: it is never told again."""
        self._feed.acknowledge(delta)

    def close(self) -> None:
        """Give the cursor up."""
        self._feed.close()

    def _document(self, delta: Any) -> dict[str, Any]:
        return self._of_value(delta) if self._columns is None else self._of_rows(delta)

    def _of_rows(self, delta: Delta[Any]) -> dict[str, Any]:
        from engine.cli.output import SCHEMA

        return {
            "schema": SCHEMA,
            "table": self._name,
            "revision": delta.revision,
            "position": delta.position,
            "reset": delta.reset,
            "added": [self._row(row) for row in delta.added],
            "removed": [self._row(row) for row in delta.removed],
            "changed": [
                {"before": self._row(before), "after": self._row(after)} for before, after in delta.changed
            ],
        }

    def _row(self, row: Any) -> dict[str, Any]:
        from engine.cli.output import plain

        assert self._columns is not None
        return {name: plain(getattr(row, name)) for name in self._columns}

    def _of_value(self, new: NewValue[Any]) -> dict[str, Any]:
        from engine.cli.output import SCHEMA, plain
        from engine.failure import describe

        return {
            "schema": SCHEMA,
            "key": self._name,
            "revision": new.revision,
            "position": new.position,
            "value": None if new.error is not None else plain(new.value),
            "error": None if new.error is None else describe(new.error),
        }


def json_line(document: dict[str, Any]) -> str:
    """A document as one line of ASCII."""
    import json

    return json.dumps(document, sort_keys=True, allow_nan=False)


def lines(document: dict[str, Any]) -> Iterator[str]:
    """A document for people: the revision, then what came (+), went (-), and became another one (~)."""
    from engine.cli.output import shown
    from engine.message import escaped

    heading = f"R{document['revision']} {escaped(document.get('table', document.get('key')))}"
    if "table" not in document:
        yield heading + (f" failed: {escaped(document['error'])}" if document["error"] else "")
        yield from (f"  {line}" for line in shown(document["value"]) if document["error"] is None)
        return
    yield heading + (", all rows" if document["reset"] else "")
    yield from (f"- {_shown(row)}" for row in document["removed"])
    yield from (f"~ {_shown(one['before'])} -> {_shown(one['after'])}" for one in document["changed"])
    yield from (f"+ {_shown(row)}" for row in document["added"])


def _shown(row: dict[str, Any]) -> str:
    from engine.message import escaped

    return escaped(", ".join(f"{name}={value!r}" for name, value in row.items()))
