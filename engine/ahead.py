"""Ahead: what the members of a group are about to ask the store for, one after the other, is read at once.

Invariants
    R1  What is read is what verification would read: of a member that a change concerns for certain.
    R2  Nothing depends on it. What is not read here is read when it is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.core import Core
from engine.graph import GROUP, RUNNING, SUSPECT
from engine.persist import load, load_readers

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


def _read(core: Core, nodes: list[int]) -> None:
    graph = core.graph
    concerned = [node for node in nodes if graph.status[node] & (SUSPECT | RUNNING) == SUSPECT]
    if len(concerned) < 2:
        return
    load(core, concerned)
    load(
        core,
        dict.fromkeys(read for node in concerned for read in graph.below(node) if read < GROUP),
    )
    members = [node for node in concerned if graph.query[node] in core.parts]
    load_readers(core, members)
    by: dict[int, list[int]] = {}
    for node in members:
        for reader in graph.above(node):
            if reader not in core.collections:
                break
            by.setdefault(reader, []).append(node)
    for reader, several in by.items():
        core.collections[reader].read_ahead(several)
