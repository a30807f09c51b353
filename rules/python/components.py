"""Components: the strongly connected parts of a directed graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping


def components(graph: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, ...]]:
    """The strongly connected components of `graph` (node to successors), each sorted.

    Tarjan's algorithm (Depth-first search and linear graph algorithms, 1972) with an explicit stack: one
    visit per node and edge, and import chains may be longer than Python recurses. A component comes after
    those it reaches.
    """
    number: dict[str, int] = {}  # in order of the first visit
    low: dict[str, int] = {}  # the smallest number known to be reachable
    open_: list[str] = []  # visited, component not yet known
    is_open: set[str] = set()
    for start in sorted(graph):
        if start in number:
            continue
        path: list[tuple[str, Iterator[str]]] = []
        _enter(start, graph, number, low, open_, is_open, path)
        while path:
            node, successors = path[-1]
            for successor in successors:
                if successor not in number:
                    _enter(successor, graph, number, low, open_, is_open, path)
                    break
                if successor in is_open:
                    low[node] = min(low[node], number[successor])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    low[above] = min(low[above], low[node])
                if low[node] == number[node]:
                    members = [open_.pop()]
                    while members[-1] != node:
                        members.append(open_.pop())
                    is_open.difference_update(members)
                    yield tuple(sorted(members))


def _enter(
    node: str,
    graph: Mapping[str, Iterable[str]],
    number: dict[str, int],
    low: dict[str, int],
    open_: list[str],
    is_open: set[str],
    path: list[tuple[str, Iterator[str]]],
) -> None:
    number[node] = low[node] = len(number)
    open_.append(node)
    is_open.add(node)
    path.append((node, iter(sorted(graph.get(node, ())))))
