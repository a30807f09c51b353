"""Answer: the value of a node that holds, for a reader; computed once more where nobody kept it.

Invariants
    A2  A value that no reader may change is handed out as one object; of others each reader gets a copy.
    A3  Who sees a failure that is not kept, or stands on a cycle, is marked with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import engine.execute as execute
import engine.verify as verify
from engine.ahead import read_on
from engine.core import Core, Request
from engine.errors import Cancelled
from engine.failure import Failure
from engine.graph import ABSENT, MARKED, MUTABLE, RUNNING, TRANSIENT
from engine.recall import may_be_stored, recall
from engine.rings import join_ring, wait_for

if TYPE_CHECKING:
    from engine.running import Running

# Modules that call the functions of queries.
_RUN_QUERIES: Final = frozenset(("engine.execute", "engine.observe", "engine.query"))


def answer(core: Core, node: int, asker: Request) -> Any:
    """The value of `node` for a reader; raises the error that is its value. The lock is held."""
    held = core.graph.values[node]
    running = core.claims.held.get(asker.node)
    while held is ABSENT:
        if running is not None and may_be_stored(core):
            read_on(core, node, running)
        if recall(core, node) is ABSENT:
            compute_again(core, node, asker)
        held = core.graph.values[node]
    flags = core.graph.flags[node]
    if flags & TRANSIENT and running is not None:
        running.transient = True
    if isinstance(held, Failure):
        raised = held.raised()
        if running is not None:
            if running.met is not None:
                failure, before = running.met
                failure.let_go(before)
            running.met = held, raised
        if held.ring:
            join_ring(core, held.error, held.ring, asker)
        raise raised
    if flags & MUTABLE:
        return core.definition_of(node).codec.decode(held)
    return held


def shorten(error: Exception) -> None:
    """Leave out of a traceback our way from the host's call, whose frame comes first, to the failed query.

    An error that is no query's keeps all its frames: it may be a bug of ours. One that an earlier process
    kept has no frames of its query: of ours, the last one is left.
    """
    call = here = error.__traceback__
    while here is not None and here.tb_frame.f_code is not answer.__code__:
        here = here.tb_next
    if call is None or here is None:
        return
    ours, here = here, here.tb_next
    while here is not None and here.tb_frame.f_globals.get("__name__") in _RUN_QUERIES:
        here = here.tb_next
    call.tb_next = here or ours


def meet_all(core: Core, nodes: Iterable[int], asker: Running) -> None:
    """Who asked for a group that fails stands on the rings of all its members, not of the first alone.

    Nor is what it comes to kept where one of them fails for a moment: that is tried again without a new
    revision, and what rests on it and is kept would not be looked at. See
    test_who_rests_on_a_group_is_marked_later_where_a_member_failed_for_a_moment_behind_another.
    """
    if asker.generation != core.generation:
        return
    for node in nodes:
        held = core.graph.values[node]
        if core.graph.flags[node] & TRANSIENT:
            asker.transient = True
        if isinstance(held, Failure) and held.ring and not core.graph.status[node] & MARKED:
            join_ring(core, held.error, held.ring, asker)


def compute_again(core: Core, node: int, asker: Request) -> None:
    """Run a query whose memo holds but whose value is nowhere kept (`persist=False`, unstorable)."""
    walk = verify.Walk(asker, None, node)
    try:
        if core.graph.status[node] & RUNNING:
            wait_for(core, node, walk)
        else:
            execute.execute(core, node, walk)
    except MemoryError as error:  # not the query's own, which is its value: it struck amid our lists
        core.interrupted(error)
        raise
    if asker.generation != core.generation:
        raise Cancelled
