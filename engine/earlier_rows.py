"""Earlier rows: what a member of a table gave when a memo of it held. Its value is stored as rows only.

Invariants
    R1  Rows are those of the table's present shape and of the memo's fingerprint, or there are none.
    R2  The order of the rows is not kept: only a table may be given them, to which they are a set.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from engine.core import Core
from engine.graph import UNSTORED
from engine.persist import readers_of
from engine.store.canonical import UnknownClass, pack, unpack
from engine.tables.columns import Columns, Encoded
from engine.tables.kept_table import KeptTable


def pack_rows(core: Core, node: int) -> bytes:
    """The rows of a member as they are kept now; b"" where it has none, see `has_rows`."""
    one = _kept_in(core, node)
    return b"" if one is None else pack((one.shape, tuple(one.kept.of(node))))


def has_rows(core: Core, node: int) -> bool:
    """Whether it is a member of one table alone, which has its rows already."""
    return _kept_in(core, node) is not None


def unpack_rows(core: Core, node: int, packed: bytes) -> tuple[Any, ...] | None:
    """The value of a member that gives these rows; None: the table or its row class is another one now."""
    columns, rows = _unpacked(core, node, packed)
    return None if columns is None else _decoded(columns, rows)


def unpack_for_table(core: Core, node: int, packed: bytes) -> tuple[Any, ...] | None:
    """The same for `Collection.take`: of columns that are as the table keeps them no rows are made."""
    columns, rows = _unpacked(core, node, packed)
    if columns is None:
        return None
    return Encoded(rows) if columns.is_plain else _decoded(columns, rows)


def gives_rows(core: Core, node: int) -> bool:
    """Whether the value of a node is kept as rows and nowhere else."""
    return core.graph.query[node] in core.queries.of_members and bool(core.graph.flags[node] & UNSTORED)


def _unpacked(core: Core, node: int, packed: bytes) -> tuple[Columns | None, tuple[Any, ...]]:
    one = _table_of(core, node)
    if one is None or not packed:
        return None, ()
    shape, rows = unpack(packed, {})
    info = one.definition
    if info is None or shape != one.shape or json.loads(shape)["types"] != info.columns.shape:
        return None, ()
    return info.columns, rows


def _decoded(columns: Columns, rows: tuple[Any, ...]) -> tuple[Any, ...] | None:
    with suppress(UnknownClass):  # in a column that may hold anything
        return tuple([columns.decode(row) for row in rows])
    return None


def _table_of(core: Core, node: int) -> KeptTable | None:
    found = [core.collections[reader] for reader in readers_of(core, node) if reader in core.collections]
    one = found[0] if len(found) == 1 else None
    return one if isinstance(one, KeptTable) else None


def _kept_in(core: Core, node: int) -> KeptTable | None:
    one = _table_of(core, node)
    return None if one is None or node in one.missed or one.definition is None else one
