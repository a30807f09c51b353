"""Modules: from dotted names to files and back, as Python's own import system would find them.

Invariants
    M1  Resolution asks directory listings alone, and which source roots are there. A name that is not found
        is an answer with readers: the listing it was missing from. Ignored files are not found: they are not
        part of the project.
    M2  One node per directory and name, so that a new file resolves again only what asked its directory,
        and reaches only those importers whose answer is another one.
    M3  Precedence within a directory: package, module, stub (`.pyi`), namespace package; over the source
        roots: the first that has more than a namespace package (PEP 420). A directory with nothing to
        import in it is no namespace package, or a folder "docker" would hide the library.
    M4  What is built into Python ("time", "sys") comes before all folders, so that no file but a stub is that
        module.

Not here: `sys.path` of the running interpreter. What no source root has is external.
"""

from __future__ import annotations

import sys
from bisect import bisect_left

from attrs import frozen

from engine import query
from engine.rules.files import kind
from engine.rules.python.roots import import_roots
from engine.rules.python.tree import ABSENT, contents, join

INIT = "__init__"
SOURCE, STUB = f"{INIT}.py", f"{INIT}.pyi"
BUILT_IN = frozenset(sys.builtin_module_names)


@frozen
class Location:
    """Where a module is.

    kind         "package", "module", "stub" or "namespace"
    path         its file; None for a namespace package
    directories  where its submodules are looked for; empty for plain modules
    """

    kind: str
    path: str | None
    directories: tuple[str, ...]


@query
def find_child(directory: str, name: str) -> Location | None:
    """The module `name` in one directory, or None."""
    here = contents(directory)
    source, stub = _has(here.files, f"{name}.py"), _has(here.files, f"{name}.pyi")
    if _has(here.directories, name):
        inside = join(directory, name)
        within = contents(inside)
        package = package_in(inside)
        if package.kind == "package" or (package.kind == "stub" and not source):
            return package
        if not (source or stub) and (within.files or within.directories):
            return package
    if source:
        return Location("module", join(directory, f"{name}.py"), ())
    if stub:
        return Location("stub", join(directory, f"{name}.pyi"), ())
    return None


@query(version=" ".join(sorted(BUILT_IN)))
def find_module(name: str) -> Location | None:
    """The module with an absolute dotted name, or None when no source root has it.

    A step costs one node per directory asked and is shared by all names with that prefix.
    """
    found = find_below(present_roots(), name)
    if found is not None and found.kind != "stub" and name.partition(".")[0] in BUILT_IN:
        return None
    return found


@query
def present_roots() -> tuple[str, ...]:
    """Those of `import_roots` that are there: most projects have no `src`, and to look into it would fail."""
    return tuple(root for root in import_roots() if not root or kind(root) not in ABSENT)


def find_below(directories: tuple[str, ...], name: str) -> Location | None:
    """The module with a dotted name relative to some directories. For queries to call."""
    location: Location | None = None
    for part in name.split("."):
        location = _first(directories, part)
        if location is None:
            return None
        directories = location.directories
    return location


@query
def package_in(directory: str) -> Location:
    """The package that a directory itself is: with a file where it has an `__init__`.

    A node, since all files of a package that say `from . import name` ask for it: its listing is another one
    with each file that comes or goes.
    """
    files = contents(directory).files
    if _has(files, SOURCE):
        return Location("package", join(directory, SOURCE), (directory,))
    if _has(files, STUB):
        return Location("stub", join(directory, STUB), (directory,))
    return Location("namespace", None, (directory,))


@query
def module_of(path: str) -> str | None:
    """The dotted name under which a file is imported, or None when it cannot be.

    Of several source roots the longest counts: with roots "" and "src", "src/a/b.py" is "a.b".
    """
    stem, dot, suffix = path.rpartition(".")
    if not dot or suffix not in ("py", "pyi"):
        return None
    for root in sorted(import_roots(), key=len, reverse=True):
        if not root or path.startswith(f"{root}/"):
            parts = stem[len(root) :].lstrip("/").split("/")
            if parts[-1] == INIT:
                parts.pop()
            return ".".join(parts) if parts and all(map(str.isidentifier, parts)) else None
    return None


def _first(directories: tuple[str, ...], name: str) -> Location | None:
    portions: tuple[str, ...] = ()
    for directory in directories:
        location = find_child(directory, name)
        if location is not None and location.kind != "namespace":
            return location
        if location is not None:
            portions += location.directories
    return Location("namespace", None, portions) if portions else None


def _has(names: tuple[str, ...], name: str) -> bool:
    at = bisect_left(names, name)
    return at < len(names) and names[at] == name
