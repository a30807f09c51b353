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
from engine.graph import ERROR, MARKED, REACH, TRANSIENT, entries
from engine.parallel.held import bytes_of
from engine.parallel.slot import Slot
from engine.parallel.units import Given
from engine.store import canonical
from engine.store.codec import DamagedValue
from engine.tables.lookup import LookupInfo

GIVE_US: Final = 50  # what a key has to cost to be given
LOAD_US: Final = 200  # and where its value may have to be read from the store first
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
        """A worker computed a key on the way to another one. Inputs and lookups are cheap there too."""
        row = self._core.graph.query[node]
        info = self._core.queries.bound[row]
        if info is not None and not info.is_input and not isinstance(info, LookupInfo):
            self._of(row).nodes.append((node, epoch))

    def made_again(self, node: int) -> bool:
        """A worker computed what is known here. False for an input, which is a part of its reader."""
        row = self._core.graph.query[node]
        info = self._core.queries.bound[row]
        if info is None or info.is_input:
            return False
        if not isinstance(info, LookupInfo):
            self._of(row).again += 1
        return True

    def news(self, slot: Slot) -> list[Given]:
        """Values that others made and that a worker was not given yet."""
        found: list[Given] = []
        for row, made in self._made.items():
            if made.again > len(made.nodes) * AGAIN:
                start, slot.heard[row] = slot.heard.get(row, 0), len(made.nodes)
                for node, epoch in made.nodes[start:]:
                    # What is in the store already was made long ago: it would come too late, and slowly.
                    if epoch != slot.epoch and node in self._core.unsaved.nodes:
                        self._give(node, slot, found)
        return found

    def below(self, node: int, slot: Slot) -> list[Given]:
        """Values that a key that goes out read when it last ran: it will likely read them again."""
        found: list[Given] = []
        graph = self._core.graph
        for read in entries(graph.below(node)):
            info = self._core.info_of(read)
            if info is not None and not info.is_input and graph.cost[read] >= LOAD_US:
                self._give(read, slot, found)
        return found

    def _of(self, row: int) -> _Made:
        made = self._made.get(row)
        if made is None:
            made = self._made[row] = _Made()
        return made

    def _give(self, node: int, slot: Slot, found: list[Given]) -> None:
        core, graph = self._core, self._core.graph
        flags, cost = graph.flags[node], graph.cost[node]
        if (
            graph.status[node] & MARKED
            or flags & (ERROR | TRANSIENT)
            or (core.reach.doubtful and flags & REACH)
        ):
            return  # G1
        if node in slot.given or cost < GIVE_US:
            return
        try:
            data = bytes_of(core, node)
        except DamagedValue:  # a class of it is not loaded here: that concerns who reads it, if anybody
            return
        if data is None or len(data) > (cost + 1) * BYTES_FOR_US:
            return
        args = canonical.canonical(core.args_of(node))
        name = core.queries.names[graph.query[node]]
        found.append(Given(node, name, args, graph.fingerprint[node], data))
        slot.given.add(node)
        slot.received += len(data)
