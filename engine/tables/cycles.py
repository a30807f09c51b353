"""Cycles: where a table or fold may need itself, and where it only looks so.

Which collections a node rests on is known by bits of its last memo. Inside of a collection that is being
settled, old memos may say what is no longer so, and shared bits what never was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine.core import Core, Request
from engine.graph import GROUP, MARKED, REACH_BITS
from engine.mark import spread
from engine.persist import load
from engine.reach import closure
from engine.tables.collection import Collection, force_lookups


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


def doubt_lookups(
    core: Core, one: Collection, nodes: list[int], wanted: int, asker: Request, rested: dict[int, list[int]]
) -> None:
    """Inside of a collection somebody asks for what rested on it: if it still does, that is a cycle.

    The lookups below are forced, so that verification meets them, and they meet the claim (see collect S4).

    wanted    the bits of all collections that are wanted like this one
    rested    of collections the lookups that `nodes` rested on, as far as they were looked for: for all that
              are in the same case at once, so that a ring of tables is not walked through for each of them
    """
    if one.node not in rested:
        several = [one]  # where bits are shared, one by one
        if len(core.collections) <= REACH_BITS:
            all_wanted = [other for other in core.collections.values() if other.bit & wanted]
            several += [
                other
                for other in all_wanted
                if other is not one and other.definition is not None and needs_above(core, other, asker)
            ]
        rested.update(_lookups_below(core, several, nodes))
    force_lookups(core, [node for node in rested[one.node] if not _met_claim(core, node)])
    spread(core)


def _lookups_below(core: Core, several: Sequence[Collection], nodes: list[int]) -> dict[int, list[int]]:
    """Of each of some collections with bits of their own: the lookups and tables over it that nodes read.

    What they rested on is walked through once for all of them; for one of them as far as its own lookups.
    """
    graph = core.graph
    bits = {row: one.bit for one in several for row in _rows_of(core, one)}
    found: dict[int, list[int]] = {one.bit: [] for one in several}
    waiting, seen = dict.fromkeys(nodes, sum(found)), dict[int, int]()
    load(core, waiting)
    while waiting:
        node, new = waiting.popitem()
        seen[node] = seen.get(node, 0) | new
        bit = bits.get(graph.query[node], 0)
        if bit & new:
            found[bit].append(node)
            new &= ~bit
        if node in core.collections:  # one that gets its source keys from there is a reader as well
            for one in several:
                if one.bit & new and one.node in graph.below(node):
                    found[one.bit].append(node)
        for read in reads_with(core, node, new) if new else ():
            further = graph.flags[read] & new & ~seen.get(read, 0)
            if further:
                waiting[read] = waiting.get(read, 0) | further
    return {one.node: found[one.bit] for one in several}


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
        for read in reads_with(core, node, one.bit):
            if read == one.node:
                return True
            if read not in seen:
                seen.add(read)
                waiting.append(read)
    return False


def reads_with(core: Core, node: int, bits: int) -> list[int]:
    """What a memo in memory read, and the members of a collection, of that which has some bits; loads it."""
    graph = core.graph
    reads: Sequence[int] = graph.below(node)
    if node in core.collections:
        reads = [*reads, *core.collections[node].load_members()]
    load(core, reads)
    return [read for read in reads if read < GROUP and graph.flags[read] & bits]


def lookups_of(core: Core, one: Collection) -> list[int]:
    """Its lookups, but for those that were refused.

    These rest on no row, and who read one may hold in this very revision, in which the table is opened only
    now: forced, it would be marked and its readers not, and no later change would reach them. See
    test_a_table_that_is_opened_after_a_refused_lookup_loses_nobody_who_looked.
    """
    nodes = [node for row in _rows_of(core, one) for node in core.nodes_of(row)]
    load(core, nodes)
    return [node for node in nodes if core.graph.below(node)]


def _rows_of(core: Core, one: Collection) -> list[int]:
    """The queries of its lookups."""
    info = one.definition
    assert info is not None
    queries = [*info.lookups.values(), *([] if info.value is None else [info.value])]
    return list(core.queries.rows(query.name for query in queries))
