"""Graft: put the memos that a worker made into the graph, as if the queries had run here.

Invariants
    F1  A memo is taken over where the key has none here or certainly has to run; elsewhere only its
        fingerprint is compared. So the same keys run as without workers, and two states of a file never mix.
    F2  What it read was taken over before it, so every edge leads to a node with a memo (persist P1).
"""

from __future__ import annotations

from collections.abc import Container

import engine.verify as verify
from engine.core import Core, Request
from engine.errors import Cancelled
from engine.failure import Failure
from engine.graph import ABSENT, GROUP, MARKED, RUNNING, TRANSIENT
from engine.keep import keep
from engine.locate import locate
from engine.memo import Reads
from engine.outcome import Outcome
from engine.parallel.choose import must_run
from engine.parallel.units import Record
from engine.query import REGISTRY, QueryInfo
from engine.rings import Cycle
from engine.store import canonical
from engine.store.codec import DamagedValue
from engine.tables.kept_table import KeptTable
from engine.tables.lookup import LookupInfo

_THERE = RuntimeError("it was raised in a worker")  # stands for a failure of which only the identity is known


class Conflict(Exception):
    """This engine and the worker do not agree, or it cannot be told here: the key is computed here."""


def graft(
    core: Core,
    record: Record,
    code: bytes,
    ids: dict[int, int],
    units: Container[int],
    asker: Request,
    outer: verify.Walk | None,
) -> bool:
    """Take over one memo; False where it is known here. The lock is held; it may be given away meanwhile.

    code    the fingerprint of its query's code there
    ids     nodes there -> nodes here, of what was taken over before; gets the new one
    units   the nodes that were asked for: their values are wanted

    Raises `Conflict`, and `Cancelled` when the revision moved on.
    """
    info = REGISTRY.get(record.query)
    if info is None:
        raise Conflict(f"{record.query} is not defined here")
    try:
        reads = _translated(record.dependencies, ids)
    except KeyError:
        raise Conflict(f"something that a key of {info.name} read was not taken over") from None
    info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
    try:
        node = locate(core, info, canonical.restore(record.args))
    except ValueError as error:  # a class that only the worker imported
        raise Conflict(f"the arguments of a key of {info.name} cannot be read: {error}") from None
    if asker.generation != core.generation:
        raise Cancelled  # binding the query found that its code changed
    if core.queries.codes[core.graph.query[node]] != code:
        raise Conflict(f"the code of {info.name} is another one there")
    if core.graph.status[node] & RUNNING:
        raise Conflict(f"{core.name_of(node)} runs here")
    known = core.graph.verified_at[node] and (info.eq is not None or not must_run(core, node))
    if known:
        _compare(core, node, record, asker, outer)
    else:
        if isinstance(info, LookupInfo):
            _note_look(core, node, info, reads)
        if core.history is not None and core.graph.verified_at[node]:
            core.history.remember(core, node, info)
        try:
            keep(core, node, info, reads, _outcome(core, node, info, record, units))
        finally:  # it may commit, which may fail
            held = core.graph.values[node]
            if isinstance(held, Failure) and held.error is _THERE:
                core.graph.values[node] = ABSENT  # as after a restart: who wants to see it looks again
    ids[record.node] = node
    return not known


def _translated(dependencies: tuple[int, ...], ids: dict[int, int]) -> Reads:
    """What was read, in the form of `Frame.reads`."""
    reads: Reads = {}
    for entry in dependencies:
        if entry & GROUP:
            reads[-len(reads) - 1] = entry & ~GROUP
        else:
            reads[ids[entry]] = None
    return reads


def _note_look(core: Core, node: int, info: LookupInfo, reads: Reads) -> None:
    """A worker looked into a table by itself: from now on changes of what it saw force that."""
    table = core.collections.get(next(iter(reads), 0))
    if not isinstance(table, KeptTable) or table.kept.fresh or table.is_doubtful or table.failing:
        raise Conflict(f"the table of {core.name_of(node)} is another one here")
    table.looked_up(info.mode, core.args_of(node))


def _compare(core: Core, node: int, record: Record, asker: Request, outer: verify.Walk | None) -> None:
    graph = core.graph
    if graph.status[node] & MARKED:
        try:
            verify.ensure(core, node, asker, outer)  # as the unit would have done here
        except Cycle as cycle:
            raise Conflict(str(cycle.error)) from None
        if asker.generation != core.generation:
            raise Cancelled
    if graph.flags[node] & TRANSIENT or graph.fingerprint[node] != record.fingerprint:
        raise Conflict(f"{core.name_of(node)} is another one here")


def _outcome(core: Core, node: int, info: QueryInfo, record: Record, units: Container[int]) -> Outcome:
    outcome = Outcome()
    outcome.data, outcome.digest = record.data, record.fingerprint
    outcome.microseconds, outcome.stamp = record.cost, record.stamp
    if record.is_error and record.data is None:
        if core.graph.query[node] in core.queries.of_members:
            raise Conflict(f"{core.name_of(node)} fails with an error of a class of its own")
        outcome.failure = Failure(_THERE, record.fingerprint, None)
    elif record.is_error:
        outcome.failure = Failure.restored(record.data or b"")
        if outcome.failure is None:
            raise Conflict(f"{core.name_of(node)} fails with an error of a class of its own")
    elif record.data is not None:
        kept_elsewhere = core.saves and info.persist and core.graph.query[node] not in core.queries.of_members
        if node in units or not kept_elsewhere:
            try:
                outcome.value = info.codec.decode(record.data)
            except DamagedValue as error:  # as above
                raise Conflict(f"the value of {core.name_of(node)} cannot be read: {error}") from None
    assert outcome.value is ABSENT or outcome.failure is None
    return outcome
