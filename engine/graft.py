"""Graft: put the memos that a worker made into the graph, as if the queries had run here.

Invariants
    F1  A memo is taken over only where this engine knows nothing of its key, or the same value already.
    F2  What it read was taken over before it, so every edge leads to a node with a memo (persist P1).
"""

from __future__ import annotations

from typing import Any

import engine.collect as collect
from engine.core import Core
from engine.event import What
from engine.failure import Failure
from engine.graph import (
    ERROR,
    FORCED,
    GROUP,
    INPUT,
    LOADED,
    MARKED,
    MUTABLE,
    OBSERVED,
    RUNNING,
    SUSPECT,
    UNSTORED,
)
from engine.locate import locate
from engine.memo import put_value, replace_dependencies
from engine.persist import chunk, save
from engine.query import REGISTRY
from engine.store import canonical
from engine.units import Record

TAKEN = INPUT | ERROR | UNSTORED | OBSERVED | MUTABLE  # flags that mean the same here as in the worker


class Conflict(Exception):
    """This engine and the worker do not agree, or it cannot be told here: the key is computed here."""


def graft(core: Core, record: Record, ids: dict[int, int]) -> None:
    """Take over one memo; `ids` are the nodes of what was taken over before. The lock is held.

    Raises `Conflict`.
    """
    info = REGISTRY.get(record.query)
    if info is None:
        raise Conflict(f"{record.query} is not defined here")
    info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
    node = ids[record.node] = locate(core, info, canonical.restore(record.args))
    graph = core.graph
    if graph.verified_at[node]:
        if graph.status[node] & MARKED or graph.fingerprint[node] != record.fingerprint:
            raise Conflict(f"{core.name_of(node)} may be another one here")
        return
    if graph.status[node] & RUNNING:
        raise Conflict(f"{core.name_of(node)} runs here")
    failure = None
    if record.flags & ERROR:
        failure = Failure.restored(record.data or b"")
        if failure is None:
            raise Conflict(f"{core.name_of(node)} fails with an error of a class of its own")
    reads: dict[int, int | None] = {}
    for entry in record.dependencies:
        if entry & GROUP:
            reads[-len(reads) - 1] = entry & ~GROUP
        else:
            reads[ids[entry]] = None
    core.unsettled = True
    _put(core, node, record, reads, failure)
    core.unsettled = False
    if core.saves:
        chunk(core)


def _put(
    core: Core, node: int, record: Record, reads: dict[int, int | None], failure: Failure | None
) -> None:
    graph = core.graph
    info = core.bound[graph.query[node]]
    assert info is not None
    if reads:
        replace_dependencies(core, node, reads)
        graph.durability[node] = min(graph.durability[read] for read in reads if read > 0)
    graph.cost[node] = record.cost
    graph.flags[node] = graph.flags[node] & ~TAKEN | record.flags & TAKEN
    graph.fingerprint[node] = record.fingerprint
    graph.changed_at[node] = graph.verified_at[node] = core.revision
    graph.status[node] = graph.status[node] & ~(MARKED | SUSPECT | FORCED) | LOADED
    wanted = graph.query[node] in core.parts
    value: Any = None
    if record.data is not None and (failure is not None or wanted or not core.saves):
        value = None if failure is not None else info.codec.decode(record.data)
        put_value(core, node, info, value, record.data, failure)
    if wanted:
        collect.absorb(core, node, value, failure, 0)
    if record.stamp is not None:
        core.observed[node] = record.stamp
        core.dirty_stamps[node] = record.stamp
    if core.saves:
        save(core, node, record.data)
    _account(core, node, record, failure)


def _account(core: Core, node: int, record: Record, failure: Failure | None) -> None:
    graph = core.graph
    is_input = bool(record.flags & INPUT)
    if is_input:
        core.read += 1
    else:
        core.executed += 1
        core.failed += failure is not None
    what = What.READ if is_input else What.FAILED if failure is not None else What.EXECUTED
    core.tell(what, node, record.cost, b"", record.fingerprint)
    called = {graph.query[read] for read in graph.dependencies[node] or () if not read & GROUP}
    members = core.calls[graph.query[node]]
    if not called <= members:
        members |= called
        core.dirty_queries[graph.query[node]] = None
