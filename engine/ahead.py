"""Ahead: what members of a group, or a key that runs, are about to ask the store for is read at once.

Invariants
    R1  What is read is what verification would read: of a member that a change concerns for certain.
    R2  Nothing depends on it. What is not read here is read when it is wanted.
    R3  Values are read of what a member read that has to run for all that can be known (no earlier memo of
        it can hold again), and of what a key that runs read last time after what it reads now.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import engine.verify as verify
from engine.core import Core
from engine.graph import ABSENT, GROUP, MARKED, REMEMBERED, RUNNING, SUSPECT
from engine.persist import load, load_readers
from engine.recall import recall_all

if TYPE_CHECKING:
    from engine.running import Running

FIRST: Final = 4  # values read ahead for a key that runs; twice as many each time that it goes on like this
AT_MOST: Final = 256  # members; more gain nothing, and their rows may be needed late


def in_pieces(core: Core, nodes: list[int]) -> Iterator[int]:
    """The nodes, each with its rows at hand when it comes. To be asked for the next one under the lock.

    The first pieces are small: it is the first members that show whom a change concerns (R1).
    """
    start, size = 0, 1
    while start < len(nodes):
        piece = nodes[start : start + size]
        _read(core, piece)
        yield from piece
        start += size
        size = min(2 * size, AT_MOST)


def read_on(core: Core, node: int, frame: Running) -> None:
    """A key that runs needs a value of the store: read with it those that it read after it last time."""
    below = core.graph.below(frame.node)
    start, size = frame.ahead or (0, FIRST)
    if len(below) < FIRST or size < FIRST:
        return
    try:
        at = below.index(node, start)
    except ValueError:
        return  # new to it, or read in another order
    piece = [entry for entry in below[at : at + size] if entry < GROUP]
    enough = recall_all(core, piece)
    frame.ahead = at, min(2 * size, AT_MOST) if enough else size // 4


def load_rows(core: Core, nodes: list[int]) -> tuple[list[int], list[int]]:
    """Read the rows that verification looks at first: which nodes a change concerns, and what they read."""
    _load_marked(core, nodes)
    concerned = [node for node in nodes if core.graph.status[node] & (SUSPECT | RUNNING) == SUSPECT]
    load(core, concerned)
    reads = _reads_of(core, concerned)
    load(core, reads)
    return concerned, reads


def _read(core: Core, nodes: list[int]) -> None:
    graph = core.graph
    concerned, reads = load_rows(core, nodes)
    if len(concerned) < 2:
        return
    if ABSENT in map(graph.values.__getitem__, reads):  # later all of it is in memory
        absent = {read for read in reads if graph.values[read] is ABSENT}
        recall_all(core, [read for read in _reads_of(core, _that_run(core, concerned)) if read in absent])
    members = [node for node in concerned if graph.query[node] in core.queries.of_members]
    read_memos(core, concerned)
    load_readers(core, members)
    by: dict[int, list[int]] = {}
    for node in members:
        for reader in graph.above(node):
            if reader not in core.collections:
                break
            by.setdefault(reader, []).append(node)
    for reader, several in by.items():
        core.collections[reader].read_ahead(several)


def read_memos(core: Core, nodes: list[int]) -> None:
    """Read the earlier memos of those of which one may hold again. Their marks are complete."""
    history, graph = core.history, core.graph
    if history is None or core.store is None:
        return
    held = [node for node in nodes if graph.flags[node] & REMEMBERED]
    changed_by = _changed_by(core, held) if len(held) > 1 else {}
    if changed_by:
        history.versions.load(core, list(dict.fromkeys(changed_by.values())))
        was_before = history.versions.was_before
        history.read_ahead(core, [node for node, by in changed_by.items() if was_before(core, by)])


def _load_marked(core: Core, nodes: list[int]) -> None:
    """What is looked at first of each member that a change may concern (see `verify._enter`)."""
    status = core.graph.status
    marked = [node for node in nodes if status[node] & (MARKED | SUSPECT | RUNNING) == MARKED]
    load(core, marked)
    load(core, [node for node in _reads_of(core, marked) if status[node] & MARKED])


def _reads_of(core: Core, nodes: list[int]) -> list[int]:
    """All that the memos of nodes read, each once, in the order of their ids."""
    found: set[int] = set()
    for node in nodes:
        found.update(core.graph.below(node))
    reads = sorted(found)
    return reads if not reads or reads[-1] < GROUP else [read for read in reads if read < GROUP]


def _that_run(core: Core, nodes: list[int]) -> list[int]:
    """Those that certainly run (R3): the first thing that is not what it was, was never what it is now."""
    changed_by = _changed_by(core, nodes)
    history = core.history
    if history is None or not changed_by:
        return list(changed_by)
    history.versions.load(core, list(dict.fromkeys(changed_by.values())))
    return [node for node, changed in changed_by.items() if not history.versions.was_before(core, changed)]


def _changed_by(core: Core, nodes: list[int]) -> dict[int, int]:
    """Of each node the first thing that it read and that is another one, where that is known."""
    found = {node: verify.first_changed(core, node) for node in nodes}
    return {node: changed for node, changed in found.items() if changed}
