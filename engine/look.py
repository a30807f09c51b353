"""Look: another look at the world for observed inputs, all of them or those that somebody names.

In two steps, so that who looks can see what differs before it counts: `look_at` changes nothing, `take` makes
one revision of what it found. Both are done while the caller holds `core.sync_lock`: of two looks that
overlap, the older one could be taken last and bring an older value back.

Invariants
    K1  An input is stamped after the look began, and read after it was stamped: what was saved before the
        look is seen by it.
    K2  Nothing is stamped or read while `lock` is held.
    K3  What was found goes into the lists it was asked from, or nowhere: a rebuild cancels the look.
    K4  One look makes at most one revision of values that differ; none where all are equal (observe B3).
    K5  Not looked at: what the host set, and what no loaded module defines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import Any, cast

from attrs import frozen

from engine.advance import Change, apply, change_found, force, start_revision
from engine.attempt import Gate, finish, insist, stopped
from engine.core import Core
from engine.errors import Cancelled
from engine.failure import is_transient
from engine.first_look import Asked, Loaded, differing, load_observed
from engine.graph import PINNED, Graph
from engine.observe import RACY, look, stamps
from engine.proven import prove
from engine.query import QueryInfo
from engine.reason import Reason
from engine.recover import recover

HURRY_SECONDS = 0.015  # what a request that lost its patience is given to get on, by who is in a hurry
HANDFUL = 8  # inputs that one thread reads (in 0.3 ms) before others could have been started
SHARE = 32  # inputs read in one go by a thread: 1 ms, against 30 us to hand it out


@frozen(slots=True, eq=False, repr=False)
class Looked:
    """What a look found. Nothing of it counts before `take`.

    graph       the lists it was asked from (K3)
    changes     inputs that were read: the stamp differs, or could not be trusted. Their values may be equal.
    retry       inputs that could not be read for now (transient trouble)
    stamped     how many inputs were looked at
    whole       whether these were all
    """

    graph: Graph
    changes: list[Change]
    retry: list[int]
    stamped: int
    whole: bool


def sync(core: Core) -> int:
    """Look again at every observed input; one revision if any differs. Returns how many did."""
    core.check_usable()

    def attempt(gate: Gate) -> int:
        with core.sync_lock, gate:
            with core.lock:
                if core.torn:
                    recover(core)
            looked = look_at(core)
            return take(core, looked, f"{len(looked.changes)} inputs looked at")

    return insist(core, attempt)


def look_at(core: Core, nodes: Iterable[int] | None = None, *, threads: int = 1) -> Looked:
    """Stamp observed inputs, and read those that differ or whose stamp could not be trusted.

    `nodes`: look at these only; those among them that are not observed are left out. With `threads`, as many
    read at the same time where more than a handful differ. `sync_lock` is held, and `lock` is not.

    Raises Cancelled after an interrupted change: ids of nodes mean nothing until the next request.
    """
    assert core.sync_lock.locked()
    whole = nodes is None
    with core.lock:
        if core.torn:
            raise Cancelled
        first = _first(core) if nodes is None and not core.synced else Loaded()
        graph = core.graph
        if nodes is None:
            nodes = core.observed.stamps if core.synced else first.others
        asked, before, infos, arguments = _askable(core, nodes) if nodes else ([], [], [], [])
    found = differing(core.root, graph, first.stampings)
    now = stamps(core.root, zip(infos, arguments, strict=True))
    found += [
        (asked[at], infos[at], arguments[at], new)
        for at, (old, new) in enumerate(zip(before, now, strict=True))
        if new != old or new is None or old == RACY
    ]
    stamped = len(now) + sum(map(len, first.stampings))
    core.tally.stamped += stamped
    prove(core)  # as late as this: a start stamps 100,000 files while its store is read
    changes, retry = _read(core, found, threads)
    return Looked(graph, changes, retry, stamped, whole)


def take(
    core: Core,
    looked: Looked,
    note: str,
    *,
    commits: bool = True,
    hurried: Callable[[], bool] = lambda: False,
) -> int:
    """Make one revision of what a look found, if a value differs. Returns how many do.

    commits     whether to commit as well; otherwise the next request does
    hurried     asked from time to time while a request that lost its patience is waited for (attempt A1);
                True cancels that request once more, because somebody waits for this look

    `sync_lock` is held since before the look. Raises Cancelled when the lists were built anew meanwhile.
    """
    is_owned = cast(Any, core.patience)._is_owned
    had, patient = is_owned(), False
    try:
        while not had and not (patient := core.patience.acquire(timeout=HURRY_SECONDS)):
            if hurried():
                break
        return _take(core, looked, note, commits)
    finally:
        # Asked, since an interrupt may come just after it was taken: all others would wait for ever.
        if patient or (not had and is_owned()):
            core.patience.release()


def _take(core: Core, looked: Looked, note: str, commits: bool) -> int:
    with core.lock:
        graph = core.graph
        if graph is not looked.graph or core.torn:
            raise Cancelled
        changes = [one for one in looked.changes if not graph.flags[one.node] & PINNED]  # set meanwhile
        differing = apply(core, changes, note)
        if looked.retry:
            start_revision(core, f"{len(looked.retry)} inputs could not be read", all_levels=True)
            force(core, looked.retry, Reason.RETRY)
        if looked.whole:
            core.synced = True
        if commits:
            finish(core)
    return differing


def _first(core: Core) -> Loaded:
    if core.store is None:
        return load_observed(core)
    with core.store.early():
        return load_observed(core)


def _askable(
    core: Core, nodes: Iterable[int]
) -> tuple[list[int], list[bytes], list[QueryInfo], list[tuple[Any, ...]]]:
    """The observed inputs among `nodes` that are looked at (K5), their stamps and keys. The lock is held.

    Four lists, not one of tuples: these would wake the garbage collector, for a fifth of the time of a look.
    """
    graph, bound, observed = core.graph, core.queries.bound, core.observed.stamps
    flags, query, known = graph.flags, graph.query, graph.args
    found: list[int] = []
    before: list[bytes] = []
    infos: list[QueryInfo] = []
    arguments: list[tuple[Any, ...]] = []
    for node in nodes:
        stamp = observed.get(node)
        if stamp is None or flags[node] & PINNED:
            continue
        info = bound[query[node]]
        if info is not None:
            args = known[node]
            found.append(node)
            before.append(stamp)
            infos.append(info)
            arguments.append(args if isinstance(args, tuple) else core.args_of(node))
    return found, before, infos, arguments


def _read(core: Core, asked: list[Asked], threads: int) -> tuple[list[Change], list[int]]:
    """The inputs that could be read, and those that could not for now."""
    if threads > 1 and len(asked) > HANDFUL:
        from concurrent.futures import ThreadPoolExecutor  # late: costs 10 ms, and few looks find much

        shares = [asked[at : at + SHARE] for at in range(0, len(asked), SHARE)]
        with ThreadPoolExecutor(threads, thread_name_prefix="engine-look") as pool:
            found = [*chain.from_iterable(pool.map(partial(_read_share, core), shares))]
    else:
        found = _read_share(core, asked)
    core.tally.read += len(found)
    changes = [change for change in found if change is not None]
    retry = [node for (node, *_), change in zip(asked, found, strict=True) if change is None]
    return changes, retry


def _read_share(core: Core, asked: list[Asked]) -> list[Change | None]:
    found: list[Change | None] = []
    for node, info, args, now in asked:
        if core.stopping:
            raise stopped()
        try:
            value, error, stamp = look(core.outside, info, args, now)
            found.append(change_found(node, info, args, value, error, stamp))
        except Exception as error:  # of an input
            if not is_transient(error):
                raise
            found.append(None)  # the next reader meets the same trouble, or finds it gone
    return found
