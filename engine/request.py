"""Request: what the outside asks of a core: a value, another look at the world, a new input value.

Invariants
    T1  An answer belongs to one revision, at or after the moment of the call.
    T2  A request that is cancelled again and again is let through in the end: writers wait for it.
    T3  Whatever was computed is committed at the end of a request, also of an interrupted one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from engine.advance import Change, apply, change_of, force, start_revision
from engine.answer import answer
from engine.core import HARMLESS, Core, Request
from engine.durability import Durability
from engine.errors import Cancelled, NotAnInput, StoreDamaged, StoreFull
from engine.explain import annotate
from engine.failure import is_transient
from engine.frame import CURRENT
from engine.graph import MARKED, PINNED, ROOT
from engine.locate import bind, locate
from engine.mark import clear, settle
from engine.observe import UNSETTLED, look, stamps
from engine.persist import KEEP, commit, load, save
from engine.query import REGISTRY, TAKEN_OVER, QueryInfo
from engine.reason import Reason
from engine.recover import put_in_place, recover, release_rings, reopen, start_over
from engine.verify import ensure

if TYPE_CHECKING:
    from engine.store.gc import Collected

T = TypeVar("T")
REBUILDS = 2  # times a request sets a damaged store aside before it gives up: the medium is not to be trusted
PATIENCE = 3  # cancelled attempts before a request makes writers wait


def demand(core: Core, info: QueryInfo, args: tuple[Any, ...]) -> Any:
    """The value of a key in the current revision; raises the error that is its value."""
    return _insist(core, lambda: _answer(core, info, args))


def _insist(core: Core, attempt: Callable[[], T]) -> T:
    rebuilt = 0
    frame = CURRENT.get()
    for tries in count():
        gate: AbstractContextManager[Any] = core.patience if tries >= PATIENCE else nullcontext()
        try:
            with gate:
                return attempt()
        except Cancelled:
            if core.stopping:
                raise _stopped() from None
            continue
        except StoreDamaged as damage:
            rebuilt += 1
            if rebuilt > REBUILDS:
                raise
            start_over(core, damage)
        except RuntimeError as error:
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
            CURRENT.set(frame)
            core.interrupted(error)
            raise error.__context__ from None  # it struck while the lock was taken again
        except KeyboardInterrupt as error:
            CURRENT.set(frame)  # an interrupt may strike between setting and resetting it
            core.interrupted(error)
            raise
        finally:
            core.emit()
    raise AssertionError("count() ends never")


def _stopped() -> KeyboardInterrupt:
    error = KeyboardInterrupt("the engine was asked to stop")
    setattr(error, HARMLESS, True)
    return error


def _answer(core: Core, info: QueryInfo, args: tuple[Any, ...]) -> Any:
    core.check_usable()
    if core.stopping:
        raise _stopped()
    if not core.synced:
        sync(core)
    with core.lock:
        _take_care(core)
        node = locate(core, info, args)
        request = Request(core)
        if not core.graph.flags[node] & ROOT:
            core.graph.flags[node] |= ROOT
            if core.graph.verified_at[node]:
                save(core, node, KEEP)
        try:
            settle(core, node, lambda suspect: ensure(core, suspect, request))
            ensure(core, node, request)
            return answer(core, node, request)
        except StoreDamaged:
            raise
        except Exception as error:
            annotate(core, node, error)
            raise
        finally:
            finish(core)


def finish(core: Core) -> None:
    """Tidy up after work, and commit it. The lock is held."""
    if core.unsettled:
        return
    graph = core.graph
    if graph.marked and not graph.suspects and not core.claims:
        clear(core)
    elif len(graph.marked) > len(graph):
        graph.marked[:] = [node for node in dict.fromkeys(graph.marked) if graph.status[node] & MARKED]
    if core.ringed and not core.claims:
        release_rings(core)
    commit(core)


def _take_care(core: Core) -> None:
    """What waited for the next request: interrupted changes, moved inputs, failures to try again."""
    if core.unsettled:
        recover(core)
        raise Cancelled  # begin again: the world has to be looked at first
    if core.taken_over != len(TAKEN_OVER):
        _rebind(core)
    if core.reopened:
        core.reopened = False
        start_revision(core, "opened again", all_levels=True)
    if core.moved:
        start_revision(core, f"{len(core.moved)} found changed when read again", all_levels=True)
        force(core, list(core.moved), Reason.OBSERVED)
        core.moved.clear()
    if core.transients and not core.claims:
        force(core, list(core.transients), Reason.RETRY)


def _rebind(core: Core) -> None:
    """Queries were defined again (a module was reloaded): the newest definition counts from now on."""
    names = dict.fromkeys(TAKEN_OVER[core.taken_over :])
    core.taken_over += len(TAKEN_OVER) - core.taken_over
    for name in names:
        row = core.rows.get(name)
        if row is not None and core.bound[row] is not REGISTRY[name]:
            bind(core, REGISTRY[name])


# -- looking at the world ------------------------------------------------------------------------


def sync(core: Core) -> int:
    """Look again at every observed input; one revision if any differs. Returns how many did."""
    core.check_usable()
    return _insist(core, lambda: _look_around(core))


def _look_around(core: Core) -> int:
    with core.sync_lock:
        with core.lock:
            if core.unsettled:
                recover(core)
            graph = core.graph
            if not core.synced:
                _load_observed(core)
            asked = [
                (node, core.bound[core.graph.query[node]], core.args_of(node), stamp)
                for node, stamp in core.observed.items()
                if not core.graph.flags[node] & PINNED
            ]
        known = [(node, info, args, stamp) for node, info, args, stamp in asked if info is not None]
        now = stamps(core.root, [(info, args) for _, info, args, _ in known])
        core.stamped += len(now)
        changes, retry = _look_at(
            core,
            [
                (node, info, args)
                for (node, info, args, stamp), fresh in zip(known, now, strict=True)
                if fresh is None or fresh != stamp or stamp == UNSETTLED
            ],
        )
        with core.patience, core.lock:
            if core.graph is not graph or core.unsettled:
                raise Cancelled  # the lists were built anew meanwhile
            changes = [change for change in changes if not graph.flags[change.node] & PINNED]  # set meanwhile
            differing = apply(core, changes, f"{len(changes)} inputs looked at")
            if retry:
                start_revision(core, f"{len(retry)} inputs could not be read", all_levels=True)
                force(core, retry, Reason.RETRY)
            core.synced = True
            finish(core)
    return differing


def _look_at(
    core: Core, asked: Iterable[tuple[int, QueryInfo, tuple[Any, ...]]]
) -> tuple[list[Change], list[int]]:
    changes: list[Change] = []
    retry: list[int] = []
    for node, info, args in asked:
        core.read += 1
        try:
            value, error, stamp = look(core.root, info, args)
            changes.append(change_of(node, info, args, value, error, stamp))
        except Exception as error:
            if not is_transient(error):
                raise
            retry.append(node)  # the next reader meets the same trouble, or finds it gone
    return changes, retry


def _load_observed(core: Core) -> None:
    """Names and stamps of the observed inputs that the store knows; their rows stay where they are."""
    if core.store is None:
        return
    graph = core.graph
    for row in core.store.inputs():
        info = core.bound[row.query]
        if info is None:
            info = REGISTRY.get(core.name_of_row[row.query])
            if info is None or not info.observed:
                continue  # looked at when its module is loaded, see `bind`
            bind(core, info)
            info.codec  # noqa: B018 -- teaches `canonical` the classes its annotations name
        graph.query[row.id] = row.query
        if graph.args[row.id] is None:
            graph.args[row.id] = row.args
        # An overlay belongs to the process that set it: look at the world again.
        core.observed[row.id] = UNSETTLED if row.flags & PINNED else row.stamp


# -- changing inputs -----------------------------------------------------------------------------


def prepare(
    core: Core, info: QueryInfo, args: tuple[Any, ...], value: Any, durability: Durability | None
) -> Change:
    """Check and encode a value to be set; makes the node if it is new."""
    node = _input_node(core, info, args)
    return change_of(node, info, args, value, pinned=True, durability=durability)


def prepare_reset(core: Core, info: QueryInfo, args: tuple[Any, ...]) -> Change:
    """The change that gives an input back to its function."""
    node = _input_node(core, info, args)
    value, error, stamp = look(core.root, info, args)
    return change_of(node, info, args, value, error, stamp)


def _input_node(core: Core, info: QueryInfo, args: tuple[Any, ...]) -> int:
    if not info.is_input:
        raise NotAnInput(query=info.name, hint="Set one of the inputs that it reads.")
    core.check_usable()
    if not core.synced:
        sync(core)

    def attempt() -> int:
        with core.lock:
            _take_care(core)
            node = locate(core, info, args)
            ensure(core, node, Request(core))  # a value to compare the new one with
            return node

    return _insist(core, attempt)


def commit_changes(core: Core, changes: list[Change], note: str) -> int:
    """Make one revision of the changes that differ, and commit it. Returns the revision now."""
    core.check_usable()

    def attempt() -> int:
        with core.patience, core.lock:
            if core.unsettled:
                recover(core)
            put_in_place(core, changes, note)
            finish(core)
            return core.revision

    return _insist(core, attempt)


def settle_inputs(core: Core) -> None:
    """What the next request would have taken care of first, so that a snapshot starts clean."""

    def attempt() -> None:
        core.check_usable()
        if not core.synced:
            sync(core)
        with core.lock:
            _take_care(core)

    _insist(core, attempt)


def load_all(core: Core) -> None:
    """Bring every row of the store into memory. O(nodes). The lock is held."""
    if core.store is not None:
        for row in sorted(core.in_store):
            load(core, core.store.nodes_of(row))


def forget(core: Core, fits: Callable[[str], bool]) -> int:
    """Let the keys whose name fits run again at the next demand; equal values still cut off."""

    def attempt() -> int:
        core.check_usable()
        with core.patience, core.lock:
            _take_care(core)
            load_all(core)
            verified_at = core.graph.verified_at
            nodes = [
                node for node in range(1, len(verified_at)) if verified_at[node] and fits(core.name_of(node))
            ]
            if nodes:
                start_revision(core, f"{len(nodes)} keys forgotten", all_levels=True)
                force(core, nodes, Reason.FORGOTTEN)
                finish(core)
            return len(nodes)

    return _insist(core, attempt)


def collect(core: Core) -> Collected:
    """Drop from the store what no key that was ever asked for from outside needs. The engine is at rest."""
    from engine.store.gc import collect as collect_store  # not needed by anything else: imported late

    assert core.store is not None
    with core.patience, core.lock:
        finish(core)
        if core.dirty:
            raise StoreFull(store=core.store.path, cause="what is in memory could not be saved before")
        collected = collect_store(core.store, ROOT | PINNED)  # what the host set is kept too
        reopen(core)
    return collected
