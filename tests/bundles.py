"""Observed inputs of a small store, by its bundles and by its rows, and the SQL that it executes."""

from __future__ import annotations

from engine.store import Batch, InputRow, NodeRow
from engine.store.canonical import canonical
from engine.store.observed import RANGE_BITS
from engine.store.sqlite import Store

RANGE = 1 << RANGE_BITS
OBSERVED = 64


def node(id: int, args: tuple[object, ...] | None = None, flags: int = OBSERVED) -> NodeRow:
    packed = canonical((f"file {id}",) if args is None else args)
    return NodeRow(id, id % 2 + 1, packed, flags, 1, 1, 0, 0, 0, b"", b"", None)


def written(store: Store, *ids: int, stamp: bytes = b"first") -> None:
    store.write(Batch(nodes=[node(id) for id in ids], inputs=[InputRow(id, stamp) for id in ids]))


def in_bundles(store: Store) -> dict[int, tuple[int, bytes, bytes]]:
    """Query, arguments and stamp of every input, by the bundles."""
    found = {}
    for bundle in store.bundles():
        args = bundle.args or [canonical((text,)) for text in bundle.texts or ()]
        for id, one, stamp in zip(bundle.nodes, args, bundle.stamps, strict=True):
            assert id not in found
            found[id] = bundle.query, one, stamp
    return found


def in_rows(store: Store) -> dict[int, tuple[int, bytes, bytes]]:
    return {row.id: (row.query, row.args, row.stamp) for row in store.inputs()}


def count_bundles(store: Store) -> int:
    return store.statistics().rows["observed"]


class Statements(list[str]):
    """The SQL that a store executes from now on."""

    def __init__(self, store: Store) -> None:
        store.connection.set_trace_callback(self.append)

    def count_of(self, part: str) -> int:
        return sum(part in one for one in self)
