"""Claims: the right to compute a key. Others wait for it; a key that waits for itself is a cycle.

Invariants
    S1  At most one thread runs a key at a time.
    S2  Nobody starts to wait where that closes a ring of waiting: the ring is a cycle of keys, and it is
        reported as the ordered path, the same from whatever key it was entered.
    S3  Every key on the ring gets the error, also if its function catches it (the answer must not depend
        on where a request came in).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.core import Core, Request
from engine.errors import Cancelled, CycleError

if TYPE_CHECKING:
    from engine.verify import Walk


class Cycle(Exception):
    """A ring was closed: `error` for the user, `ring` the nodes on it in order. Never leaves the engine."""

    def __init__(self, error: Exception, ring: tuple[int, ...]) -> None:
        self.error = error
        self.ring = ring


def wait_for(core: Core, node: int, walk: Walk) -> None:
    """Wait until `node` is no longer claimed; raises `Cycle` where that would be for ever."""
    claim = core.claims.get(node)
    if claim is None:  # an interrupt struck while it was given back
        core.unsettled = True
        raise Cancelled
    outdated = claim.generation != walk.asker.generation  # it will unwind at its next read
    ring = None if outdated else _ring(core, node, walk, set())
    if ring is not None:
        raise _cycle(core, ring)
    waiters = core.waiting.setdefault(node, [])
    waiters.append(walk)
    try:
        with core.limits.idle(walk.asker):
            core.released.wait()
    finally:
        waiters.remove(walk)
        if not waiters:
            core.waiting.pop(node, None)
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
        for other in core.waiting.get(frame.node, ()):
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


def join_ring(core: Core, node: int, error: Exception, ring: tuple[int, ...], asker: Request) -> None:
    """A key reads the error of a ring: see whether it stands on that ring, or closes a further one (S3).

    It does the latter when a member of the ring still runs above it: then the way from that member down to
    here, and from `node` round the ring back to the member, is a ring as well.
    """
    running = core.claims.get(asker.node)
    if running is None:
        return
    if asker.node in ring:
        running.cycle = running.cycle or Cycle(error, ring)
        return
    path: list[int] = []
    assert asker.walk is not None
    for frame, above in _upwards(asker.walk):
        path += above.way_up()
        if frame.node in ring:
            at = ring.index(node) if node in ring else 0
            turned = [*ring[at:], *ring[:at]]
            back = turned[: turned.index(frame.node)]
            _cycle(core, [frame.node, *reversed(path), *back])
            return


def _cycle(core: Core, nodes: list[int]) -> Cycle:
    """The error of a ring, and poison for the frames that are on it."""
    ring = list(dict.fromkeys(nodes))
    names = {node: core.name_of(node) for node in ring}
    start = min(range(len(ring)), key=lambda at: names[ring[at]])
    turned = (*ring[start:], *ring[:start])
    error = CycleError(tuple(names[node] for node in (*turned, turned[0])))
    cycle = Cycle(error, turned)
    for node in turned:
        running = core.claims.get(node)
        if running is not None and running.cycle is None:
            running.cycle = cycle
    return cycle
