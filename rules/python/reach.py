"""Reach: what can be reached from somewhere in a directed graph, and on which way. Breadth first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen


@frozen
class Step:
    """One edge of a way: `source` refers to (imports, overrides) `target`. `usage` and `name` say how."""

    source: str
    target: str
    usage: str
    name: str = ""


@frozen
class Reached:
    """What was found, and why: the steps of a shortest way between where the search began and `symbol`.

    The steps are in the order of the search. `kind` is that of the definition, "file" for files.
    """

    symbol: str
    kind: str
    steps: tuple[Step, ...]

    @property
    def depth(self) -> int:
        return len(self.steps)

    @property
    def begin(self) -> str:
        """Where the search for it began."""
        if not self.steps:
            return self.symbol
        first = self.steps[0]
        other = self.steps[1:2]
        ends = {other[0].source, other[0].target} if other else {self.symbol}
        return first.source if first.target in ends else first.target


Found = tuple[str, str, Step]  # the next one, its kind, how it is reached


def reach(
    begin: Iterable[str],
    following: Callable[[str], Iterable[Found]],
    depth: int = 0,
    until: str | None = None,
) -> dict[str, Reached]:
    """All that is reached, in the order of the search, without where it began. A depth of 0 is no limit."""
    level = list(dict.fromkeys(begin))
    came: dict[str, tuple[str | None, Step | None]] = dict.fromkeys(level, (None, None))
    found: dict[str, Reached] = {}
    steps = 0
    while level and not (depth and steps == depth):
        steps += 1
        below: list[str] = []
        for one in level:
            for other, kind, step in sorted(following(one), key=lambda found: (found[0], found[2].name)):
                if other in came:
                    continue
                came[other] = (one, step)
                found[other] = Reached(other, kind, _way(other, came))
                below.append(other)
                if other == until:
                    return found
        level = below
    return found


def _way(node: str, came: dict[str, tuple[str | None, Step | None]]) -> tuple[Step, ...]:
    steps: list[Step] = []
    at: str | None = node
    while at is not None:
        before, step = came[at]
        if step is not None:
            steps.append(step)
        at = before
    return tuple(reversed(steps))
