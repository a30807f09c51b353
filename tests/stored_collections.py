"""A table and a fold as a store has them, what it can be asked of them, and the statements of it."""

from __future__ import annotations

import json
from typing import Any

from engine.store import Batch, BlockRow, ChangeRow, CollectionRow, CursorRow, MemberRow, MemberRows
from engine.store.sqlite import Store
from tests.stores import graph

TABLE, FOLD = 17, 18
COLUMNS = ("name", "kind", "line")


def collection(
    id: int = TABLE,
    name: str = "shop.rules:definitions",
    columns: tuple[str, ...] = COLUMNS,
    index: tuple[str, ...] = ("name",),
    patterns: bytes = b"",
) -> CollectionRow:
    shape = json.dumps({"columns": list(columns), "index": list(index)})
    return CollectionRow(id, name, "table", shape, patterns)


def fold(id: int = FOLD) -> CollectionRow:
    shape = json.dumps({"columns": [], "index": [], "into": "Sum"})
    return CollectionRow(id, "shop.rules:line_total", "fold", shape, b"p")


def rows_of(
    member: int,
    *rows: tuple[Any, ...],
    fresh: bool = False,
    table: int = TABLE,
    gone: list[tuple[int, bytes]] | None = None,
) -> MemberRows:
    return MemberRows(table, member, f"path/{member}.py", rows, fresh, gone)


def filled() -> Batch:
    """A table with members 1..6, each with 3 rows, and a fold of them, next to a graph of 20 nodes."""
    batch = graph(20)
    batch.collections = [collection(patterns=b"pattern"), fold()]
    batch.members = [
        MemberRow(id, member, b"data %d" % member) for id in (TABLE, FOLD) for member in range(1, 7)
    ]
    batch.rows = [
        rows_of(m, *((f"name_{m}_{i}", ("function", None)[i % 2], m * i) for i in range(3)), fresh=True)
        for m in range(1, 7)
    ]
    batch.blocks = [BlockRow(FOLD, level, b"key %d" % key, b"block") for level in (0, 1) for key in range(4)]
    batch.changes = [ChangeRow(i, TABLE, 1, 1 if i % 3 else -1, b"change %d" % i) for i in range(1, 9)]
    batch.cursors = [CursorRow(TABLE, "index", 4, 1, b"cursor"), CursorRow(5, "feed", 1, 1, b"")]
    return batch


VALUES = (
    *(None, 0, 1, -1, 1 << 62, -(1 << 63), (1 << 63) - 1, 0.0, -0.0, 1.0, 1e300, float("inf"), -5e-324),
    *("", "0", "a\0b", "\0", "é", "\ud7ff", "\ue000", "\U0010ffff", "x" * 5000, "'\"--\n"),
    *(b"", b"\0", b"a", bytes(range(256)), b"1"),
)


def collected(store: Store) -> tuple[object, ...]:
    """All that a store can be asked of its collections."""
    derived = store.derived
    ids = [row.id for row in derived.collections()]
    return (
        derived.collections(), [derived.members(id) for id in ids],
        [sorted(derived.select(id, []), key=repr) for id in ids],
        derived.blocks(FOLD, [(level, b"key %d" % key) for level in range(3) for key in range(9)]),
        [derived.changes(id, 0, 1000) for id in (*ids, 5)], derived.last_change(),
        [derived.cursors(id) for id in (*ids, 5)],
    )  # fmt: skip


def statements(store: Store) -> list[str]:
    """Every statement that the store executes from now on."""
    found: list[str] = []
    store.connection.set_trace_callback(found.append)
    return found
