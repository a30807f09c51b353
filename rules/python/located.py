"""Located: in which line things are, for who shows them to people. Nothing else should read this."""

from __future__ import annotations

from engine import each, query
from engine.rules.python.definitions import split
from engine.rules.python.spans import spans


@query
def lines_of(symbols: tuple[str, ...]) -> tuple[int, ...]:
    """The line of each symbol "path:qualified" where it is defined first; 0 where it has none."""
    paths = tuple(sorted({split(symbol)[0] for symbol in symbols}))
    lines = dict(zip(paths, each(_lines, paths), strict=True))
    return tuple(lines[path].get(qualified, 0) for path, qualified in map(split, symbols))


@query
def _lines(path: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in spans(path):
        found.setdefault(one.qualified, one.line)
    return found
