"""Together: run many keys of a query with `batch=` in one call of its function.

Invariants
    T1  A memo is the one that a run of its key alone would leave, but for its cost: the time of the call,
        shared out.
    T2  A call that fails tells nothing of single keys: all of them are run again, one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, Final

import engine.keep as keep
import engine.running as running
import engine.verify as verify
from engine.core import HARMLESS, Core, Request
from engine.errors import Cancelled
from engine.frame import CURRENT
from engine.graph import ABSENT, FORCED, MARKED, PINNED, RUNNING
from engine.outcome import Outcome, conclude, fail
from engine.query import QueryInfo
from engine.recall import value_before

_CERTAIN: Final = MARKED | FORCED


def run_together(core: Core, nodes: Iterable[int], asker: Request, outer: verify.Walk | None = None) -> None:
    """Run those of `nodes` that have to run and whose query takes many keys. The lock is held.

    It is given away while functions run. Where one fails nothing is done: who needs its keys runs them.
    """
    graph = core.graph
    found: dict[int, list[int]] = {}
    for node in nodes:
        info = core.info_of(node)
        if info is not None and info.many is not None and not core.limits.bars(info.limit):
            found.setdefault(graph.query[node], []).append(node)
    for row, several in found.items():
        info = core.queries.bound[row]
        assert info is not None
        for start in range(0, len(several), info.batch):
            # Asked at the last moment: another thread may have been quicker.
            some = [node for node in several[start : start + info.batch] if _must_run(core, node)]
            if len(some) > 1:
                _run(core, info, some, asker, outer)


def _must_run(core: Core, node: int) -> bool:
    """Whether a key runs without a look at anything else; it reads nothing, so it runs then or never."""
    state = core.graph.status[node]
    if state & _CERTAIN != _CERTAIN or state & RUNNING or core.graph.flags[node] & PINNED:
        return False
    if core.care.reopened and core.graph.verified_at[node]:
        return False  # alone, which begins a revision
    return not verify.is_undefined(core, node)


def _run(core: Core, info: QueryInfo, nodes: list[int], asker: Request, outer: verify.Walk | None) -> None:
    graph = core.graph
    keys = [core.args_of(node)[0] for node in nodes]
    old = [value_before(core, info, node) if graph.verified_at[node] else ABSENT for node in nodes]
    frames = [_frame(core, node, asker, outer) for node in nodes]
    for frame in frames:
        core.claims.held[frame.node] = frame
        graph.status[frame.node] |= RUNNING
    try:
        try:
            core.lock.release()
            if core.telling.events:
                core.telling.emit()
            with nullcontext() if info.limit is None else core.limits.held(info.limit, asker):
                outcomes = _outcomes(core, info, frames, keys, old)
        finally:
            core.regain()
        if asker.generation != core.generation or core.torn:
            raise Cancelled
        for frame, outcome in zip(frames, outcomes, strict=False):  # none where the call failed (T2)
            keep.keep(core, frame.node, info, {}, outcome)
    finally:
        for frame in frames:
            graph.status[frame.node] &= ~RUNNING
            core.claims.give_back(frame.node, frame)


def _frame(core: Core, node: int, asker: Request, outer: verify.Walk | None) -> running.Running:
    return running.Running(core, node, verify.Walk(asker, outer, node))


def _outcomes(
    core: Core, info: QueryInfo, frames: list[running.Running], keys: list[Any], old: list[Any]
) -> list[Outcome]:
    """What each key came to; nothing where the call failed."""
    assert info.many is not None
    core.ran_at = started = core.clock()
    token = CURRENT.set(frames[0])
    try:
        values = info.many(keys)
    except KeyboardInterrupt as error:
        setattr(error, HARMLESS, True)  # it came out of the function: no list is half changed
        raise
    except Exception as error:  # any: which key it is about is seen when each runs alone (T2)
        if isinstance(error.__context__, KeyboardInterrupt):
            raise error.__context__ from None
        return []
    finally:
        CURRENT.reset(token)
    found = []
    for frame, value, before in zip(frames, values, old, strict=True):
        outcome = Outcome()
        try:
            conclude(core, frame, info, value, before, outcome)
        except Exception as error:  # its value does not fit: that is this key's failure
            fail(frame, outcome, error)
        found.append(outcome)
    core.ran_at = ended = core.clock()
    each = (ended - started) // 1000 // len(frames)
    for outcome in found:
        outcome.microseconds = each
    return found
