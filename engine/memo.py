"""Memo: put values, edges, stamps and durability of a node in place.

Invariants
    E1  `readers` is the transpose of `dependencies` after every call.
    E2  A value sits in memory in the form in which readers get it: shared, as bytes, or as a failure.
    E3  No memo is more durable than what it read.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any, cast

from engine.core import Core
from engine.failure import Failure
from engine.graph import ABSENT, GROUP, MARKED, MUTABLE, REACH, SUSPECT, VALUE, entries
from engine.mark import suspect
from engine.persist import KEEP, load, load_readers, readers_of, save
from engine.query import QueryInfo
from engine.reach import note

Reads = dict[int, int | None]  # as in `Frame.reads`


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
    for reader in readers_of(core, node):
        state = graph.status[reader]
        if not state & SUSPECT and (state & MARKED or graph.verified_at[reader] < core.revision):
            suspect(core, reader)


def put_value(
    core: Core,
    node: int,
    info: QueryInfo,
    value: Any,
    data: bytes | None,
    failure: Failure | None,
    keeps: bool,
) -> None:
    """Hold a value in memory in the form in which readers will get it.

    keeps   as `QueryInfo.keeps` says of `data`: else the value goes after two commits
    """
    hold(core, node, info, value, data, failure)
    if not keeps:
        core.unsaved.passing.append(node)
    if core.memory is not None:
        if keeps and data is not None and failure is None and core.graph.values[node] is not ABSENT:
            core.memory.made(core, node, data)
        else:
            core.memory.drop(node)


def hold(
    core: Core, node: int, info: QueryInfo, value: Any, data: bytes | None, failure: Failure | None
) -> None:
    """Put what a run came to in memory, as readers get it (E2). MUTABLE is not set."""
    graph = core.graph
    ready = 0
    if failure is not None:
        value = failure
    elif data is not None and not (info._codec or info.codec).shareable:
        graph.flags[node] |= MUTABLE
        value = data
    elif value is not ABSENT:  # else it is of an earlier memo, or was computed elsewhere: read when needed
        ready = VALUE
    graph.values[node] = value
    graph.status[node] = graph.status[node] & ~VALUE | ready


def lower_durability(core: Core, node: int, durability: int) -> None:
    """Lower what rests on `node`: else its readers would skip a check that they need from now on.

    salsa gives up the cutoff here and runs the readers; walking up instead runs nothing. See
    test_durability_lowered_with_an_equal_value_reaches_the_readers.
    """
    graph = core.graph
    waiting = [node]
    while waiting:
        here = waiting.pop()
        readers = readers_of(core, here, waiting)
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
        readers = readers_of(core, here, waiting)
        load(core, readers)
        for reader in readers:
            if reach & ~graph.flags[reader] and graph.verified_at[reader]:
                graph.flags[reader] |= reach
                note(core, graph.query[reader], reach)
                save(core, reader, KEEP)
                waiting.append(reader)


def first_dependencies(core: Core, node: int, info: QueryInfo, reads: Reads) -> tuple[int, int]:
    """Put in place what the first run of a node read; returned is what its memo rests on, as by `rests_on`.

    What `replace_dependencies` and `rests_on` do one after the other is done in one pass here, for every read
    of a cold build.
    """
    durability, reach = 0 if _is_lookup(info) else 2, 0
    if not reads:
        return durability, reach
    graph = core.graph
    query, flags, known, readers = graph.query, graph.flags, graph.durability, graph.readers
    called = core.queries.calls[query[node]]
    grouped = len(reads) > 2 and min(reads) < 0
    nodes = dict.fromkeys([read for read in reads if read > 0]) if grouped else reads
    if core.queries.stored:
        load_readers(core, nodes)
    graph.dependencies[node] = _entries_of(reads)
    for read in nodes:
        reach |= flags[read]
        if known[read] < durability:
            durability = known[read]
        if query[read] not in called:
            note_calls(core, node, (read,))
        above = readers[read]
        if isinstance(above, int):
            readers[read] = array("I", (above, node)) if above else node
        elif above is not None:
            above.append(node)
    if core.store is not None:
        core.unsaved.readers.update(cast("dict[int, None]", nodes))
    return durability, reach & REACH


def rests_on(core: Core, node: int, info: QueryInfo, reads: Reads) -> tuple[int, int]:
    """The durability of a memo that read `reads`, and the collections that it rests on, as flags (E3).

    Which queries its query calls was noted before: mostly that says at once that it rests on none.
    """
    graph = core.graph
    reach = 0
    if not core.reach.of_query.keys().isdisjoint(core.queries.calls[graph.query[node]]):
        for read in reads:
            if read > 0:
                reach |= graph.flags[read]
    durability, known = 0 if _is_lookup(info) else 2, graph.durability
    for read in reads:
        if not durability:  # as for most from the first one on
            break
        if read > 0 and known[read] < durability:
            durability = known[read]
    return durability, reach & REACH


def _is_lookup(info: QueryInfo) -> bool:
    """Whether a query is right by what members are, which its dependencies do not say."""
    return info.collection is not None and info is not info.collection.member


def note_calls(core: Core, node: int, nodes: Iterable[int]) -> None:
    """Note which queries the query of a node calls: those of the nodes that it read."""
    graph = core.graph
    row = graph.query[node]
    rows = set(map(graph.query.__getitem__, nodes))
    if not rows <= core.queries.calls[row]:
        core.queries.calls[row] |= rows
        core.unsaved.queries[row] = None


def _entries_of(reads: Reads) -> array[int] | int:
    if len(reads) < 2:
        return next(iter(reads), 0)
    if min(reads) < 0:
        return array("I", [entry if entry > 0 else GROUP | (reads[entry] or 0) for entry in reads])
    return array("I", [*reads])  # from a list: exactly as long as need be


def replace_dependencies(core: Core, node: int, reads: Reads) -> None:
    """Put in place what a later run read, and note what its query calls."""
    graph = core.graph
    new = _entries_of(reads)
    old = graph.dependencies[node]
    if new == old:  # then what it calls was noted, too
        return
    note_calls(core, node, [read for read in reads if read > 0])
    before = set(entries(graph.below(node))) if old else set()
    gone = before - reads.keys()
    graph.dependencies[node] = new
    load_readers(core, [*(entry for entry in reads if entry > 0), *gone])
    keep = core.store is not None
    for entry in reads:
        if entry > 0 and entry not in before:
            graph.add_reader(entry, node)
            if keep:
                core.unsaved.readers[entry] = None
    for entry in gone:
        graph.remove_reader(entry, node)
        if keep:
            core.unsaved.readers[entry] = None
