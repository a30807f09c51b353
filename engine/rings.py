"""Rings: to wait for a key that somebody computes. A key that waits for itself is a cycle, and has an error.

Invariants
    S1  Nobody starts to wait where that closes a ring of waiting: the ring is a cycle of keys, and it is
        reported as the ordered path, the same from whatever key it was entered.
    S2  Every key on the ring gets the error, also if its function catches it (the answer must not depend
        on where a request came in). It reads nothing more: a ring is what its keys wait for, and what they
        would go on to read depends on which of them was asked for first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from engine.core import Core, Request
from engine.errors import Cancelled, CycleError
from engine.failure import Failure
from engine.frame import NO_TABLES
from engine.graph import ERROR, entries
from engine.raising import own
from engine.recall import recall

if TYPE_CHECKING:
    from engine.running import Running
    from engine.verify import Walk


class Cycle(Exception):
    """A ring was closed: `error` for the user, `ring` the nodes on it in order. Never leaves the engine."""

    def __init__(self, error: Exception, ring: tuple[int, ...]) -> None:
        self.error = error
        self.ring = ring

    def raised(self) -> Exception:
        """The error, for one who stands on the ring."""
        return own(self.error)


def wait_for(core: Core, node: int, walk: Walk) -> None:
    """Wait until `node` is no longer claimed; raises `Cycle` where that would be for ever."""
    claim = core.claims.held.get(node)
    if claim is None:  # an interrupt struck while it was given back
        core.torn = True
        raise Cancelled
    outdated = claim.generation != walk.asker.generation  # it will unwind at its next read
    ring = None if outdated else _ring(core, node, walk, set())
    if ring is not None:
        raise _cycle(core, ring)
    waiters = core.claims.waiting.setdefault(node, [])
    waiters.append(walk)
    try:
        with core.limits.idle(walk.asker):
            core.claims.released.wait()
    finally:
        waiters.remove(walk)
        if not waiters:
            core.claims.waiting.pop(node, None)
    if walk.asker.generation != core.generation:
        raise Cancelled


def _ring(core: Core, target: int, walk: Walk, seen: set[int]) -> list[int] | None:
    """The keys from `target` to the end of `walk`, if the claim of `target` itself waits for `walk`."""
    path: list[int] = []
    for frame, above in _upwards(walk):
        path += above.way_up()
        if frame.node == target:
            path.append(target)
            return path[::-1]
        if frame.node in seen:
            return None
        seen.add(frame.node)
        for other in core.claims.waiting.get(frame.node, ()):
            ring = _ring(core, target, other, seen)
            if ring is not None:
                return ring + path[::-1]
    return None


def _upwards(walk: Walk) -> Iterator[tuple[Request, Walk]]:
    """From a walk to the frames above it, each with the walk that led down from it."""
    above: Walk | None = walk
    while above is not None:
        yield above.asker, above
        above = above.asker.walk


def join_ring(core: Core, error: Exception, ring: tuple[int, ...], asker: Request) -> None:
    """A key reads the error of a ring: see whether it stands on that ring, or closes a further one (S2).

    It does the latter when a member of the ring still runs above it, having asked for a group: then the way
    from that member down to here is on a ring as well.
    """
    running = core.claims.held.get(asker.node)
    if running is None:
        return
    members: Collection[int] = core.claims.knots.get(ring[0], ring)
    if running.cycle is not None and core.claims.knots.get(asker.node) is members:
        return  # as each member does when a ring unwinds
    path, joining = [asker.node], 1 if asker.node in members else 0
    assert asker.walk is not None
    for frame, above in _upwards(asker.walk):
        path += above.way_up()
        if frame.node in members:
            joining = len(path)
    if joining:
        _tie(core, [*ring, *path[:joining]], Cycle(error, ring))


def rest_on_ring(core: Core, frame: Running, cycle: Cycle) -> None:
    """Let a key on a ring rest on what leads into it, also where it was poisoned before it read that.

    So it is where another thread comes to the ring by what the key read before, as far as that was verified,
    and the key has just begun to run anew. With nothing that leads there it would keep the error for ever.
    """
    node, reads = frame.node, frame.reads
    knot: Collection[int] = core.claims.knots.get(node, cycle.ring)
    if node in core.collections or any(read in knot for read in reads):
        return
    for read in entries(core.graph.below(node)):
        reads[read] = None
        if read in knot:
            return
    reads.update(dict.fromkeys(read for read in cycle.ring if read != node))


def was_ringed(core: Core, node: int) -> bool:
    """Whether a node stood on a ring when its memo was made: then what it read rests on the node itself.

    Also whether it passed on the error of one. Such a memo waits with the ring, and is never put back.
    """
    if not core.graph.flags[node] & ERROR:
        return False
    failure = recall(core, node)
    return isinstance(failure, Failure) and bool(failure.ring)  # else it was not kept, as those of rings are


def _cycle(core: Core, nodes: list[int]) -> Cycle:
    """The error of a ring, and poison for the frames that are on it."""
    ring = list(dict.fromkeys(nodes))
    names = {node: core.name_of(node) for node in ring}
    start = min(range(len(ring)), key=lambda at: names[ring[at]])
    turned = (*ring[start:], *ring[:start])
    cycle = Cycle(CycleError(tuple(names[node] for node in (*turned, turned[0]))), turned)
    _tie(core, turned, cycle)
    return cycle


def _tie(core: Core, nodes: Sequence[int], cycle: Cycle) -> None:
    """Nodes need each other: note it for those who come to read them, and poison those that run."""
    tied = set(nodes)
    knot = core.claims.knots.get(nodes[0], set())
    # When a ring closes again, each of its keys comes here with all of them, and they are tied already.
    if not tied <= knot:
        found = [core.claims.knots[node] for node in tied & core.claims.knots.keys()]
        knots = {id(one): one for one in found}
        knot = max(knots.values(), key=len, default=knot)
        for other in (tied, *knots.values()):
            if other is not knot:
                knot |= other
                core.claims.knots.update(dict.fromkeys(other, knot))
    running = [core.claims.held[node] for node in tied & core.claims.held.keys()]
    transient = any(one.transient for one in running)  # what one of them saw, the error of all rests on
    for one in running:
        one.transient |= transient
        one.cycle = one.cycle or cycle
        one.tables = NO_TABLES  # plain hits too come to `fetch`, which raises
