"""Questions: what a worker is told that asks for a key."""

from __future__ import annotations

import engine.tables.collect as collect
import engine.verify as verify
from engine.core import Core
from engine.graph import ERROR, MARKED, RUNNING, TRANSIENT
from engine.locate import locate
from engine.parallel.choose import must_run
from engine.parallel.held import bytes_of
from engine.parallel.order import Order
from engine.parallel.slot import Slot
from engine.parallel.units import COMPUTE, GIVEN, REFUSED, Ask, Reply
from engine.query import REGISTRY, QueryInfo
from engine.reach import closure
from engine.rings import Cycle
from engine.store import canonical

HELD, UNSETTLED, BUSY = "held", "unsettled", "busy"  # states of a table


def reply(core: Core, slot: Slot, ask: Ask, order: Order, limited: bool) -> Reply:
    """What the unit would be told if it ran here and read that key: see `Running.fetch`.

    limited     other workers take places of limits: nothing may run here that might wait for one of them
    """
    graph = core.graph
    info = REGISTRY.get(ask.query)
    if info is None:
        return Reply(COMPUTE)
    info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
    try:
        node = locate(core, info, canonical.restore(ask.args))
    except ValueError:  # a class that only the worker imported
        return Reply(COMPUTE)
    order.fence()
    lookup = info.collection is not None and info is not info.collection.member
    if lookup:
        state = _state_of(core, info)
        if state is not HELD:
            if state is UNSETTLED:
                order.first[node] = None
                slot.postponed.add(ask.place)
            return Reply(REFUSED)
    elif (not graph.verified_at[node] or must_run(core, node)) and node not in core.claims.held:
        return Reply(COMPUTE)
    if limited and (graph.status[node] & MARKED or closure(core, graph.flags[node]) & core.reach.doubtful):
        # See test_what_a_worker_asks_for_waits_for_no_limit_of_another_worker.
        order.first[node] = None
        slot.postponed.add(ask.place)
        return Reply(REFUSED)
    # Who waits in a circle must find the unit on it.
    unit = slot.units[ask.place]
    walk = verify.Walk(order.asker, order.outer, unit)
    walk.entered, walk.positions = {unit}, [-1]
    try:
        if core.reach.doubtful:
            collect.below(core, (node,), order.asker)
        verify.ensure(core, node, order.asker, walk)
    except Cycle:
        return Reply(REFUSED)
    order.fence()
    data = None if graph.flags[node] & TRANSIENT else bytes_of(core, node)
    if data is None:
        return Reply(REFUSED if graph.flags[node] & (ERROR | TRANSIENT) else COMPUTE)
    slot.ids[ask.node] = node
    return Reply(GIVEN, bool(graph.flags[node] & ERROR), graph.fingerprint[node], data)


def _state_of(core: Core, lookup: QueryInfo) -> str:
    """Whether the table that a lookup looks into is up to date. To bring it there takes all workers."""
    graph = core.graph
    node = locate(core, lookup.collection.settle, ())
    if graph.status[node] & RUNNING:
        return BUSY
    settled = graph.verified_at[node] and not graph.status[node] & MARKED
    return HELD if settled and not closure(core, graph.flags[node]) & core.reach.doubtful else UNSETTLED
