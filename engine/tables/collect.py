"""Collect: bring a table or fold up to date, and whoever must not be answered before that.

Marks stop at a collection: else an edit of any member would mark everything that ever looked into the
table. So a node is right only if it is unmarked *and* no collection below it is doubtful, that is, marked.
Which ones are below it is `reach`, a bit for each collection among a node's flags. Settling a collection runs
its dirty members; each change of a member is taken over in the same step, and forces the lookups that it
concerns, which are all that goes on beyond the collection.

Invariants
    S1  Nothing is handed out while a collection that it rests on is doubtful (`below`).
    S2  `reach` of a node has the bits of all that it read. It may have more, until it runs the next time.
    S3  What is kept of a member is changed where its memo is made (`absorb`), so no crash comes in between.
        What is raised meanwhile is nobody's value: see `Core.half_done`.
    S4  A collection that needs itself is a cycle: its lookups read its node, which is claimed meanwhile.
    S5  Where collections share a bit, a request settles all of them. A running query does not: one that
        rests on that query would be a cycle that there is not.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import engine.answer as answer
import engine.group as group
import engine.verify as verify
from engine.core import Core, Request
from engine.errors import Cancelled, CycleError
from engine.failure import Failure
from engine.graph import ERROR, FORCED, MARKED, REACH, RUNNING, TRANSIENT
from engine.locate import bind, locate
from engine.mark import spread, suspect
from engine.persist import load, readers_of, save
from engine.query import QueryInfo
from engine.reach import closure, note
from engine.reason import Reason
from engine.rings import Cycle
from engine.tables.collection import CYCLIC, Collection, force_lookups
from engine.tables.cycles import doubt_lookups, lookups_of, needs_above, rest_on, shares_bit
from engine.tables.kept_table import KeptTable
from engine.tables.kinds import is_known, made, of_other_kind, own_queries, reshape, shape_of, stand_for
from engine.tables.members import enter, gather, leave
from engine.tables.scratch import several_keys

if TYPE_CHECKING:
    from engine.running import Running
    from engine.tables.table import CollectionInfo


def below(core: Core, nodes: Iterable[int], asker: Request) -> None:
    """Settle the collections that `nodes` rest on (S1). The lock is held, and given away meanwhile."""
    skipped: set[int] = set()  # not their bits: others may have the same (see kinds)
    rested: dict[int, list[int]] = {}  # see `doubt_lookups`
    nodes = list(nodes)
    load(core, nodes)
    while core.reach.doubtful:
        reach = 0
        for node in nodes:
            reach |= core.graph.flags[node]
        wanted = closure(core, reach) & core.reach.doubtful
        if not wanted:
            return
        doubtful = (one for one in core.collections.values() if one.bit & wanted and one.is_doubtful)
        one = next((one for one in doubtful if one.node not in skipped), None)
        if one is None:
            return
        if not one.can_settle:
            skipped.add(one.node)  # its lookups are forced, which makes their readers run (`bind`)
        elif asker.node and shares_bit(core, one) and not rest_on(core, nodes, one):
            skipped.add(one.node)  # a running query may wait for no more than it rests on (S5)
        elif needs_above(core, one, asker):
            doubt_lookups(core, one, nodes, wanted, asker, rested)
            skipped.add(one.node)
        else:
            rested.clear()  # memos will be others
            verify.ensure(core, one.node, asker)
            spread(core)


def settle(frame: Running, info: CollectionInfo) -> str | None:
    """Bring all members up to date; a digest of all rows. Runs as the function of the collection's query.

    That value changes whenever a row does, for who watches the table. Lookups do not rest on it (see verify).
    """
    core = frame.core
    try:
        return _settled(frame, info)
    except Exception as error:  # whatever it is, lookups are concerned
        with core.lock:
            one = core.collections.get(frame.node)
            if one is not None:
                of_cycle = CYCLIC if isinstance(error, CycleError) else b""
                _set_failing(core, one, of_cycle + Failure.of(error).identity)
        raise


def _settled(frame: Running, info: CollectionInfo) -> str | None:
    core = frame.core
    if info.reduced is not None:
        frame.fetch(info.reduced, ())
    with core.lock:
        try:
            one = opened(core, info, frame)
        except MemoryError:
            core.torn = True
            raise
    keys = _keys(frame, one, info)
    with core.lock:
        _fence(frame)
        try:
            _bring_up(core, one, info, keys, frame)
        except Cycle as cycle:
            raise cycle.raised() from None
        one.check_members()
        one.conclude()
        one.complete, one.looked = not frame.transient, True  # keys for a moment: the next ones are others
        _set_failing(core, one, b"")
        spread(core)
        return one.digest


def absorb(core: Core, node: int, value: Any, failure: Failure | None, was: int, same: bool | None) -> None:
    """The memo of `node` is made: whatever it is a member of takes that over (S3). The lock is held.

    `was`: flags of the memo before it. `same`: whether that had this value; None: there is none.
    """
    graph = core.graph
    failed = bool(was & (ERROR | TRANSIENT))
    compared = failure is None and not failed and same is not None
    # Also of a failure: nobody may be forced in a revision in which others rest on him already.
    # See test_a_failing_member_that_is_computed_again_forces_nobody.
    unchanged = same and not was & TRANSIENT and (failure is not None) == bool(was & ERROR)
    for reader in tuple(readers_of(core, node)):
        one = core.collections.get(reader)
        if one is None:
            return
        if not one.is_of_members(node):
            continue  # its source keys, by a query whose name was that of a table's members once
        _grow_reach(core, one, graph.flags[node])
        if not is_known(one):
            # A fold whose module is not loaded, over a query whose module is; or it was defined anew since.
            one.rebuild = one.dirty = True
            suspect(core, one.node, FORCED)
        elif not unchanged or node in one.missed:  # else it has what is kept of it
            with core.half_done():
                changed = not one.arrived(node) and compared
                one.take(node, value, failure, failed, changed)
        if graph.frontier and graph.status[reader] & RUNNING:
            spread(core)  # lookups that were forced: while marks wait, every read is slow (running N2)


def opened(core: Core, info: CollectionInfo, frame: Running) -> Collection:
    """The collection of a definition, with all its queries bound. The lock is held."""
    node = frame.node
    one = core.collections.get(node)
    shape = shape_of(info, _code_of(core, info, frame).hex())
    if one is None:
        one = made(core, info.kind, node, info.name, shape)
        stand_for(core, one)
        core.graph.verified_at[node] = core.revision  # a row for its members to name: see persist P1
        suspect(core, node, FORCED)
        core.care.reasons[node] = Reason.NEW
        save(core, node, None)
    if one.kind != info.kind:
        one = of_other_kind(core, one, info.kind, shape)
    if one.info is not info:
        for query in (info.member, *info.lookups.values()):
            bind(core, query)
        if info.value is not None:
            bind(core, info.value)
        _fence(frame)
        row = core.graph.query[node]
        members = core.queries.by_name[info.member.name]
        core.queries.of_members.setdefault(members, set()).update(own_queries(core, one))
        if members not in core.queries.calls[row]:
            core.queries.calls[row].add(members)  # its code is compared whenever ours is
            core.unsaved.queries[row] = None
        info.member.codec  # noqa: B018 -- teaches `canonical` the classes of what is kept
        one.let_go()
        one.info = info
    if one.shape != shape:
        reshape(core, one, shape)
    return one


def _code_of(core: Core, info: CollectionInfo, frame: Running) -> bytes:
    """The code of a user's accumulator, and of what makes its values: after floats, 9.0 may be left of 9."""
    if info.reduced is None:
        return b""
    if info.member.index not in core.queries.by_index:
        bind(core, info.member)
        _fence(frame)
    return b"".join(
        [core.queries.codes[core.queries.by_name[query.name]] for query in (info.reduced, info.member)]
    )


# -- settling ------------------------------------------------------------------------------------


def _keys(frame: Running, one: Collection, info: CollectionInfo) -> Iterable[Any] | None:
    """The source keys; None where they are those of the last time. The lock is not held."""
    core = frame.core
    if isinstance(info.each, QueryInfo):
        keys = several_keys(info, frame.fetch(info.each, ()))
        with core.lock:
            node = locate(core, info.each, ())
            # Read last time as well: else it is another query that gives the keys now. See
            # test_another_query_that_gives_the_keys_of_a_table_is_asked_although_it_did_not_change.
            unchanged = node in core.graph.below(one.node)
            unchanged = unchanged and core.graph.changed_at[node] <= core.graph.verified_at[one.node]
            unchanged = unchanged and not frame.transient
        return None if one.complete and not one.rebuild and unchanged else keys
    source = info.each.table.__collection__
    frame.fetch(source.settle, ())
    with core.lock:
        table = core.collections[locate(core, source.settle, ())]
        assert isinstance(table, KeptTable)
        # One without members is not opened because its columns are others by now, and tells of no change.
        if one.complete and not one.rebuild and is_known(table):
            return None  # what came and went is known: `key_changes`
        return [source.columns.value(info.each.name, value) for value in table.values(info.each.name)]


def _bring_up(
    core: Core, one: Collection, info: CollectionInfo, keys: Iterable[Any] | None, frame: Running
) -> None:
    if one.rebuild:
        with core.half_done():
            one.clear()
            load(core, one.load_members())
            one.missed.update(dict.fromkeys(one.members or ()))
            one.rebuild, one.rebuilding, one.dirty = False, True, True
    if keys is not None:
        one.complete = False
        load(core, one.load_members())  # at once, not one by one
        wanted = {locate(core, info.member, (key,)): None for key in keys}
        for node in one.load_members() - wanted.keys():
            leave(core, one, node)
        for node in wanted:
            enter(core, one, node)
        one.key_changes.clear()
    elif one.key_changes:
        _follow(core, one, info)
    closed: Cycle | None = None
    status = core.graph.status
    while todo := _todo(core, one):
        below(core, todo, frame)
        try:
            group.ensure_all(core, todo, frame)
        except Cycle as cycle:  # the others go on: one that stays marked would keep later marks from us
            closed = cycle
        for node in todo:
            if node in one.missed and not status[node] & MARKED:
                _take_value(core, one, node, frame)
        left = [node for node in todo if status[node] & MARKED]
        if left and all(status[node] & RUNNING for node in left):
            break  # they ask for us: the cycle that was closed
    closed = closed or frame.cycle
    if closed is not None:
        raise closed
    one.dirty, one.rebuilding = one.dirty or one.rebuilding, False


def _follow(core: Core, one: Collection, info: CollectionInfo) -> None:
    """Let the members follow the values that came or went in the column that gives the keys."""
    assert not isinstance(info.each, QueryInfo)
    source, column = info.each.table.__collection__, info.each.name
    table = next(other for other in core.collections.values() if other.name == source.name)
    assert isinstance(table, KeptTable)
    for value in one.key_changes:
        node = locate(core, info.member, (source.columns.value(column, value),))
        if table.has(column, value):
            enter(core, one, node)
        elif one.is_member(node):
            leave(core, one, node)
    one.key_changes.clear()


def _todo(core: Core, one: Collection) -> list[int]:
    """The members that have to be looked at."""
    gather(core)
    status = core.graph.status
    load(core, one.pending)
    # Not before it is right: the settling may be cancelled. What gives the source keys is no member.
    for node in [node for node in one.pending if not (status[node] & MARKED and one.is_of_members(node))]:
        del one.pending[node]
    return list(dict.fromkeys([*one.missed, *one.pending]))


def _take_value(core: Core, one: Collection, node: int, frame: Running) -> None:
    """Keep what a member contributes whose memo held, so that it did not run."""
    load(core, (node,))
    _grow_reach(core, one, core.graph.flags[node])
    request = Request(core)  # what it reads of the member is not a dependency of the collection
    request.generation, request.walk, request.node = frame.generation, frame.walk, frame.node
    transient = frame.transient  # neither does a failure that is not kept concern more than the member
    value, failure = None, None
    if core.graph.flags[node] & (ERROR | TRANSIENT):
        held = core.graph.values[node]
        failure = held if isinstance(held, Failure) else None
    if failure is None and core.history is not None:
        value = core.history.rows_of(core, node)
    if failure is None and value is None:
        try:
            value = answer.answer(core, node, request)
        except Exception:  # it ran again and failed: its error is what it contributes
            held = core.graph.values[node]
            if not isinstance(held, Failure):
                raise
            failure = held
        finally:
            frame.transient = transient
    if node in one.missed:  # else it was computed again, and taken over then
        with core.half_done():
            one.arrived(node)
            one.take(node, value, failure, True)


def _grow_reach(core: Core, one: Collection, flags: int) -> None:
    node = one.node
    if flags & REACH & ~core.graph.flags[node]:
        core.graph.flags[node] |= flags & REACH
        core.reach.tables.clear()  # `closure` of others
        note(core, core.graph.query[node], flags)
        save(core, node, None)


def _set_failing(core: Core, one: Collection, failing: bytes) -> None:
    """When the whole fails, or does so with another error, or no longer, all lookups are concerned.

    So is who gets its source keys from here: it has failed as well, and is no reader in the graph.
    """
    if one.failing != failing:
        one.failing, one.dirty, one.looked = failing, True, True
        force_lookups(core, lookups_of(core, one))
        force_lookups(core, [fed.node for several in one.feeds.values() for fed in several])
        spread(core)
    one.complete = one.complete and not failing


def _fence(frame: Running) -> None:
    if frame.generation != frame.core.generation:
        raise Cancelled
