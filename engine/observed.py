"""Observed: the observed inputs and their stored stamps, by node.

A start takes all of them from the store, compares their stamps in the bundles in which they lie there, and
nearly always that is the end of it. So they stay in their bundles until somebody wants to know more.

Invariants
    V1  What is noted here is newer than what a bundle says.
    V2  Taking a bundle over again changes nothing: an interrupt may strike amid it.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, MutableMapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.graph import Graph
    from engine.store.bundles import Bundle


class Observed(MutableMapping[int, bytes]):
    """Node -> stored stamp. In the order in which they came."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self._stamps: dict[int, bytes] = {}
        self._bundles: list[tuple[Graph, Bundle]] = []

    def take_over(self, graph: Graph, bundle: Bundle) -> None:
        """Inputs that the store knows. Once somebody asks: also the queries and arguments of their nodes."""
        self._bundles.append((graph, bundle))

    @property
    def stamps(self) -> dict[int, bytes]:
        """All of them, as a plain dict: for who goes through many."""
        if self._bundles:
            with self._lock:
                bundles = self._bundles
                for graph, bundle in bundles:
                    self._open(graph, bundle)
                self._bundles = []  # last: see V2
        return self._stamps

    def _open(self, graph: Graph, bundle: Bundle) -> None:
        query, args = graph.query, graph.args
        nodes = bundle.nodes
        called: Sequence[str | bytes] = bundle.texts or bundle.args or ()
        for node, known in zip(nodes, called, strict=True):
            query[node] = bundle.query
            if args[node] is None:
                args[node] = known
        fresh = dict(zip(nodes, bundle.stamps, strict=True))
        if not self._stamps.keys().isdisjoint(nodes):
            fresh.update({node: self._stamps[node] for node in nodes if node in self._stamps})
        self._stamps.update(fresh)

    def __setitem__(self, node: int, stamp: bytes) -> None:
        self._stamps[node] = stamp

    def __getitem__(self, node: int) -> bytes:
        return self.stamps[node]

    def __delitem__(self, node: int) -> None:
        del self.stamps[node]

    def __iter__(self) -> Iterator[int]:
        return iter(self.stamps)

    def __len__(self) -> int:
        return len(self.stamps)

    def items(self) -> ItemsView[int, bytes]:
        return self.stamps.items()

    def clear(self) -> None:
        self._bundles = []
        self._stamps.clear()
