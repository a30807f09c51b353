"""Request: what the outside asks of a core: a value, a new input value. (Another look at the world: `look`.)

Invariants
    T1  An answer belongs to one revision, at or after the moment of the call.
    T2  The world was looked at before anything is answered or changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import engine.history as history
from engine.advance import Change, change_found, change_of, force, start_revision
from engine.answer import answer
from engine.attempt import PATIENCE, Gate, finish, insist, stopped
from engine.core import Core, Request
from engine.durability import Durability
from engine.errors import (
    Cancelled,
    NotAnInput,
    QueryTakenOver,
    StoreDamaged,
    StoreFull,
    TableTakenOver,
    WrongInput,
    WrongValue,
)
from engine.explain import annotate
from engine.graph import ABSENT, FORCED, ROOT, TRANSIENT
from engine.key import Key
from engine.locate import bind, locate
from engine.look import sync
from engine.mark import complete
from engine.observe import look
from engine.options import check_level
from engine.persist import KEEP, load, save
from engine.query import REGISTRY, QueryInfo
from engine.reason import Reason
from engine.recover import put_in_place, recover, release_left, reopen
from engine.tables.collect import below
from engine.tables.cycles import retry_cycles
from engine.verify import ensure

if TYPE_CHECKING:
    from engine.store.gc import Collected

T = TypeVar("T")
AT_ONCE = 10_000  # rows that are read at a time where all are: some 5 MB


def demand(core: Core, info: QueryInfo, args: tuple[Any, ...]) -> Any:
    """The value of a key in the current revision; raises the error that is its value."""
    return insist(core, lambda gate: answer_once(core, info, args, gate))


def refresh(
    core: Core,
    asked: list[tuple[QueryInfo, tuple[Any, ...]]],
    wanted: Callable[[], bool],
    conclude: Callable[[int], T],
) -> tuple[list[Exception | None], T]:
    """Bring many keys up to date in one revision, and commit once: the error of each, or None.

    conclude    called with that revision at the moment of the commit, while the lock is held; what it returns
                is returned too

    Where the revision moves on meanwhile, all keys are gone through again (the unchanged ones cost nothing).
    Ends as a stopped engine does, with what was computed committed, when it is not `wanted` any more.
    """

    def attempt(info: QueryInfo, args: tuple[Any, ...], tries: int, gate: Gate) -> None:
        if not wanted():
            raise stopped()
        answer_once(core, info, args, core.patience if tries >= PATIENCE else gate, commits=False)

    try:
        for tries in count():
            revision = core.revision
            errors = [_error(core, partial(attempt, info, args, tries), wanted) for info, args in asked]
            try:
                with core.lock:
                    # The world may change without an end: then what holds is the revision of before.
                    if core.revision == revision or tries >= 2 * PATIENCE:
                        finish(core)
                        return errors, conclude(revision)
            except StoreDamaged:  # removed under us, say: it is set aside, as in any request
                if tries >= 2 * PATIENCE:
                    raise
                insist(core, lambda gate: _finish(core))
    finally:
        insist(core, lambda gate: _finish(core))
    raise AssertionError("count() ends never")


def _error(core: Core, attempt: Callable[[Gate], None], wanted: Callable[[], bool]) -> Exception | None:
    try:
        insist(core, attempt)
    except Exception as error:  # raised by who asked for it, after the others were answered
        return error
    except (SystemExit, GeneratorExit, KeyboardInterrupt) as error:
        if core.stopping or not wanted():
            raise
        # What ends a program ends nobody else's who asks for other keys.
        return RuntimeError(f"{type(error).__name__} was raised: {error}")
    return None


def _finish(core: Core) -> None:
    with core.lock:
        finish(core)


def answer_once(core: Core, info: QueryInfo, args: tuple[Any, ...], gate: Gate, commits: bool = True) -> Any:
    core.check_usable()
    if core.stopping:
        raise stopped()
    if not core.synced:
        sync(core)
    with gate, core.lock:
        _take_care(core)
        try:
            node = _asked_outside(core, info, args)
        except MemoryError as error:  # as below
            core.interrupted(error)
            raise
        request = Request(core)
        try:
            try:
                complete(core, node, lambda suspect: ensure(core, suspect, request))
                if core.reach.doubtful:
                    below(core, (node,), request)
                ensure(core, node, request)
                if core.queries.can_compare():
                    raise Cancelled  # what we imported was asked for by others before it was loaded
            except MemoryError as error:  # not a query's own, which is a value: it struck amid our lists
                core.interrupted(error)
                raise
            return answer(core, node, request)
        except StoreDamaged:
            raise
        except Exception as error:  # any: told where it was met
            if core.struck is error:
                core.struck = None  # told now, and not to the next one as well
            annotate(core, node, error)
            raise
        except KeyboardInterrupt as error:
            core.interrupted(error)  # before anybody commits, or believes, what is half changed
            raise
        finally:
            if commits:
                finish(core)


def _asked_outside(core: Core, info: QueryInfo, args: tuple[Any, ...]) -> int:
    node = locate(core, info, args)
    if not core.graph.flags[node] & ROOT:
        core.graph.flags[node] |= ROOT
        if core.graph.verified_at[node]:
            save(core, node, KEEP)
    return node


def _take_care(core: Core) -> None:
    """What waited for the next request: interrupted changes, moved inputs, failures to try again."""
    core.check_usable()  # it may have been closed while this thread waited for the lock
    if core.torn:
        struck, core.struck = core.struck, None
        recover(core)
        if struck is not None:
            raise struck
        raise Cancelled  # begin again: the world has to be looked at first
    release_left(core)
    if not core.queries.are_newest:
        rebind(core)
    if core.care.moved:
        start_revision(core, f"{len(core.care.moved)} found changed when read again", all_levels=True)
        force(core, list(core.care.moved), Reason.OBSERVED)
        history.forget(core, list(core.care.moved))
        core.care.moved.clear()
    if core.collections and not core.claims.held:
        retry_cycles(core)
    if core.care.transients and not core.claims.held:
        for node in core.care.take_passing():
            core.graph.flags[node] &= ~TRANSIENT
            core.graph.values[node] = ABSENT
        # Those that wait already are left alone: see test_failures_that_nobody_asks_for_are_left_alone.
        status = core.graph.status
        force(core, [node for node in core.care.transients if not status[node] & FORCED], Reason.RETRY)


def rebind(core: Core) -> None:
    """Queries were defined again (a module was reloaded): the newest definition counts from now on.

    The lock is held. One that has no code to compare does not keep the others from it: raises its error last.
    """
    failed: Exception | None = None
    for name in core.queries.redefined():
        row = core.queries.by_name.get(name)
        try:
            if row is not None:  # also where it was met already: that may have been while it was loaded
                bind(core, REGISTRY[name])
        except (QueryTakenOver, TableTakenOver):
            continue  # another thread defined it once more meanwhile: that is news for the next request
        except Exception as error:  # whatever the objects of the user raise that its code names
            failed = failed or error
    if failed is not None:
        raise failed


# -- changing inputs -----------------------------------------------------------------------------


def prepare(core: Core, key: Key[Any], value: Any, durability: Durability | None) -> Change:
    """Check and encode a value to be set; makes the node if it is new."""
    check_level(key, durability)
    info, args = key.query, key.args
    if info.place is not None and info.place_of(args) is None:  # nobody would read it by this name
        _, error, _ = look(core.outside, info, args)
        if error is not None:
            raise error
    node = _input_node(core, info, args)
    try:
        return change_of(node, key.query, key.args, value, pinned=True, durability=durability)
    except WrongValue as error:
        raise WrongInput(**{"input": str(key), **error.fields}) from None


def prepare_reset(core: Core, info: QueryInfo, args: tuple[Any, ...]) -> Change:
    """The change that gives an input back to its function."""
    node = _input_node(core, info, args)
    value, error, stamp = look(core.outside, info, args)
    prepared = change_found if info.observed else change_of
    return prepared(node, info, args, value, error, stamp)


def _input_node(core: Core, info: QueryInfo, args: tuple[Any, ...]) -> int:
    if not info.is_input:
        raise NotAnInput(query=info.name, hint="Set one of the inputs that it reads.")
    core.check_usable()
    if not core.synced:
        sync(core)

    def attempt(gate: Gate) -> int:
        with gate, core.lock:
            _take_care(core)
            try:
                node = locate(core, info, args)
                ensure(core, node, Request(core))  # a value to compare the new one with
            except MemoryError as error:  # as in `answer_once`
                core.interrupted(error)
                raise
            return node

    return insist(core, attempt)


def commit_changes(core: Core, changes: list[Change], note: str) -> int:
    """Make one revision of the changes that differ, and commit it. Returns the revision now."""
    core.check_usable()

    def attempt(_: Gate) -> int:
        with core.patience, core.lock:
            core.check_usable()
            if core.torn:
                recover(core)
            put_in_place(core, changes, note)
            finish(core)
            return core.revision

    return insist(core, attempt)


def make_calm(core: Core) -> None:
    """What the next request would have taken care of first, so that a snapshot starts clean."""

    def attempt(gate: Gate) -> None:
        core.check_usable()
        if not core.synced:
            sync(core)
        with gate, core.lock:
            _take_care(core)

    insist(core, attempt)


def load_all(core: Core) -> None:
    """Bring every row of the store into memory. O(nodes). The lock is held."""
    if core.store is not None:
        nodes = core.store.all_nodes()
        for start in range(0, len(nodes), AT_ONCE):
            load(core, nodes[start : start + AT_ONCE])


def forget(core: Core, fits: Callable[[str], bool]) -> int:
    """Let the keys whose name fits run again at the next demand; equal values still cut off."""

    def attempt(_: Gate) -> int:
        core.check_usable()
        with core.patience, core.lock:
            _take_care(core)
            load_all(core)
            verified_at = core.graph.verified_at
            nodes = [
                node for node in range(1, len(verified_at)) if verified_at[node] and fits(core.name_of(node))
            ]
            if nodes:
                start_revision(core, f"{len(nodes)} key{'s' * (len(nodes) > 1)} forgotten", all_levels=True)
                force(core, nodes, Reason.FORGOTTEN)
                history.forget(core, nodes)
                finish(core)
            return len(nodes)

    return insist(core, attempt)


def collect(core: Core) -> Collected:
    """Drop from the store what no key that was ever asked for from outside needs. The engine is at rest."""
    from engine.store.gc import collect as collect_store  # not needed by anything else: imported late

    assert core.store is not None
    try:
        with core.patience, core.lock:
            if core.torn:
                recover(core)
            finish(core)
            if core.unsaved.nodes:
                raise StoreFull(store=core.store.path, cause="what is in memory could not be saved before")
            try:
                collected = collect_store(core.store)
            finally:  # also where there was no room to give back room: what was to go has gone by then
                reopen(core)
    except KeyboardInterrupt as error:
        core.interrupted(error)
        raise
    return collected
