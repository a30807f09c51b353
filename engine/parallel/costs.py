"""Costs: what keys take, as far as that is known.

The cost in a memo is that of a run with all that ran below it for the first time. A key that runs again finds
most of that there: see `test_what_a_key_finds_ready_is_none_of_its_cost`. So a few run here first, and what
they take is compared with what their memos say: the median of them, since the first one may find nothing in
memory, and any of them may have waited for a busy machine.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import Final

from attrs import define, field

from engine.core import Core

SAMPLE: Final = 4  # keys of a query that run here first, to learn what one costs


@define
class _Cost:
    """Of one query: runs, and microseconds; of some with a memo, what they took by what that said."""

    runs: int = 0
    total: int = 0  # of all
    dearest: int = 0  # of one
    ratios: list[float] = field(factory=list)  # ascending


class Costs:
    """What the queries of one engine take.

    A query that asks for itself, as walks of trees do, would seem cheap by the many small keys that each of
    its large ones rests on: while some run here to learn the cost, only these count.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._costs: dict[int, _Cost] = {}  # by row of a query
        self._said: dict[int, int] = {}  # nodes that run here to learn it -> what their memos say
        self._first: dict[int, int] = {}  # such nodes without a memo -> rows of their queries

    def compare(self, nodes: Iterable[int]) -> None:
        """These run now: what they take tells of others of their queries. None: they have run."""
        graph = self._core.graph
        self._said = {node: graph.cost[node] for node in nodes if graph.verified_at[node]}
        self._first = {node: graph.query[node] for node in nodes if not graph.verified_at[node]}

    def made(self, node: int, microseconds: int) -> None:
        """A memo was made, here or elsewhere."""
        row = self._core.graph.query[node]
        if self._first and self._first.pop(node, None) is None and row in self._first.values():
            return  # one of those rests on it. See test_what_a_query_asks_of_itself_is_none_of_its_average
        known = self._costs.get(row)
        if known is None:
            known = self._costs[row] = _Cost()
        if node in self._said:
            insort(known.ratios, microseconds / (self._said.pop(node) + 1))
        known.runs += 1
        known.total += microseconds
        known.dearest = max(known.dearest, microseconds)

    def of(self, node: int) -> float | None:
        """Microseconds that a key takes; None: not known yet."""
        graph = self._core.graph
        known = self._costs.get(graph.query[node])
        if known is None:
            return None
        if graph.verified_at[node]:
            ratios = known.ratios
            return graph.cost[node] * ratios[(len(ratios) - 1) // 2] if ratios else None
        # Without the dearest, which may be the one that brought up to date what all of them look into.
        return (known.total - known.dearest) / (known.runs - 1) if known.runs >= SAMPLE else None
