"""Execute: run a query's function in a frame. What it comes to is an outcome, and `keep` makes a memo of it.

Invariants
    X1  A function runs without the lock, under a claim; nothing that it raises leaves a claim behind.
    X2  What an outdated frame computed is dropped.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import engine.keep as keep
from engine.advance import renew
from engine.core import HARMLESS, Core
from engine.errors import Cancelled, DepthLimit, WrongValue
from engine.frame import CURRENT
from engine.graph import ABSENT, FORCED, RUNNING, SUSPECT
from engine.message import EngineError
from engine.observe import look
from engine.outcome import Outcome, conclude, fail
from engine.persist import load
from engine.query import QueryInfo
from engine.recall import value_before
from engine.rings import rest_on_ring
from engine.running import Running, struck_amid_a_read
from engine.stack import HOP, run_on_fresh_stack


def execute(core: Core, node: int, walk: Any) -> None:
    """Run `node` and put its memo in place. The lock is held, and given away while the function runs.

    Raises `Cancelled` when the revision moved on meanwhile, and whatever is not an `Exception`.
    """
    graph = core.graph
    info = core.queries.bound[graph.query[node]]
    assert info is not None, f"{core.name_of(node)} has no definition here"
    args = graph.args[node]
    if isinstance(args, str):
        args = (args,)
    elif not isinstance(args, tuple):
        args = core.args_of(node)
    old: Any = ABSENT
    if graph.verified_at[node]:
        if core.care.reopened and graph.status[node] & FORCED:
            renew(core)
        if core.queries.stored and graph.status[node] & (SUSPECT | FORCED) != SUSPECT:
            # At once, not one by one: what it read last time it will likely read again. Of a suspect it was
            # read when it was verified.
            load(core, graph.below(node))
        old = value_before(core, info, node)
    frame = Running(core, node, walk)
    core.claims.held[node] = frame
    graph.status[node] |= RUNNING
    try:
        try:
            core.lock.release()
            if core.telling.events:
                core.telling.emit()
            outcome = (_run if info.limit is None else _run_limited)(core, frame, info, args, old)
            if frame.met is not None:
                failure, raised = frame.met
                failure.let_go(raised)
        finally:
            core.regain()
        if frame.generation != core.generation or core.torn:
            raise Cancelled
        if frame.cycle is not None:
            rest_on_ring(core, frame, frame.cycle)
        keep.keep(core, node, info, frame.reads, outcome)
    finally:
        graph.status[node] &= ~RUNNING
        core.claims.give_back(node, frame)


def _run(core: Core, frame: Running, info: QueryInfo, args: tuple[Any, ...], old: Any) -> Outcome:
    outcome = Outcome()
    core.ran_at = started = core.clock()
    try:
        if frame.depth > core.depth_limit:
            raise DepthLimit(limit=core.depth_limit)
        if core.supply is not None:
            supplied = core.supply(frame.node)
            if supplied is not None:
                return supplied
        if info.is_input:
            _look(core, frame, info, args, old, outcome)
        elif frame.depth % HOP:
            token = CURRENT.set(frame)
            try:
                value = info.function(*args) if info.kinds is not None else info.call(args)
            finally:
                CURRENT.reset(token)
            conclude(core, frame, info, value, old, outcome)
        else:
            value = run_on_fresh_stack(core, partial(_call, frame, info, args))
            conclude(core, frame, info, value, old, outcome)
    except KeyboardInterrupt as error:
        if not struck_amid_a_read(error):
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
    core.ran_at = ended = core.clock()
    outcome.microseconds = (ended - started) // 1000
    if frame.transient:
        outcome.transient = True
    return outcome


def _look(
    core: Core, frame: Running, info: QueryInfo, args: tuple[Any, ...], old: Any, outcome: Outcome
) -> None:
    value, error, outcome.stamp = look(core.outside, info, args)
    if error is None:
        conclude(core, frame, info, value, old, outcome)
    elif isinstance(error, EngineError) and error.is_answer:
        fail(frame, outcome, error.with_traceback(None))  # raised here, it would keep all callers
    else:
        raise error


def _run_limited(core: Core, frame: Running, info: QueryInfo, args: tuple[Any, ...], old: Any) -> Outcome:
    assert info.limit is not None
    with core.limits.held(info.limit, frame):
        return _run(core, frame, info, args, old)


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
