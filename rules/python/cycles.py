"""Cycles: files that import each other in a circle.

Circles lie within circles of directories: files of two directories can only form one if the directories,
taken as a whole, import each other in a circle too. So directories are sorted out first, and files are
looked at in each such group alone. An import that is added or removed costs its own group; the directories
are sorted again only when one of them imports another for the first time, or no longer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from engine import each, query
from engine.rules.python.components import components
from engine.rules.python.importers import Edge, directory_imports
from engine.rules.python.tree import parent, python_directories

Cycle = tuple[str, ...]


@query
def import_cycles() -> tuple[tuple[str, ...], ...]:
    """Groups of files that import each other in a circle while they are imported, sorted.

    Each is a strongly connected component of the eager imports, its files sorted. Imports in functions, under
    TYPE_CHECKING and with `lazy` do not count: they are how such circles are broken.
    """
    groups = _directory_groups()
    found = (
        *each(_cycles_within, (group[0] for group in groups if len(group) == 1)),
        *each(_cycles_across, (group[0] for group in groups if len(group) > 1)),
    )
    return tuple(sorted(cycle for cycles in found for cycle in cycles))


@query
def _cycles_within(directory: str) -> tuple[Cycle, ...]:
    """The cycles among the files of one directory."""
    return _cycles(directory_imports(directory))


@query
def _cycles_across(first: str) -> tuple[Cycle, ...]:
    """The cycles among the files of a group of directories, which is named by its first one."""
    groups = _directory_groups()
    at = bisect_left(groups, (first,))
    group = groups[at] if at < len(groups) and groups[at][0] == first else ()
    return _cycles(edge for edges in each(directory_imports, group) for edge in edges)


@query
def _directory_groups() -> tuple[tuple[str, ...], ...]:
    """The directories, those together that import each other in a circle; sorted."""
    directories = python_directories()
    links = zip(directories, each(_directories_imported, directories), strict=True)
    return tuple(sorted(components(dict(links))))


@query
def _directories_imported(directory: str) -> tuple[str, ...]:
    """The other directories that files in a directory import eagerly, sorted."""
    found = {parent(edge.target) for edge in directory_imports(directory) if edge.eager}
    return tuple(sorted(found - {directory}))


def _cycles(edges: Iterable[Edge]) -> tuple[Cycle, ...]:
    graph: dict[str, list[str]] = {}
    for edge in edges:
        if edge.eager:
            graph.setdefault(edge.source, []).append(edge.target)
    return tuple(sorted(component for component in components(graph) if len(component) > 1))
