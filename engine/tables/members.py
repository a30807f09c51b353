"""Members: nodes enter a collection and leave it; which of them are marked.

Invariants
    M1  The readers of a member begin with the collections that it is in (see collection C1).
    M2  What enters is missed until its contribution is kept; what leaves takes its contribution with it.
        Nothing comes in between: see `Core.half_done`.
"""

from __future__ import annotations

from array import array
from itertools import islice

from engine.core import Core
from engine.mark import spread
from engine.persist import load, load_readers
from engine.tables.collection import Collection


def enter(core: Core, one: Collection, node: int) -> None:
    """Make a node a member, if it is none. The lock is held."""
    graph = core.graph
    if one.is_member(node):
        return
    with core.half_done():
        others = graph.above(node)
        graph.readers[node] = array("I", (one.node, *others)) if others else one.node
        one.missed[node] = None
        one.tell(node, b"")
        if one.members is not None:
            one.members.add(node)
        one.came_or_went(node)


def leave(core: Core, one: Collection, node: int) -> None:
    """A member is none any more. The lock is held."""
    graph = core.graph
    load(core, (node,))
    load_readers(core, (node,))
    info = core.info_of(node)
    if core.history is not None and info is not None:
        core.history.remember(core, node, info)  # its rows go, and it may come again
    with core.half_done():
        graph.remove_reader(node, one.node)
        core.unsaved.readers[node] = None
        one.drop(node)
        one.missed.pop(node, None)
        one.pending.pop(node, None)
        one.tell(node, None)
        if one.members is not None:
            one.members.discard(node)
        one.came_or_went(node)


def gather(core: Core) -> None:
    """Complete the marks, and let every collection know which of its members are among the marked."""
    spread(core)
    graph, collections = core.graph, core.collections
    for node in islice(graph.marked, core.graph.gathered, None):
        readers = graph.above(node)
        if readers and readers[0] in collections:
            for reader in readers:
                if reader not in collections:
                    break
                collections[reader].pending[node] = None
    core.graph.gathered = len(graph.marked)
