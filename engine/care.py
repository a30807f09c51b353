"""Care: which nodes the next request has to look after, though nothing that they read has changed.

Invariants
    E1  A node in `transients` has the flag TRANSIENT, and is tried again in the next revision.
    E2  A node in `untracked` runs in every revision in which it is asked for.
    E3  Nothing in `moved` is handed out: who met it was cancelled, and the next request begins a revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.graph import TRANSIENT

if TYPE_CHECKING:
    from engine.graph import Graph
    from engine.reason import Reason

PASSING: Final = 0  # instead of a revision: the memo holds, only its value could not be had for a moment


class Care:
    """Nodes that are not right for ever, even where all that they read is."""

    __slots__ = ("moved", "reasons", "reopened", "transients", "untracked")

    def __init__(self) -> None:
        self.transients: dict[int, int] = {}  # failures that are not kept -> revision of the run, or PASSING
        self.untracked: dict[int, None] = {}
        self.moved: dict[int, None] = {}  # found to differ when read again; need a new revision
        self.reasons: dict[int, Reason | int] = {}  # why nodes were forced; what is not here was left so
        self.reopened = False  # the store lists nodes that must run, for which no revision was begun yet

    def run_again(self) -> list[int]:
        """What has to run after a restart, whatever the store says of what it read."""
        return [node for node, met in self.transients.items() if met != PASSING] + list(self.untracked)

    def take_passing(self) -> list[int]:
        """Nodes whose memo holds and whose value could not be had for a moment; they are tried again."""
        passing = [node for node, met in self.transients.items() if met == PASSING]
        for node in passing:
            del self.transients[node]
        return passing

    def clear(self) -> None:
        """The lists are built anew. Whether the store lists nodes that must run is asked of it then."""
        for nodes in (self.transients, self.untracked, self.moved, self.reasons):
            nodes.clear()

    def check_invariants(self, graph: Graph) -> None:
        """Raise AssertionError where one does not hold. For tests, at rest."""
        for node in self.transients:
            assert graph.flags[node] & TRANSIENT, f"E1: {node} failed for now and does not say so"
