"""Keep: compare an outcome with the memo, backdate, and put the new memo in place.

Invariants
    K1  Dependencies are replaced and the durability is lowered even when the value is equal.
    K2  An equal value keeps `changed_at`: its readers do not run (early cutoff).
    K3  A failure is a value with dependencies; a transient one is kept for this request only, and so is
        everything that saw it.
    K4  The error of a ring is never equal to the one before, and always kept: who else stands on the ring
        follows from what each of its members reads, which their errors do not say.
"""

from __future__ import annotations

from typing import Final

import engine.tables.collect as collect
from engine.care import PASSING
from engine.core import Core
from engine.errors import Cancelled
from engine.event import What
from engine.failure import Failure
from engine.graph import (
    ABSENT,
    AGAIN,
    CLEAN,
    EQUAL,
    ERROR,
    FORCED,
    KIND,
    MARKED,
    MUTABLE,
    REACH,
    REASON_SHIFT,
    RECORDED,
    SUSPECT,
    TOLD,
    TRANSIENT,
    UNSTORED,
    UNTRACKED,
    VALUE,
    kind_of,
)
from engine.mark import doubt_collections
from engine.memo import (
    Reads,
    changed,
    doubt_readers,
    first_dependencies,
    hold,
    lower_durability,
    put_value,
    raise_reach,
    replace_dependencies,
    rests_on,
)
from engine.observe import RACY
from engine.outcome import Outcome
from engine.persist import chunk, save, save_made
from engine.query import QueryInfo
from engine.reach import note
from engine.reason import Reason
from engine.recall import recall

# Flags that outlive a run.
_KEPT: Final = ~(ERROR | TRANSIENT | UNSTORED | MUTABLE | RECORDED | REACH | KIND | TOLD)
_NEW: Final = Reason.NEW << REASON_SHIFT  # here, because looking up a member of an enum costs 0.1 us


def keep(core: Core, node: int, info: QueryInfo, reads: Reads, outcome: Outcome) -> None:
    """Make a memo of an outcome. The lock is held.

    `reads`: what the run read; all of it holds in the current revision. Raises `Cancelled` where the outcome
    needs a new revision.
    """
    if outcome.transient:
        core.torn = True
        _keep_for_now(core, node, info, reads, outcome)
        return
    graph = core.graph
    had_memo = graph.verified_at[node] > 0
    reason, equal = _against_memo(core, node, info, outcome) if had_memo else (_NEW, False)
    core.torn = True
    if not (equal and info.is_input):  # else a text that nobody kept, and that is as it was, would be lost
        for snapshot in core.snapshots:
            snapshot.save(node)
    if had_memo:
        durability, reach = _take_back(core, node, info, reads, equal)
    elif info.is_input:
        durability, reach = info.durability, 0
    else:
        durability, reach = first_dependencies(core, node, info, reads)
        if reach and graph.readers[node]:  # they stand on a ring with it: they read it while it ran
            raise_reach(core, node, reach)
    _put(core, node, info, outcome, durability, reach | reason, equal if had_memo else None)
    if had_memo or node in graph.suspects:
        _cleared(core, node)
    _account(core, node, info, outcome, equal)
    if outcome.failure is not None:
        _put_failure(core, node, outcome.digest, outcome.failure)
    elif not equal:
        graph.fingerprint[node] = outcome.digest
    if not equal:
        if graph.readers[node] or graph.readers[node] is None:
            changed(core, node)
        else:
            graph.changed_at[node] = core.revision
    core.torn = False
    if core.saves:
        chunk(core)


def _put(
    core: Core, node: int, info: QueryInfo, outcome: Outcome, durability: int, flags: int, equal: bool | None
) -> None:
    """Put the new memo in place; `flags`: those that follow from what was read; `equal` as for `absorb`."""
    graph = core.graph
    before, query = graph.flags[node], graph.query[node]
    data, failure = outcome.data, outcome.failure
    keeps = info.keeps(data) or (failure is not None and failure.ring != ())  # K4
    if flags & REACH:
        note(core, query, flags)
    if failure is not None:
        flags |= ERROR
    if data is None or not keeps:
        flags |= UNSTORED
    graph.flags[node] = before & _KEPT | flags | kind_of(info)
    graph.durability[node] = durability
    graph.cost[node] = outcome.microseconds
    if query in core.queries.of_members:  # while the value before is still in place
        given = outcome.value if outcome.rows is None else outcome.rows
        collect.absorb(core, node, given, failure, before, equal)
    put_value(core, node, info, outcome.value, data, failure, keeps)
    if outcome.stamp is not None:
        core.observed[node] = core.unsaved.stamps[node] = outcome.stamp
    graph.verified_at[node] = core.revision
    graph.status[node] &= CLEAN
    if info.untracked:
        core.care.untracked[node] = None
    elif before & UNTRACKED:
        core.care.untracked.pop(node, None)
    if core.saves:
        save_made(core, node, None if flags & UNSTORED else data)


def _put_failure(core: Core, node: int, digest: bytes, failure: Failure) -> None:
    unsaved = core.unsaved
    if failure.ring and (node in unsaved.nodes or not core.saves):
        unsaved.ringed[node] = unsaved.nodes.pop(node, None)  # what it read may have no memo yet: see recover
    # Also of an equal failure: the places may differ. Of one that is not stored nobody will have the bytes to
    # compare: see test_a_failure_that_is_not_stored_is_equal_to_itself.
    unstored = core.graph.flags[node] & UNSTORED
    core.graph.fingerprint[node] = failure.identity if unstored else digest


def _against_memo(core: Core, node: int, info: QueryInfo, outcome: Outcome) -> tuple[int, bool]:
    """Why the new memo is made, as flags, and whether its value is that of the memo before."""
    if core.care.transients.get(node) == core.revision and core.graph.query[node] in core.queries.of_members:
        # It is a member: in this revision lookups were answered without its rows, and are not marked for it.
        # See test_rows_that_a_transient_failure_hid_are_seen_by_who_looked_meanwhile.
        core.care.moved[node] = None
        raise Cancelled
    equal = _equal(core, node, outcome)
    state = core.graph.status[node]
    again = not state & MARKED
    if again and outcome.failure is not None and outcome.failure.ring:
        equal = True  # which way round a cycle is told first is up to the threads
    if again and not equal:
        # Nothing it read changed, and yet the value differs: an impure query, or a file that changed
        # since it was last looked at. Both need a new revision.
        if not info.is_input:
            core.telling.note(f"{core.name_of(node)} gave another value for the same inputs: it is not pure")
        core.care.moved[node] = None
        raise Cancelled
    told = _told(core, node, info, state, again) | (EQUAL if equal and not again else 0)
    if outcome.restored:
        told = told & EQUAL | Reason.RESTORED << REASON_SHIFT | (RECORDED if outcome.recorded else 0)
    return told, equal


def _take_back(core: Core, node: int, info: QueryInfo, reads: Reads, equal: bool) -> tuple[int, int]:
    """What rests on the memo before learns what it rests on from now on (K1); that is returned."""
    graph = core.graph
    if core.history is not None and not equal:
        core.history.versions.replaced(core, node)
    if reads or graph.dependencies[node]:
        replace_dependencies(core, node, reads)
    durability, reach = _rests_on(core, node, info, reads)
    if durability < graph.durability[node]:
        graph.durability[node] = durability
        lower_durability(core, node, durability)
    if reach & ~graph.flags[node]:
        raise_reach(core, node, reach)
    return durability, reach


def _cleared(core: Core, node: int) -> None:
    """A node is no suspect any more, and is not tried again."""
    if core.reach.doubtful and node in core.collections:
        doubt_collections(core)  # this one is settled now
    if core.graph.suspects.pop(node, 0) is None:
        core.unsaved.state = True
    core.care.transients.pop(node, None)


def _account(core: Core, node: int, info: QueryInfo, outcome: Outcome, equal: bool) -> None:
    """Count it, and tell it."""
    if info.is_input:
        core.tally.read += 1
    elif outcome.restored:
        core.tally.restored += 1
    elif not info.quiet:
        core.tally.executed += 1
        if outcome.failure is not None:
            core.tally.failed += 1
        if equal:
            core.tally.cut_off += 1
        if core.dispatch is not None:
            core.dispatch.made(node, outcome.microseconds)
    if core.telling.journal is not None or core.telling.listeners:
        _tell(core, node, info, outcome, equal)


def _tell(core: Core, node: int, info: QueryInfo, outcome: Outcome, equal: bool) -> None:
    before = core.graph.fingerprint[node]
    what = _what(info, outcome, equal)
    if not info.quiet:
        took = 0 if outcome.restored else outcome.microseconds
        core.tell(what, node, took, before, outcome.digest)
    elif core.telling.journal is not None and node in core.collections and not equal:
        # Who watches a table is told when its rows are others: see test_a_watch_of_a_table_tells.
        core.telling.journal.append((what, node, outcome.microseconds, before, outcome.digest))


def _what(info: QueryInfo, outcome: Outcome, equal: bool) -> What:
    if info.is_input:
        return What.READ
    if outcome.restored:
        return What.RESTORED
    return What.CUT_OFF if equal else What.FAILED if outcome.failure else What.EXECUTED


def _keep_for_now(core: Core, node: int, info: QueryInfo, reads: Reads, outcome: Outcome) -> None:
    """Keep a transient outcome for this request; the memo before it stays the one to compare with (K3)."""
    graph = core.graph
    if graph.verified_at[node] and not graph.status[node] & MARKED:
        # Its memo holds, only the value is not kept and cannot be had for now: that concerns who needs it
        # now, and nobody else. See test_a_value_that_cannot_be_had_again_for_a_moment_leaves_its_memo_alone.
        graph.flags[node] |= TRANSIENT
        core.care.transients[node] = PASSING
    else:
        _keep_without_memo(core, node, info, reads, outcome)
    graph.flags[node] &= ~MUTABLE
    hold(core, node, info, outcome.value, outcome.data, outcome.failure)
    graph.status[node] &= ~(MARKED | SUSPECT | FORCED | VALUE)  # no hit: who reads it is transient as well
    graph.suspects.pop(node, None)
    core.torn = False
    if info.quiet:
        return
    core.tally.executed += 1
    core.tally.failed += outcome.failure is not None
    core.tell(What.FAILED if outcome.failure else What.EXECUTED, node, outcome.microseconds)


def _keep_without_memo(core: Core, node: int, info: QueryInfo, reads: Reads, outcome: Outcome) -> None:
    graph = core.graph
    for snapshot in core.snapshots:
        snapshot.save(node)
    replace_dependencies(core, node, reads)
    before = graph.flags[node]
    graph.flags[node] |= TRANSIENT
    durability, reach = _rests_on(core, node, info, reads)
    if core.collections:
        graph.flags[node] |= reach
        note(core, graph.query[node], graph.flags[node])
        raise_reach(core, node, graph.flags[node] & REACH)
    if graph.query[node] in core.queries.of_members:
        collect.absorb(core, node, outcome.value, outcome.failure, before, None)
    graph.verified_at[node] = graph.verified_at[node] or core.revision
    graph.durability[node] = min(graph.durability[node], durability)
    graph.flags[node] |= UNSTORED
    save(core, node, None)
    core.care.transients[node] = core.revision
    if info.observed:
        core.observed.setdefault(node, RACY)  # it was looked at: a watch has to know its place
    if graph.readers[node] or graph.readers[node] is None:
        doubt_readers(core, node)  # else they would keep the value of before: see test_a_reader_of_an_input


def _equal(core: Core, node: int, outcome: Outcome) -> bool:
    graph = core.graph
    if outcome.failure is not None and graph.flags[node] & ERROR:
        if node in core.claims.knots:
            # What the others on it came to follows from what this one reads, not from its error (K4).
            return False
        old = recall(core, node)
        if isinstance(old, Failure):
            return old.identity == outcome.failure.identity
        # Nobody kept it: see test_a_failure_that_is_not_stored_is_equal_when_it_is_computed_again.
        return graph.fingerprint[node] in (outcome.failure.digest, outcome.failure.identity)
    if outcome.digest or graph.fingerprint[node]:
        return outcome.equal or outcome.digest == graph.fingerprint[node]
    # Without bytes: computed again, and nothing it read has changed, is equal (its old value is gone).
    return outcome.equal or (graph.values[node] is ABSENT and not graph.status[node] & MARKED)


def _rests_on(core: Core, node: int, info: QueryInfo, reads: Reads) -> tuple[int, int]:
    """The durability of a memo that read `reads`, and the collections that it rests on, as flags.

    A collection keeps those that its members rest on.
    """
    if info.is_input:
        return info.durability, 0
    durability, reach = rests_on(core, node, info, reads)
    if node in core.collections:
        reach |= core.graph.flags[node] & REACH
    return durability, reach


def _told(core: Core, node: int, info: QueryInfo, state: int, again: bool) -> int:
    """Why the new memo is made, as flags. To run again for a value makes no other memo than there was."""
    if again:
        return core.graph.flags[node] & TOLD | (0 if info.is_input else AGAIN)
    if state & FORCED:
        return core.care.reasons.pop(node, Reason.LEFT) << REASON_SHIFT
    return Reason.CHANGED << REASON_SHIFT
