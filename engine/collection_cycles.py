"""Collection cycles: where a table or fold may need itself, and where it only looks so.

Which collections a node rests on is known by bits of its last memo. Inside of a collection that is being
settled, old memos may say what is no longer so, and shared bits what never was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.collection import Collection, force_lookups
from engine.core import Core, Request
from engine.graph import GROUP, MARKED, REACH_BITS
from engine.locate import nodes_of
from engine.mark import spread
from engine.persist import load
from engine.reach import closure


def needs_above(core: Core, one: Collection, asker: Request) -> bool:
    """Whether a collection rests on one that is being settled by a frame that `asker` works for, or is it.

    It cannot be settled before that. If it is asked for all the same, that is a cycle; but old memos may say
    what is no longer so.
    """
    rests_on = closure(core, core.graph.flags[one.node])
    frame: Request | None = asker
    while frame is not None:
        above = core.collections.get(frame.node)
        if above is not None and above.bit & rests_on and (above is one or _rests_on(core, one, above)):
            return True
        frame = None if frame.walk is None else frame.walk.asker
    return False


def _rests_on(core: Core, one: Collection, other: Collection) -> bool:
    """Whether a collection rests on another one whose bit it has: if bits are shared, that may be its own."""
    return not shares_bit(core, other) or rest_on(core, [one.node], other)


def doubt_lookups(core: Core, one: Collection, nodes: Iterable[int]) -> None:
    """Inside of a collection somebody asks for what rested on it: if it still does, that is a cycle.

    The lookups below are forced, so that verification meets them, and they meet the claim (see collect S4).
    """
    info = one.definition
    assert info is not None
    queries = [*info.lookups.values(), *([] if info.value is None else [info.value])]
    rows = {core.rows.get(query.name) for query in queries}
    graph = core.graph
    waiting, seen, found = list(nodes), set(nodes), []
    load(core, waiting)
    while waiting:
        node = waiting.pop()
        if graph.query[node] in rows:
            if not _met_claim(core, node):
                found.append(node)
            continue
        for read in _reads_with(core, node, one.bit):
            if read not in seen:
                seen.add(read)
                waiting.append(read)
    force_lookups(core, found)
    spread(core)


def _met_claim(core: Core, node: int) -> bool:
    """Whether a lookup met a cycle in this revision: it is not forced to meet it again.

    Two members would take turns for ever, and who read it is right. See
    test_a_table_that_needs_itself_is_a_cycle_with_its_path_also_by_an_edit_and_heals.
    """
    graph = core.graph
    return graph.verified_at[node] == core.revision and bool(getattr(graph.values[node], "ring", ()))


def retry_cycles(core: Core) -> None:
    """Let what failed by a cycle run again in a later revision, all of it. The lock is held.

    Inside of a cycle lookups are forced while their readers are being verified, so marks do not tell the
    whole truth when it is over. In the revision of the error nobody minds: all that is above has it. See
    test_a_table_that_needs_itself_is_a_cycle_with_its_path_also_by_an_edit_and_heals.
    """
    graph = core.graph
    failed = [
        one for one in core.collections.values() if one.cyclic and graph.verified_at[one.node] < core.revision
    ]
    if not failed:
        return
    for one in failed:
        force_lookups(core, [one.node, *one.cyclic_members()])
        if one.definition is not None:
            force_lookups(core, lookups_of(core, one))
    graph.frontier[:] = [node for node in dict.fromkeys(graph.marked) if graph.status[node] & MARKED]


def shares_bit(core: Core, one: Collection) -> bool:
    if len(core.collections) <= REACH_BITS:
        return False
    return any(other.bit == one.bit and other is not one for other in core.collections.values())


def rest_on(core: Core, nodes: Iterable[int], one: Collection) -> bool:
    """Whether any of the nodes rests on a collection, by the dependencies of their memos."""
    waiting, seen = list(nodes), set(nodes)
    load(core, waiting)
    while waiting:
        node = waiting.pop()
        for read in _reads_with(core, node, one.bit):
            if read == one.node:
                return True
            if read not in seen:
                seen.add(read)
                waiting.append(read)
    return False


def _reads_with(core: Core, node: int, bit: int) -> list[int]:
    """What a memo in memory read, and the members of a collection, of that which has a bit; loads it."""
    graph = core.graph
    reads: Sequence[int] = graph.below(node)
    if node in core.collections:
        reads = [*reads, *core.collections[node].load_members()]
    load(core, reads)
    return [read for read in reads if read < GROUP and graph.flags[read] & bit]


def lookups_of(core: Core, one: Collection) -> list[int]:
    info = one.definition
    assert info is not None
    queries = [*info.lookups.values(), *([] if info.value is None else [info.value])]
    rows = [core.rows[query.name] for query in queries if query.name in core.rows]
    return [node for row in rows for node in nodes_of(core, row)]
