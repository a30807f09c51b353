"""Shared: values that several workers are likely to need go with the batches, before anybody asks.

A worker that needs what another one computed would compute it again, or ask, which takes a message there and
one back; a value that travels along costs some two microseconds on either side.

Invariants
    G1  What is given holds in the current revision, as the memo that a worker asked for would.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from engine.core import Core
from engine.graph import ERROR, MARKED, TRANSIENT, entries
from engine.parallel.slot import Slot
from engine.parallel.units import Given
from engine.store import canonical

GIVE_US: Final = 50  # what a key has to cost to be given
BYTES_FOR_US: Final = 100  # bytes that may be given for each microsecond that their key costs
AGAIN: Final = 0.02  # the part of the keys of a query that was computed twice, from which on they are given


@define
class _Made:
    """The keys of one query that workers computed in passing."""

    nodes: list[tuple[int, int]] = field(factory=list)  # with the epoch of the worker that made each
    again: int = 0  # how many were computed once more


class Shared:
    """Which values of one engine its workers are given, in one generation."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._made: dict[int, _Made] = {}  # by row of a query

    def start(self) -> None:
        """A new generation."""
        self._made.clear()

    def made(self, node: int, epoch: int) -> None:
        """A worker computed a key on the way to another one. Inputs are cheap to look at there too."""
        row = self._core.graph.query[node]
        info = self._core.bound[row]
        if info is not None and not info.is_input:
            self._of(row).nodes.append((node, epoch))

    def made_again(self, node: int) -> None:
        """A worker computed what is known here."""
        self._of(self._core.graph.query[node]).again += 1

    def news(self, slot: Slot) -> list[Given]:
        """Values that others made and that a worker was not given yet."""
        found: list[Given] = []
        for row, made in self._made.items():
            if made.again > len(made.nodes) * AGAIN:
                start, slot.heard[row] = slot.heard.get(row, 0), len(made.nodes)
                for node, epoch in made.nodes[start:]:
                    if epoch != slot.epoch:
                        self._give(node, slot, found)
        return found

    def below(self, node: int, slot: Slot) -> list[Given]:
        """Values that a key that goes out read when it last ran: it will likely read them again."""
        found: list[Given] = []
        graph = self._core.graph
        for read in entries(graph.dependencies[node] or ()):
            info = self._core.bound[graph.query[read]]
            if info is not None and not info.is_input and read not in slot.given:
                self._give(read, slot, found)
        return found

    def _of(self, row: int) -> _Made:
        made = self._made.get(row)
        if made is None:
            made = self._made[row] = _Made()
        return made

    def _give(self, node: int, slot: Slot, found: list[Given]) -> None:
        core, graph = self._core, self._core.graph
        if graph.status[node] & MARKED or graph.flags[node] & (ERROR | TRANSIENT):
            return  # G1
        data = core.dirty.get(node)  # what is in the store already was made long ago: too late, and slow
        cost = graph.cost[node]
        if data is None or cost < GIVE_US or len(data) > cost * BYTES_FOR_US:
            return
        args = canonical.canonical(core.args_of(node))
        name = core.name_of_row[graph.query[node]]
        found.append(Given(node, name, args, graph.fingerprint[node], data))
        slot.given.add(node)
        slot.received += len(data)
