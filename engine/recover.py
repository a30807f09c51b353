"""Recover: build the lists anew, after an interrupt amid a change, a damaged store, or a collection.

Invariants
    Z1  What the host set is kept, whatever happens to the store and to the lists.
    Z2  A batch that was being put in place when the interrupt came is put in place whole.
    Z3  No row is written that depends on a node without one.
    Z4  A cycle is an answer when all its members have it: interrupted, it may come to something else.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import evolve

from engine.advance import Change, apply, change_of, start_revision
from engine.core import Core
from engine.durability import Durability
from engine.errors import StoreDamaged
from engine.graph import (
    ABSENT,
    ERROR,
    FORCED,
    MARKED,
    OBSERVED,
    PINNED,
    REACH,
    UNSTORED,
    VALUE,
    Graph,
    entries,
)
from engine.locate import locate
from engine.mark import suspect
from engine.memo import replace_dependencies
from engine.persist import open_graph, save
from engine.recall import recall
from engine.store.codec import DamagedValue
from engine.tables.kinds import restore_collections

GONE = "The store in {} was damaged or removed; everything will be computed again."


def recover(core: Core) -> None:
    """An interrupt struck in the middle of a change to the lists. The lock is held."""
    core.outdate()
    core.claims.drop()
    reopen(core)
    start_revision(core, "after an interrupt", all_levels=True)


def rescue(core: Core) -> None:
    """Recover before a close, where what the host set and no commit could write would be lost (Z1, Z2)."""
    pinned = (node for node, own in enumerate(core.graph.flags) if own & PINNED and not own & OBSERVED)
    if core.torn and (core.applying or any(node in core.unsaved.nodes for node in pinned)):
        recover(core)


def reopen(core: Core, kept: list[Change] | None = None) -> None:
    """Drop what is in memory and not committed, but for what the host set; go on from the store."""
    if kept is None:
        kept = _set_by_host(core)
    tables = len(core.graph.tables)
    # Interrupted in here, it begins once more: with what the host set, and with none of the old lists.
    core.torn, core.applying = True, [evolve(change, node=0) for change in kept]
    core.graph = Graph(1)
    for snapshot in core.snapshots:
        snapshot.lost = True
    for kept_so_far in (core.queries, core.unsaved, core.observed, core.care):
        kept_so_far.clear()
    if core.history is not None:
        core.history.clear()
    if core.memory is not None:
        core.memory.clear()
    core.outdate()
    if core.store is not None:
        core.store.make_index()
        open_graph(core)
    restore_collections(core)
    core.graph.tables.extend({} for _ in range(tables))
    core.synced = core.store is None
    put_in_place(core, kept, "what the host set is kept")
    core.torn, core.applying, core.struck = False, [], None


def put_in_place(core: Core, changes: Iterable[Change], note: str) -> int:
    """Apply changes that were prepared earlier: nodes may have other ids by now. The last of a key counts."""
    placed = {}
    for change in changes:
        node = locate(core, change.info, change.args)
        placed[node] = evolve(change, node=node)
    return apply(core, placed.values(), note)


def _set_by_host(core: Core) -> list[Change]:
    """Changes that make the inputs that are set, or were just being set, what they are."""
    graph = core.graph
    half_done = core.applying
    again = [change for change in half_done if change.pinned or not change.info.observed]
    done = {change.node for change in half_done}
    kept = []
    for node in range(1, len(graph.values)):  # the list that grows last, if a new node was interrupted
        info = core.info_of(node)
        if not graph.flags[node] & PINNED or node in done or info is None:
            continue
        try:
            value, args = recall(core, node), core.args_of(node)
        except (StoreDamaged, DamagedValue, LookupError):
            continue  # not in memory, and the store lost it, or a class of it has other fields by now
        if value is not ABSENT:
            level = Durability(graph.durability[node])
            kept.append(change_of(node, info, args, value, pinned=True, durability=level))
    return kept + again


def start_over(core: Core, damage: StoreDamaged, since: int) -> None:
    """Rows that do not match their checksums: set the store aside and compute everything again.

    since    `core.started_over` at a moment before the damage was found. Where it is more by now, another
             request was quicker, and the store of now is another one
    """
    with core.lock:
        if core.store is None:
            raise damage
        if core.started_over != since:
            return
        core.torn = False
        kept = _set_by_host(core)
        core.started_over += 1
        core.store.start_over(damage)
        core.telling.notes += core.store.hand_over() or [GONE.format(core.store.path.parent)]
        reopen(core, kept)


def release_left(core: Core) -> None:
    """Release the rings that nobody will finish: none of their keys runs, or what runs is outdated."""
    if core.unsaved.ringed and core.claims.knots.keys().isdisjoint(core.claims.held):
        release_rings(core)


def release_rings(core: Core) -> None:
    """Let the rows of cycles be written, now that nothing runs; drop those that were interrupted (Z3, Z4)."""
    graph = core.graph
    rings: dict[int, bool] = {}
    waiting = [node for node in core.unsaved.ringed if not _is_whole(core, node, rings)]
    if core.saves:
        core.unsaved.nodes.update(core.unsaved.ringed)
    core.unsaved.ringed.clear()
    dropped: dict[int, None] = {}
    while waiting:
        node = waiting.pop()
        if node not in dropped and graph.verified_at[node]:
            dropped[node] = None
            waiting += [reader for reader in graph.above(node) if reader in core.unsaved.nodes]
    stored = dropped if not core.saves else core.store.nodes(list(dropped)) if core.store is not None else ()
    for node in dropped:
        replace_dependencies(core, node, {})
        core.unsaved.nodes.pop(node, None)
        graph.values[node] = ABSENT
        graph.status[node] &= ~VALUE
        if node in stored:
            # The store has the memo before, which nothing leads to any more: one takes its place that says
            # nothing. See test_a_memo_that_a_cycle_replaced_is_not_believed_after_an_interrupt.
            graph.fingerprint[node] = b""
            graph.flags[node] |= UNSTORED
            suspect(core, node, FORCED)
            save(core, node, None)
        else:
            graph.verified_at[node] = 0
            graph.flags[node] &= ~ERROR
            graph.status[node] |= MARKED | FORCED
            graph.suspects.pop(node, None)


def _is_whole(core: Core, node: int, rings: dict[int, bool]) -> bool:
    """Whether all that a member of a cycle read has a memo, and each member has the error of the cycle.

    rings    of the rings that were looked at, by identity, since all members have the same one: the latter
    """
    graph = core.graph
    if not all(graph.verified_at[read] for read in entries(graph.below(node))):
        return False
    if graph.flags[node] & REACH:
        return True  # members of collections are marked when it is over, see tables.cycles
    ring = getattr(graph.values[node], "ring", ())
    if id(ring) not in rings:
        rings[id(ring)] = not any(graph.status[member] & MARKED for member in ring)
    return rings[id(ring)]
