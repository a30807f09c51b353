"""Importers: the imports read backwards, and as one graph."""

from __future__ import annotations

from attrs import frozen

from engine import each, query
from engine.rules.python.imports import imported_files
from engine.rules.python.shards import Entry, files_of, joined, shard_of
from engine.rules.python.tree import files_in, python_directories


@frozen
class Edge:
    """One file imports another. `eager`: while it is being imported itself, not later in a function."""

    source: str
    target: str
    eager: bool


@query
def importers(path: str) -> tuple[str, ...]:
    """The files that import a file, sorted; () is an answer too.

    Packages on the way are not counted: `import a.b.c` imports `a/b/c.py`, and not `a/__init__.py`.
    """
    return files_of(_importers_shard(shard_of(path)), path)


@query
def import_graph() -> tuple[Edge, ...]:
    """All imports of one project file by another, sorted."""
    return tuple(edge for edges in each(directory_imports, python_directories()) for edge in edges)


@query
def directory_imports(directory: str) -> tuple[Edge, ...]:
    """The imports of project files by the files in one directory, sorted."""
    files = files_in(directory)
    return tuple(
        Edge(source, target, eager)
        for source, targets in zip(files, each(imported_files, files), strict=True)
        for target, eager in targets
    )


@query
def _importers_group(directory: str, shard: int) -> tuple[Entry, ...]:
    edges = directory_imports(directory)
    return tuple((edge.target, edge.source) for edge in edges if shard_of(edge.target) == shard)


@query
def _importers_shard(shard: int) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return joined(each(_importers_group.key(directory, shard) for directory in python_directories()))
