"""Attempt: one try at a request. Made again when it was overtaken; tidied up and committed at its end.

Invariants
    A1  A request that is cancelled again and again is let through in the end: writers wait for it.
    A2  Whatever was computed is committed at the end of a request, also of an interrupted one.
    A3  Locks are taken in one order: `sync_lock`, `patience`, `lock`. Who has lost patience never waits for
        a look at the world, which may be waiting for writers to be let in.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import Any, TypeVar

import engine.collector as collector
from engine.core import HARMLESS, Core, Request
from engine.errors import Cancelled, StoreDamaged
from engine.frame import CURRENT
from engine.graph import MARKED
from engine.limits import asked_by
from engine.mark import clear
from engine.memory import MANY, give_back
from engine.persist import commit
from engine.recover import release_left, rescue, start_over

T = TypeVar("T")
Gate = AbstractContextManager[Any]
REBUILDS = 2  # times a request sets a damaged store aside before it gives up: the medium is not to be trusted
PATIENCE = 3  # cancelled attempts before a request makes writers wait


def insist(core: Core, attempt: Callable[[Gate], T]) -> T:
    """What `attempt` returns, once it comes through.

    It enters the gate that it is given around its work; if it looks at the world, after `sync_lock` (A3).
    """
    frame = CURRENT.get()
    if isinstance(frame, Request):  # a query of another engine, or of this one behind its back
        with asked_by(frame.core.limits):
            return _relaxed(core, attempt)
    return _relaxed(core, attempt)


def _relaxed(core: Core, attempt: Callable[[Gate], T]) -> T:
    if not core.relaxes_collector:
        return _insist(core, attempt)
    request = object()
    try:
        collector.begin(request)
        return _insist(core, attempt)
    finally:
        collector.end(request)
        collector.restore()


def _insist(core: Core, attempt: Callable[[Gate], T]) -> T:
    rebuilt = 0
    frame = CURRENT.get()
    for tries in count():
        gate: Gate = core.patience if tries >= PATIENCE else nullcontext()
        started_over = core.started_over
        try:
            return attempt(gate)
        except Cancelled:
            if core.stopping:
                raise stopped() from None
            continue
        except StoreDamaged as damage:
            rebuilt += 1
            if rebuilt > REBUILDS:
                raise
            start_over(core, damage, started_over)
        except RuntimeError as error:
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
            core.interrupted(error)
            raise error.__context__ from None  # it struck while the lock was taken again
        except KeyboardInterrupt as error:
            core.interrupted(error)
            raise
        finally:
            if CURRENT.get() is not frame:
                CURRENT.set(frame)  # an interrupt struck, or memory was short, where it is set or reset
            core.telling.emit()
    raise AssertionError("count() ends never")


def stopped() -> KeyboardInterrupt:
    """What a request raises instead of starting something after a signal asked to end."""
    error = KeyboardInterrupt("the engine was asked to stop")
    setattr(error, HARMLESS, True)
    return error


def finish(core: Core) -> None:
    """Tidy up after work, and commit it. The lock is held."""
    if core.torn:
        return
    graph = core.graph
    if graph.marked and not graph.suspects and not core.claims.held:
        clear(core)
    elif len(graph.marked) > len(graph):
        graph.marked[:] = [node for node in dict.fromkeys(graph.marked) if graph.status[node] & MARKED]
        core.graph.gathered = 0
    release_left(core)
    if not core.claims.held:
        core.claims.knots.clear()
    # Not while half a ring is left: a row of who read it would name dependencies that have none. See
    # test_what_saw_a_ring_is_stored_with_it_or_not_at_all.
    if not core.unsaved.ringed:
        commit(core)
    if core.written >= MANY:
        give_back(core)
    if core.dispatch is not None and not core.claims.held:  # else workers are needed by another request
        core.dispatch.rest()


def finish_last(core: Core) -> None:
    """The same before a close, also where an interrupt left the lists half changed. The lock is held."""
    rescue(core)
    finish(core)
