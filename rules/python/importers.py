"""Importers: the imports read backwards, and as one graph."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from engine import each, query
from engine.rules.python.imports import imported_files, imports
from engine.rules.python.reach import Found, Reached, Step, reach
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
    return tuple(sorted({row.path for row in imports.where(target=path)} - {path}))


@query
def dependents(path: str, depth: int = 0) -> tuple[Reached, ...]:
    """The files that import a file, over any number of others, each with its way; nearest first."""
    return tuple(reach((path,), importing, depth).values())


@query
def dependencies(path: str, depth: int = 0) -> tuple[Reached, ...]:
    """The files that a file imports, over any number of others, each with its way; nearest first."""
    return tuple(reach((path,), _imported, depth).values())


def importing(path: str) -> Iterator[Found]:
    """For queries to call: one step from a file to those that import it."""
    for row in imports.where(target=path):
        yield row.path, "file", Step(row.path, path, "import", _written(row.module, row.name))


def _imported(path: str) -> Iterator[Found]:
    for target, eager in imported_files(path):
        yield target, "file", Step(path, target, "import", "" if eager else "late")


def _written(module: str, name: str) -> str:
    return f"{module} {name}" if name else module


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
