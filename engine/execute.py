"""Execute: run a query's function in a frame, compare, backdate, write the memo.

Invariants
    X1  Dependencies are replaced and the durability is lowered even when the value is equal.
    X2  An equal value keeps `changed_at`: its readers do not run (early cutoff).
    X3  What an outdated frame computed is dropped.
    X4  A failure is a value with dependencies; a transient one is kept for this request only, and so is
        everything that saw it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import engine.collect as collect
from engine.core import HARMLESS, PASSING, Core
from engine.errors import (
    Cancelled,
    DepthLimit,
    UnstorableValue,
    WrongValue,
)
from engine.event import What
from engine.failure import Failure, is_transient
from engine.frame import CURRENT
from engine.graph import (
    ABSENT,
    ERROR,
    FORCED,
    MARKED,
    MUTABLE,
    REACH,
    REASON_SHIFT,
    RECORDED,
    RUNNING,
    SUSPECT,
    TRANSIENT,
    UNSTORED,
    VALUE,
    entries,
)
from engine.mark import doubt_collections
from engine.memo import changed, doubt_readers, lower_durability, put_value, raise_reach, replace_dependencies
from engine.observe import UNSETTLED, InputFrame, look
from engine.persist import chunk, load, save, save_made
from engine.query import QueryInfo
from engine.reach import note
from engine.reason import Reason
from engine.recall import recall
from engine.running import Running
from engine.stack import HOP, run_on_fresh_stack
from engine.store.codec import fingerprint

# Flags that do not outlive a run.
_OF_ONE_RUN = ERROR | TRANSIENT | UNSTORED | MUTABLE | RECORDED | REACH | 0xF << REASON_SHIFT
_KEPT = ~_OF_ONE_RUN
Reads = dict[int, int | None]
_NEW = Reason.NEW << REASON_SHIFT  # here, because looking up a member of an enum costs 0.1 us


class Outcome:
    """What a run came to: a value or a failure, and its canonical bytes where it has any."""

    # Defaults in the class: most runs set three of them.
    value: Any = ABSENT
    data: bytes | None = None
    digest = b""
    failure: Failure | None = None
    transient = False
    microseconds = 0
    stamp: bytes | None = None
    restored = False  # an earlier memo: nothing ran
    recorded = False  # and it is still one of those that are kept
    rows: tuple[Any, ...] | None = None  # of a restored member: for its table only, see earlier_rows
    equal = False  # by the user's `eq`, or by `==` where there are no bytes


def execute(core: Core, node: int, walk: Any) -> None:
    """Run `node` and put its memo in place. The lock is held, and given away while the function runs.

    Raises `Cancelled` when the revision moved on meanwhile, and whatever is not an `Exception`.
    """
    graph = core.graph
    info = core.bound[graph.query[node]]
    assert info is not None, f"{core.name_of(node)} has no definition here"
    args = graph.args[node]
    if not isinstance(args, tuple):
        args = core.args_of(node)
    if core.in_store:
        # At once, not one by one: what it read last time it will likely read again.
        load(core, graph.dependencies[node] or ())
    old = ABSENT
    asks = info.eq is not None or not graph.fingerprint[node]
    if asks and graph.verified_at[node] and not graph.flags[node] & (ERROR | TRANSIENT):
        old = recall(core, node)
    frame = Running(core, node, walk)
    core.claims[node] = frame
    graph.status[node] |= RUNNING
    try:
        try:
            core.lock.release()
            if core.events:
                core.emit()
            outcome = _run(core, frame, info, args, old)
        finally:
            core.regain()
        if frame.generation != core.generation or core.unsettled:
            raise Cancelled
        keep(core, node, info, frame.reads, outcome)
    finally:
        graph.status[node] &= ~RUNNING
        if core.claims.get(node) is frame:  # else the lists were built anew meanwhile
            del core.claims[node]
        if core.waiting:
            core.released.notify_all()


def _run(core: Core, frame: Running, info: QueryInfo, args: tuple[Any, ...], old: Any) -> Outcome:
    outcome = Outcome()
    started = core.clock()
    try:
        if frame.depth > core.depth_limit:
            raise DepthLimit(limit=core.depth_limit)
        if core.supply is not None:
            supplied = core.supply(frame.node)
            if supplied is not None:
                return supplied
        if info.is_input:
            value, error, outcome.stamp = look(core.root, info, args)
            if error is not None:
                raise error
        elif frame.depth % HOP:
            token = CURRENT.set(frame)
            try:
                value = info.function(*args) if info.kinds is not None else info.call(args)
            finally:
                CURRENT.reset(token)
        else:
            value = run_on_fresh_stack(core, partial(_call, frame, info, args))
        conclude(core, frame, info, value, old, outcome)
    except KeyboardInterrupt as error:
        setattr(error, HARMLESS, True)  # it came out of the function: no list is half changed
        raise
    except RecursionError as error:
        _retry_recursion(core, frame, info, args, old, outcome, error)
    except (WrongValue, DepthLimit) as error:
        if "key" not in error.fields:  # else it was met on the way up
            error.fields["key"] = core.name_of(frame.node)
        fail(frame, outcome, error)
    except Exception as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None  # an interrupt that struck while the lock was taken again
        fail(frame, outcome, error)
    outcome.microseconds = (core.clock() - started) // 1000
    outcome.transient |= frame.transient
    return outcome


def _call(frame: Running, info: QueryInfo, args: tuple[Any, ...]) -> Any:
    token = CURRENT.set(frame)
    try:
        return info.call(args)
    finally:
        CURRENT.reset(token)


def _retry_recursion(
    core: Core,
    frame: Running,
    info: QueryInfo,
    args: tuple[Any, ...],
    old: Any,
    outcome: Outcome,
    error: RecursionError,
) -> None:
    """Believe a RecursionError only on a fresh stack: it must not depend on how deep the caller was."""
    if info.is_input:
        return fail(frame, outcome, error)
    frame.reads.clear()
    try:
        value = run_on_fresh_stack(core, partial(_call, frame, info, args))
        conclude(core, frame, info, value, old, outcome)
    except Exception as again:  # of the query: its value
        fail(frame, outcome, again)
    return None


def conclude(core: Core, frame: Running, info: QueryInfo, value: Any, old: Any, outcome: Outcome) -> None:
    """What a function returned becomes an outcome, unless it stands on a cycle."""
    if frame.cycle is not None:
        raise frame.cycle.error  # also when the function caught it: see claims S3
    _settle(core, info, value, outcome)
    if old is not ABSENT:
        _compare(core, info, old, outcome)


def _settle(core: Core, info: QueryInfo, value: Any, outcome: Outcome) -> None:
    """Bytes and fingerprint of a value, and the value that readers will see."""
    codec = info._codec or info.codec
    if codec.storable:
        try:
            outcome.data, outcome.value = codec.settle(value)
            outcome.digest = fingerprint(outcome.data)
            return
        except UnstorableValue as error:
            if info.needs_bytes:
                raise
            why = str(error)
    else:
        why = codec.why_not
        if info.needs_bytes:
            raise UnstorableValue(query=info.name, cause=why)
    outcome.value = value
    if info.persist:
        core.note(f"values of {info.name} are kept in memory only: {why}", once=f"unstorable {info.name}")


def fail(frame: Running, outcome: Outcome, error: Exception) -> None:
    """A failure becomes an outcome: that of the cycle that the frame stands on, where there is one."""
    if frame.cycle is not None:
        error = frame.cycle.error
    passed_on = frame.met
    if passed_on is not None and passed_on.error is error:
        # The same failure: one traceback and one fingerprint, however far it goes.
        outcome.failure = passed_on
        error.__traceback__ = passed_on.traceback
    else:
        outcome.failure = Failure.of(error, frame.cycle.ring if frame.cycle else ())
    outcome.data = outcome.failure.data
    outcome.digest = outcome.failure.digest
    outcome.value = ABSENT
    outcome.transient = is_transient(error)


def keep(core: Core, node: int, info: QueryInfo, reads: Reads, outcome: Outcome) -> None:
    """Compare an outcome with the memo, and put the new memo in place. The lock is held.

    `reads`: what the run read, as in `Frame.reads`; all of it holds in the current revision. Raises
    `Cancelled` where the outcome needs a new revision.
    """
    graph = core.graph
    state = graph.status[node]
    had_memo = graph.verified_at[node] > 0
    if outcome.transient:
        core.unsettled = True
        _keep_for_now(core, node, info, reads, outcome)
        return
    if core.transients.get(node) == core.revision and graph.query[node] in core.parts:
        # It is a member: in this revision lookups were answered without its rows, and are not marked for it.
        # See test_rows_that_a_transient_failure_hid_are_seen_by_who_looked_meanwhile.
        core.moved[node] = None
        raise Cancelled
    equal = had_memo and _equal(core, node, outcome)
    again = had_memo and not state & MARKED
    if again and outcome.failure is not None and outcome.failure.ring:
        equal = True  # which way round a cycle is told first is up to the threads
    if again and not equal:
        # Nothing it read changed, and yet the value differs: an impure query, or a file that changed
        # since it was last looked at. Both need a new revision.
        if not info.is_input:
            core.note(f"{core.name_of(node)} gave another value for the same inputs: it is not pure")
        core.moved[node] = None
        raise Cancelled
    core.unsettled = True
    for snapshot in core.snapshots:
        snapshot.save(node)
    if core.history is not None and had_memo and not equal:
        core.history.replaced(core, node)
    durability = _durability(core, node, info, reads)
    if reads or graph.dependencies[node]:
        replace_dependencies(core, node, reads)
    if durability < graph.durability[node] and had_memo:
        graph.durability[node] = durability
        lower_durability(core, node, durability)
    graph.durability[node] = durability
    graph.cost[node] = outcome.microseconds
    before = graph.flags[node]
    flags = before & _KEPT
    if core.collections:
        reach = _reach(core, node, reads)
        if reach:
            flags |= reach
            note(core, graph.query[node], reach)
        if had_memo and flags & REACH & ~before:
            raise_reach(core, node, flags & REACH)
    flags |= _reason(core, node, state, again) << REASON_SHIFT if had_memo else _NEW
    if outcome.restored:
        flags = flags & ~(0xF << REASON_SHIFT) | Reason.RESTORED << REASON_SHIFT
        flags |= RECORDED if outcome.recorded else 0
    if outcome.failure is not None:
        flags |= ERROR
    if outcome.data is None or not info.keeps(outcome.data):
        flags |= UNSTORED
    graph.flags[node] = flags
    put_value(core, node, info, outcome.value, outcome.data, outcome.failure)
    if graph.query[node] in core.parts:
        given = outcome.value if outcome.rows is None else outcome.rows
        collect.absorb(core, node, given, outcome.failure, before)
    if outcome.stamp is not None:
        core.observed[node] = outcome.stamp
        core.dirty_stamps[node] = outcome.stamp
    graph.verified_at[node] = core.revision
    graph.status[node] &= ~(MARKED | SUSPECT | FORCED)
    if core.doubtful and node in core.collections:
        doubt_collections(core)  # this one is settled now
    if graph.suspects.pop(node, 0) is None:
        core.dirty_state = True
    core.transients.pop(node, None)
    if info.untracked:
        core.untracked[node] = None
    if core.saves:
        save_made(core, node, outcome.data if info.keeps(outcome.data) else None)
        if outcome.failure is not None and outcome.failure.ring and node in core.dirty:
            core.ringed[node] = core.dirty.pop(node)  # what it read may have no memo yet: see persist
    _account(core, node, info, outcome, equal)
    if not equal or outcome.failure is not None:  # of an equal failure the places may differ
        graph.fingerprint[node] = outcome.digest
    if outcome.failure is not None and flags & UNSTORED:
        # Nobody will have this failure to compare: see test_a_failure_that_is_not_stored_is_equal_to_itself.
        graph.fingerprint[node] = outcome.failure.identity
    if not equal:
        if graph.readers[node] or graph.readers[node] is None:
            changed(core, node)
        else:
            graph.changed_at[node] = core.revision
    core.unsettled = False
    if core.saves:
        chunk(core)


def _account(core: Core, node: int, info: QueryInfo, outcome: Outcome, equal: bool) -> None:
    if info.is_input:
        core.read += 1
    elif outcome.restored:
        core.restored += 1
    elif not info.quiet:
        core.executed += 1
        core.failed += outcome.failure is not None
        core.cut_off += equal
        if core.dispatch is not None:
            core.dispatch.made(node, outcome.microseconds)
    if (core.listeners or core.journal is not None) and not info.quiet:
        before = core.graph.fingerprint[node]
        took = 0 if outcome.restored else outcome.microseconds
        core.tell(_what(info, outcome, equal), node, took, before, outcome.digest)
    elif core.journal is not None and node in core.collections and not equal:
        # Who watches a table is told when its rows are others: see test_a_watch_of_a_table_tells.
        before = core.graph.fingerprint[node]
        what = _what(info, outcome, equal)
        core.journal.append((what, node, outcome.microseconds, before, outcome.digest))
    dependencies = core.graph.dependencies[node]
    if dependencies:
        query = core.graph.query
        members = core.calls[query[node]]
        called = {query[read] for read in entries(dependencies)}
        if not called <= members:
            members |= called
            core.dirty_queries[query[node]] = None


def _what(info: QueryInfo, outcome: Outcome, equal: bool) -> What:
    if info.is_input:
        return What.READ
    if outcome.restored:
        return What.RESTORED
    return What.CUT_OFF if equal else What.FAILED if outcome.failure else What.EXECUTED


def _keep_for_now(core: Core, node: int, info: QueryInfo, reads: Reads, outcome: Outcome) -> None:
    """Keep a transient outcome for this request; the memo before it stays the one to compare with (X4)."""
    graph = core.graph
    if graph.verified_at[node] and not graph.status[node] & MARKED:
        # Its memo holds, only the value is not kept and cannot be had for now: that concerns who needs it
        # now, and nobody else. See test_a_value_that_cannot_be_had_again_for_a_moment_leaves_its_memo_alone.
        graph.flags[node] |= TRANSIENT
        core.transients[node] = PASSING
    else:
        _keep_without_memo(core, node, info, reads, outcome)
    graph.values[node] = outcome.failure or outcome.value
    graph.status[node] &= ~(MARKED | SUSPECT | FORCED | VALUE)
    graph.suspects.pop(node, None)
    core.unsettled = False
    if info.quiet:
        return
    core.executed += 1
    core.failed += outcome.failure is not None
    core.tell(What.FAILED if outcome.failure else What.EXECUTED, node, outcome.microseconds)


def _keep_without_memo(core: Core, node: int, info: QueryInfo, reads: Reads, outcome: Outcome) -> None:
    graph = core.graph
    replace_dependencies(core, node, reads)
    before = graph.flags[node]
    graph.flags[node] |= TRANSIENT
    if core.collections:
        graph.flags[node] |= _reach(core, node, reads)
        note(core, graph.query[node], graph.flags[node])
        raise_reach(core, node, graph.flags[node] & REACH)
    if graph.query[node] in core.parts:
        collect.absorb(core, node, outcome.value, outcome.failure, before)
    graph.verified_at[node] = graph.verified_at[node] or core.revision
    graph.durability[node] = min(graph.durability[node], _durability(core, node, info, reads))
    graph.flags[node] |= UNSTORED
    save(core, node, None)
    core.transients[node] = core.revision
    if info.observed:
        core.observed.setdefault(node, UNSETTLED)  # it was looked at: a watch has to know its place
    if graph.readers[node] or graph.readers[node] is None:
        doubt_readers(core, node)  # else they would keep the value of before: see test_a_reader_of_an_input


def _compare(core: Core, info: QueryInfo, old: Any, outcome: Outcome) -> None:
    """Ask the user's `eq`, or `==` where there are no bytes. Runs without the lock, and may read nothing."""
    if info.eq is None and outcome.digest:
        return
    token = CURRENT.set(InputFrame(core.root))
    try:
        if info.eq is not None:
            outcome.equal = bool(info.eq(old, outcome.value))
        else:
            outcome.equal = bool(type(old) is type(outcome.value) and old == outcome.value)
    except Exception:
        outcome.equal = False  # values whose comparison fails (arrays, say) count as different
    finally:
        CURRENT.reset(token)
    if outcome.equal:
        outcome.value = old  # readers keep what they saw
        if outcome.data is not None:
            outcome.data = info.codec.encode(old)
            outcome.digest = fingerprint(outcome.data)


def _equal(core: Core, node: int, outcome: Outcome) -> bool:
    graph = core.graph
    if outcome.failure is not None and graph.flags[node] & ERROR:
        old = recall(core, node)
        if isinstance(old, Failure):
            return old.identity == outcome.failure.identity
        # Nobody kept it: see test_a_failure_that_is_not_stored_is_equal_when_it_is_computed_again.
        return graph.fingerprint[node] in (outcome.failure.digest, outcome.failure.identity)
    if outcome.digest or graph.fingerprint[node]:
        return outcome.equal or outcome.digest == graph.fingerprint[node]
    # Without bytes: computed again, and nothing it read has changed, is equal (its old value is gone).
    return outcome.equal or (graph.values[node] is ABSENT and not graph.status[node] & MARKED)


def _durability(core: Core, node: int, info: QueryInfo, reads: Reads) -> int:
    if info.is_input:
        return int(info.durability)
    if info.collection is not None and info is not info.collection.member:
        return 0  # it is right by what members are, which its dependencies do not say
    if not reads:
        return 2
    durability = core.graph.durability
    return min([durability[node] for node in reads if node > 0])


def _reach(core: Core, node: int, reads: Reads) -> int:
    """The collections that a run rests on. One that is a collection itself also keeps what its members do."""
    all_flags = core.graph.flags
    found = all_flags[node] if node in core.collections else 0
    for read in reads:
        if read > 0:
            found |= all_flags[read]
    return found & REACH


def _reason(core: Core, node: int, state: int, again: bool) -> int:
    if again:
        return Reason.AGAIN
    if state & FORCED:
        return core.forced_for.pop(node, Reason.LEFT)
    return Reason.CHANGED
