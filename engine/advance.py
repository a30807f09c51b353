"""Advance: the one place where a revision starts.

Invariants
    R1  A revision is a state of all inputs; one batch of real changes makes one. Equal values make none.
    R2  Code is an input too: what is forced to run is forced in a revision of its own, so that what comes
        of it is newer than everything that was verified before.
    R3  `last_changed[d]` is the newest revision in which an input of durability d or more changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NoReturn

from attrs import frozen

from engine.core import Core
from engine.durability import Durability
from engine.errors import Cancelled, UnstorableValue, WrongValue
from engine.event import What
from engine.failure import Failure
from engine.graph import (
    CLEAN,
    ERROR,
    FORCED,
    MUTABLE,
    PINNED,
    REASON_SHIFT,
    TOLD,
    TRANSIENT,
    UNSTORED,
)
from engine.mark import suspect
from engine.memo import changed, lower_durability, put_value
from engine.persist import KEEP, load, load_readers, save, save_made
from engine.query import QueryInfo
from engine.reason import Reason
from engine.store.codec import fingerprint


@frozen(slots=True, eq=False, repr=False)
class Change:
    """A new value of an input: canonical bytes and fingerprint, or a failure."""

    node: int
    info: QueryInfo
    args: tuple[Any, ...]
    value: Any
    data: bytes | None
    digest: bytes
    failure: Failure | None = None
    stamp: bytes | None = None
    pinned: bool = False
    durability: Durability | None = None


def change_of(
    node: int,
    info: QueryInfo,
    args: tuple[Any, ...],
    value: Any,
    error: Exception | None = None,
    stamp: bytes | None = None,
    pinned: bool = False,
    durability: Durability | None = None,
) -> Change:
    """Prepare a change: check and encode the value. Runs without the lock.

    Raises `WrongValue` when the value does not fit the annotation; `UnstorableValue` when it has no
    canonical bytes (without them nobody could tell whether it is equal).
    """
    if error is not None:
        failure = Failure.of(error, ())
        digest = failure.digest if info.keeps(failure.data) else failure.identity  # as keep has it
        return Change(node, info, args, None, failure.data, digest, failure, stamp)
    if not info.codec.storable:
        raise WrongValue(query=info.name, cause=info.codec.why_not)
    data, seen = info.codec.freeze(value)
    return Change(node, info, args, seen, data, fingerprint(data), None, stamp, pinned, durability)


def change_found(
    node: int,
    info: QueryInfo,
    args: tuple[Any, ...],
    value: Any,
    error: Exception | None,
    stamp: bytes | None,
) -> Change:
    """Prepare what an observed input gave. What is no value of it is an error, as at its first read."""
    if error is None and not info.codec.storable:
        error = UnstorableValue(query=info.name, cause=info.codec.why_not)
    try:
        return change_of(node, info, args, value, error, stamp)
    except Exception as wrong:  # of the value, or of what an attribute of it runs
        if isinstance(wrong, WrongValue):
            wrong.fields.setdefault("key", info.display(args))
        return change_of(node, info, args, None, wrong, stamp)


def apply(core: Core, changes: Collection[Change], note: str) -> int:
    """Put new input values in place as one revision, if any of them differs. The lock is held.

    Returns how many differed.
    """
    different = []
    load(core, [change.node for change in changes])
    for change in changes:
        if _is_new(core, change):
            different.append(change)
        else:
            _refresh(core, change)
        if change.stamp is not None:
            core.observed[change.node] = change.stamp
            core.unsaved.stamps[change.node] = change.stamp
        if change.durability is not None and change.durability != core.graph.durability[change.node]:
            core.graph.durability[change.node] = int(change.durability)
            lower_durability(core, change.node, int(change.durability))
            save(core, change.node, KEEP)
    if different:
        _read_ahead(core, [change.node for change in different])
        core.torn, core.applying = True, different  # an interrupt from here on: see recover
        start_revision(core, note, changed_inputs=len(different))
        for change in different:
            _put(core, change)
        core.torn, core.applying = False, []
    return len(different)


def _read_ahead(core: Core, nodes: list[int]) -> None:
    """What is asked of each input that differs: who read it, and whether it was ever what it is now."""
    load_readers(core, nodes)
    if core.history is not None:
        core.history.versions.load(core, nodes)


def _is_new(core: Core, change: Change) -> bool:
    graph = core.graph
    return graph.fingerprint[change.node] != change.digest or not graph.verified_at[change.node]


def _refresh(core: Core, change: Change) -> None:
    """The value is equal: note who gives it from now on, and that it was looked at."""
    graph, node = core.graph, change.node
    if bool(graph.flags[node] & PINNED) != change.pinned:
        graph.flags[node] = (graph.flags[node] ^ PINNED) & ~TRANSIENT
        core.care.transients.pop(node, None)
        info = core.definition_of(node)
        put_value(core, node, info, change.value, change.data, change.failure, info.keeps(change.data))
        save(core, node, None if graph.flags[node] & UNSTORED else change.data)
    if graph.status[node] & FORCED:
        graph.status[node] &= CLEAN
        graph.suspects.pop(node, None)


def _put(core: Core, change: Change) -> None:
    graph, node = core.graph, change.node
    info = core.definition_of(node)
    for snapshot in core.snapshots:
        snapshot.save(node)
    if core.history is not None:
        core.history.versions.replaced(core, node)
    for level in range(graph.durability[node] + 1):
        core.last_changed[level] = core.revision
    reset = graph.flags[node] & PINNED and not change.pinned
    reason = Reason.SET if change.pinned else Reason.RESET if reset else Reason.OBSERVED
    core.care.transients.pop(node, None)
    graph.flags[node] = (
        graph.flags[node] & ~(ERROR | UNSTORED | MUTABLE | PINNED | TRANSIENT | TOLD)
        | (PINNED if change.pinned else 0)
        | reason << REASON_SHIFT
        | (ERROR if change.failure else 0)
        | (UNSTORED if change.data is None or not (info.persist or change.pinned) else 0)
    )
    before, graph.fingerprint[node] = graph.fingerprint[node], change.digest
    graph.verified_at[node] = core.revision
    graph.status[node] &= CLEAN
    graph.suspects.pop(node, None)
    put_value(core, node, info, change.value, change.data, change.failure, info.keeps(change.data))
    save_made(core, node, None if graph.flags[node] & UNSTORED else change.data)
    changed(core, node)
    what = What.SET if change.pinned else What.RESET if reset else What.READ
    core.tell(what, node, 0, before, change.digest)


def start_revision(core: Core, note: str, *, changed_inputs: int = 0, all_levels: bool = False) -> None:
    """Begin the next revision. Running frames are outdated from here on. The lock is held."""
    core.revision += 1
    core.care.reopened = False
    core.outdate()
    core.unsaved.state = True
    if all_levels:
        core.last_changed = [core.revision] * len(core.last_changed)
    if core.saves:
        core.unsaved.revisions.append((core.revision, core.wall_clock(), changed_inputs, note))
    if core.care.untracked:
        force(core, list(core.care.untracked), Reason.UNTRACKED)
        core.last_changed = [core.revision] * len(core.last_changed)
    core.claims.wake()


def renew(core: Core) -> NoReturn:
    """A key is about to run because the store lists it (`care.reopened`): begin a revision for that (R2).

    Not sooner: where nobody asks for such a key, an opening that finds nothing changed makes none. Raises
    Cancelled, since whoever asks began in the one before. The lock is held.
    """
    start_revision(core, "opened again", all_levels=True)
    raise Cancelled


def force(core: Core, nodes: Iterable[int], why: Reason) -> None:
    """Let nodes run again at the next demand, whatever their dependencies say. The lock is held."""
    for node in nodes:
        if core.graph.flags[node] & PINNED:
            continue  # its function is not asked
        if core.graph.verified_at[node] or not core.graph.status[node] & FORCED:
            suspect(core, node, FORCED)
            core.care.reasons[node] = why
