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
    """A ring was closed: `error` for the user, `members` for the nodes on it. Never leaves the engine."""

    def __init__(self, error: CycleError, members: frozenset[int]) -> None:
        self.error = error
        self.members = members


def wait_for(core: Core, node: int, walk: Walk) -> None:
    """Wait until `node` is no longer claimed; raises `Cycle` where that would be for ever."""
    if core.claims[node].generation != walk.asker.generation:
        ring = None  # an outdated run: it will unwind at its next read
    else:
        ring = _ring(core, node, walk, set())
    if ring is not None:
        raise _cycle(core, ring)
    waiters = core.waiting.setdefault(node, [])
    waiters.append(walk)
    try:
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
        path += reversed(above.steps)
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


def _cycle(core: Core, ring: list[int]) -> Cycle:
    """The error of a ring, and poison for the frames that are on it."""
    members = list(dict.fromkeys(ring))
    names = {node: core.name_of(node) for node in members}
    start = min(range(len(members)), key=lambda at: names[members[at]])
    turned = [*members[start:], *members[:start]]
    error = CycleError(tuple(names[node] for node in [*turned, turned[0]]))
    cycle = Cycle(error, frozenset(members))
    for node in members:
        running = core.claims.get(node)
        if running is not None and running.cycle is None:
            running.cycle = cycle
    return cycle
