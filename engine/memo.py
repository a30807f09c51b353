"""Memo: put values, edges, stamps and durability of a node in place.

Invariants
    E1  `readers` is the transpose of `dependencies` after every call.
    E2  A value sits in memory in the form in which readers get it: shared, as bytes, or as a failure.
    E3  No memo is more durable than what it read.
"""

from __future__ import annotations

from array import array
from typing import Any

from engine.core import Core
from engine.failure import Failure
from engine.graph import ABSENT, GROUP, MARKED, MUTABLE, SUSPECT, VALUE, compact, entries
from engine.mark import suspect
from engine.persist import KEEP, load, load_readers, save
from engine.query import QueryInfo
from engine.reach import note


def changed(core: Core, node: int) -> None:
    """The value of `node` is another one: stamp it and suspect its direct readers.

    A clean reader that was made in this very revision has met the node while it ran, so both are on a ring
    and it has the ring's error, which does not depend on who finished first.
    """
    core.graph.changed_at[node] = core.revision
    doubt_readers(core, node)


def doubt_readers(core: Core, node: int) -> None:
    """Suspect the direct readers of a node: its value is another one, or cannot be known for now."""
    graph = core.graph
    if graph.readers[node] is None:
        load_readers(core, [node])
    for reader in graph.above(node):
        state = graph.status[reader]
        if not state & SUSPECT and (state & MARKED or graph.verified_at[reader] < core.revision):
            suspect(core, reader)


def put_value(
    core: Core, node: int, info: QueryInfo, value: Any, data: bytes | None, failure: Failure | None
) -> None:
    """Hold a value in memory in the form in which readers will get it."""
    graph = core.graph
    if failure is not None:
        graph.values[node] = failure
        graph.status[node] &= ~VALUE
    elif data is not None and not (info._codec or info.codec).shareable:
        graph.flags[node] |= MUTABLE
        graph.values[node] = data
        graph.status[node] &= ~VALUE
    elif value is ABSENT:  # of an earlier memo: it is read when somebody needs it
        graph.values[node] = ABSENT
        graph.status[node] &= ~VALUE
    else:
        graph.values[node] = value
        if value is ABSENT:  # computed elsewhere: decoded when somebody wants it
            graph.status[node] &= ~VALUE
        else:
            graph.status[node] |= VALUE
    kept = info.keeps(data) or (failure is not None and failure.ring != ())
    if not kept:
        core.passing.append(node)
    if core.memory is not None:
        if kept and data is not None and failure is None and graph.values[node] is not ABSENT:
            core.memory.made(core, node, data)
        else:
            core.memory.drop(node)


def lower_durability(core: Core, node: int, durability: int) -> None:
    """Lower what rests on `node`: else its readers would skip a check that they need from now on.

    salsa gives up the cutoff here and runs the readers; walking up instead runs nothing. See
    test_durability_lowered_with_an_equal_value_reaches_the_readers.
    """
    graph = core.graph
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if graph.readers[here] is None:
            load_readers(core, [here, *waiting])
        readers = graph.above(here)
        load(core, readers)
        for reader in readers:
            if graph.durability[reader] > durability and graph.verified_at[reader]:
                graph.durability[reader] = durability
                save(core, reader, KEEP)
                waiting.append(reader)


def raise_reach(core: Core, node: int, reach: int) -> None:
    """What rests on `node` rests on more collections from now on. As `lower_durability`: nothing runs."""
    graph = core.graph
    waiting = [node]
    while waiting:
        here = waiting.pop()
        if graph.readers[here] is None:
            load_readers(core, [here, *waiting])
        readers = graph.above(here)
        load(core, readers)
        for reader in readers:
            if reach & ~graph.flags[reader] and graph.verified_at[reader]:
                graph.flags[reader] |= reach
                note(core, graph.query[reader], reach)
                save(core, reader, KEEP)
                waiting.append(reader)


def replace_dependencies(core: Core, node: int, reads: dict[int, int | None]) -> None:
    graph = core.graph
    new: array[int] | int
    if min(reads, default=1) < 0:
        new = compact(array("I", [entry if entry > 0 else GROUP | (reads[entry] or 0) for entry in reads]))
    elif len(reads) > 1:
        new = array("I", [*reads])  # from a list: exactly as long as need be
    else:
        new = next(iter(reads), 0)
    old = graph.dependencies[node]
    if new == old:
        return
    before = set(entries(graph.below(node))) if old else set()
    graph.dependencies[node] = new
    readers = graph.readers
    missing = [entry for entry in reads if entry > 0 and readers[entry] is None]
    if missing:
        load_readers(core, missing)
    keep = core.store is not None
    for entry in reads:
        if entry > 0 and entry not in before:
            graph.add_reader(entry, node)
            if keep:
                core.dirty_readers[entry] = None
    for gone in before - reads.keys():
        if readers[gone] is None:
            load_readers(core, [gone])
        graph.remove_reader(gone, node)
        if keep:
            core.dirty_readers[gone] = None
