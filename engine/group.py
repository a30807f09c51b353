"""Group: many keys asked for at once. None depends on the answer of another, so threads may share them.

Invariants
    O1  All members are brought up to date, whatever becomes of the others; then the first error in the
        order of the keys is raised. One thread or many: the same keys run.
    O2  The asking thread works too, so nested groups can never wait for a thread that waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Final

import engine.ahead as ahead
import engine.locate as locate
import engine.mark as mark
import engine.together as together
import engine.verify as verify
from engine.core import Core, Request
from engine.errors import Cancelled
from engine.graph import LOADED, MARKED
from engine.limits import begin_thread
from engine.persist import load
from engine.query import QueryInfo
from engine.rings import Cycle
from engine.roomy import roomy

if TYPE_CHECKING:
    from engine.running import Running

WAITING: Final = 16  # threads for queries that say that they wait; one that waits costs a stack, and no core
MANY: Final = 32  # members that are worth a piece of stack, which takes 10 to 20 us to bring (see `roomy`)
# The threads that work on a group and on groups within it: each with its own, there would be thousands.
_FAMILY: Final[ContextVar[set[threading.Thread] | None]] = ContextVar("engine_group_threads", default=None)


def record(frame: Running, many: list[tuple[QueryInfo, tuple[Any, ...]]]) -> list[int]:
    """Find the nodes of a group and note them as one group of reads. The lock is held."""
    core = frame.core
    if frame.generation != core.generation:
        raise Cancelled
    nodes = [locate.locate(core, info, args) for info, args in many]
    if frame.generation != core.generation:
        raise Cancelled
    reads = frame.reads
    fresh = [node for node in dict.fromkeys(nodes) if node not in reads]
    if len(fresh) > 1:
        reads[-len(reads) - 1] = len(fresh)
    reads.update(dict.fromkeys(fresh))
    if frame.trusted is not None and core.graph.frontier and not frame.trusted.issuperset(fresh):
        mark.spread(core)
    return nodes


def ensure_all(core: Core, nodes: Iterable[int], asker: Request, outer: verify.Walk | None = None) -> None:
    """Make all `nodes` hold in the current revision. The lock is held, and given away while they run."""
    status = core.graph.status
    nodes = list(nodes)
    load(core, [node for node in nodes if not status[node] & LOADED])
    todo = [node for node in dict.fromkeys(nodes) if status[node] & MARKED]
    closed: list[Cycle] = []
    if core.dispatch is not None:
        core.dispatch.offer(todo, asker, outer)
        todo = [node for node in todo if status[node] & MARKED]
    if core.queries.takes_many and len(todo) > 1:
        together.run_together(core, todo, asker, outer)
        todo = [node for node in todo if status[node] & MARKED]
    for some, threads in _by_threads(core, todo):
        if threads < 2 or len(some) < 2:
            work = _work_with_room if len(some) >= MANY else _work
            work(core, _each(core, some), asker, outer, closed, [])
        else:
            _share(core, some, threads, asker, outer, closed)
    if closed:
        raise min(closed, key=lambda cycle: cycle.ring)


def _by_threads(core: Core, todo: list[int]) -> list[tuple[list[int], int]]:
    """The members with the number of threads that work on them; those that wait first."""
    bound, query = core.queries.bound, core.graph.query
    waiting: dict[str | None, list[int]] = {}
    for row in {query[node] for node in todo}:
        info = bound[row]
        if info is not None and info.workers == "thread":
            waiting.setdefault(info.limit, []).extend(node for node in todo if query[node] == row)
    if not waiting:
        return [(todo, core.workers)]
    several = max(core.workers, WAITING)
    found = [(some, min(several, core.limits.size(limit) or several)) for limit, some in waiting.items()]
    seen = {node for some, _ in found for node in some}
    return [*found, ([node for node in todo if node not in seen], core.workers)]


def _each(core: Core, nodes: list[int]) -> Iterator[int]:
    """The members, with what they need of the store at hand. What this process made is all in memory, but
    for what the members of a table gave before."""
    of_table = nodes and core.graph.query[nodes[0]] in core.queries.of_members and core.revision > 1
    return ahead.in_pieces(core, nodes) if core.queries.stored or of_table else iter(nodes)


def _work(
    core: Core,
    remaining: Iterator[int],
    asker: Request,
    outer: verify.Walk | None,
    closed: list[Cycle],
    failures: list[BaseException],
) -> None:
    for node in remaining:
        if failures:
            return
        try:
            verify.ensure(core, node, asker, outer)
        except Cycle as cycle:
            closed.append(cycle)  # the other members are computed all the same (O1)


_work_with_room = roomy(_work)


def _share(
    core: Core,
    todo: list[int],
    threads: int,
    asker: Request,
    outer: verify.Walk | None,
    closed: list[Cycle],
) -> None:
    failures: list[BaseException] = []
    started: list[threading.Thread] = []

    def taken() -> Iterator[int]:
        # Before each member: threads that others of the family are done with work here from now on. See
        # test_a_group_that_found_all_threads_taken_gets_those_that_others_are_done_with.
        for place, node in enumerate(_each(core, todo)):
            started.extend(_started(core, help_out, min(threads, len(todo) - place) - 1 - len(started)))
            yield node

    remaining = taken()
    work_on = _work_with_room if len(todo) >= MANY else _work

    def work() -> None:
        # Runs under the lock; `ensure` gives it away while functions run. `next` is asked under it too.
        try:
            work_on(core, remaining, asker, outer, closed, failures)
        except BaseException as error:  # raised again by the asking thread
            failures.append(error)
            if isinstance(error, KeyboardInterrupt):
                core.interrupted(error)  # helpers may wait for a claim that was never given back

    def help_out() -> None:
        begin_thread()
        with core.lock:
            if asker.generation != core.generation:
                failures.append(Cancelled())  # too late: the marks of the new revision are not complete
            else:
                work()

    family = _FAMILY.get()
    token = _FAMILY.set(set() if family is None else family)
    try:
        work()
        with core.limits.idle(asker):
            try:
                core.lock.release()
                for helper in started:  # one that was started by another of them comes after that
                    helper.join()
            finally:
                core.regain()
    finally:
        _FAMILY.reset(token)
    if failures:
        raise failures[0]
    if asker.generation != core.generation:
        raise Cancelled


def _started(core: Core, work: Callable[[], None], wanted: int) -> list[threading.Thread]:
    """As many threads that work as can be had, `wanted` at most."""
    family = _FAMILY.get()
    assert family is not None
    if wanted <= 0:
        return []
    # Threads of another engine may work on it, so it is never gone through but at once.
    family.difference_update([helper for helper in tuple(family) if not helper.is_alive()])
    # Of those that wait none is taken away. See test_who_computes_what_all_threads_wait_for_has_help.
    waiting = sum(map(len, core.claims.waiting.values()))
    room = max(core.workers, WAITING) - 1 - len(family) + waiting
    found: list[threading.Thread] = []
    for _ in range(min(wanted, room)):
        helper = threading.Thread(target=copy_context().run, args=(work,), name="engine-worker", daemon=True)
        try:
            helper.start()
        except RuntimeError:
            break  # no further thread can be had: the asking thread does the work (O2)
        found.append(helper)
    family.update(found)
    return found
