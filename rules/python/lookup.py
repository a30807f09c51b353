"""Lookup: what a name of a module stands for, followed through imports to where it is defined.

Invariants
    L1  An answer rests on every name that was asked for on the way, bound or not: a new export, a module
        that shadows another one, a name that goes away reach whoever asked for it, and nobody else.
    L2  Imports in a circle and chains of any length end: what was asked for already is not followed again,
        and nothing here recurses.
    L3  A binding hides what star imports bring, where it is certain and after them (`certain`); these hide a
        submodule of the name.
"""

from __future__ import annotations

from collections import deque

from engine import query
from engine.rules.python.bindings import DYNAMIC, IMPORTED, STAR, Binding, bindings
from engine.rules.python.meanings import Meaning, Meanings, best, external, module, symbol, unresolved
from engine.rules.python.modules import SOURCE, STUB, Location, find_below, find_module, package_in
from engine.rules.python.tree import join, parent

Hop = tuple[str, str]  # a name of a file, to be looked for next


@query
def lookup(path: str, name: str) -> Meanings:
    """What a name of the module in a file stands for; at least one meaning, if only an unresolved one."""
    found: list[Meaning] = []
    submodules: list[Meaning] = []
    waiting: deque[tuple[Hop, Hop]] = deque([((path, name), (path, name))])
    seen = {(path, name)}
    while waiting:
        (at, wanted), blamed = waiting.popleft()
        hops: list[Hop] = []
        rows = [row for row in bindings.where(symbol=f"{at}:{wanted}") if not _is_own(at, wanted, row)]
        for row in rows:
            if row.kind == IMPORTED:
                _import(at, row, found, hops)
            elif row.kind not in _NO_NAMES:
                found.append(symbol(at, wanted, row.kind, row.ordinal))
        if not rows or rows[0].doubtful:
            _star_imports(at, wanted, found, hops)
        if not rows:
            child = submodule(at, wanted)
            if child is not None:
                submodules.append(module(child))
            elif not hops:
                found.append(unresolved(_missing(*blamed)))
        for hop in hops:
            if hop not in seen:
                seen.add(hop)
                # Who lacks a name is the module that was asked for it, not those it imports all names from.
                waiting.append((hop, hop if rows else blamed))
    known = best(found, f"{name} is imported in a circle")
    return best(submodules, "") if submodules and known[0].outcome == "unresolved" else known


@query
def star_brings(path: str, name: str) -> bool:
    """Whether `from module import *` binds a name, if the module in this file has it."""
    exports = bindings.where(symbol=f"{path}:__all__")
    listed = [row for row in exports if row.kind == "exports"]
    if listed and bindings.exists(symbol=f"{path}:__all__[{name}]"):
        return True
    return not name.startswith("_") and (not listed or listed[0].value == DYNAMIC)


_NO_NAMES = frozenset(["export", "exports", STAR])


def imported(path: str, row: Binding) -> Meanings:
    """What an import of the file `path` binds. For queries to call."""
    found: list[Meaning] = []
    hops: list[Hop] = []
    _import(path, row, found, hops)
    for at, wanted in hops:
        found += lookup(at, wanted)
    return best(found, f"{row.member} is imported in a circle")


def submodule(path: str, name: str) -> Location | None:
    """The module `name` in the package whose own file is `path`."""
    directory = parent(path)
    if path not in (join(directory, SOURCE), join(directory, STUB)):
        return None
    return find_below((directory,), name)


def _is_own(path: str, name: str, row: Binding) -> bool:
    """Whether a row is `from . import tool` in the package's own file: that means what it has under the name
    already, as from a star import, and else the submodule.
    """
    if row.kind != IMPORTED or row.member != name or not path.endswith((SOURCE, STUB)):
        return False
    location = locate(path, row.module, row.level)
    return not isinstance(location, Meaning) and location.path == path


def _import(path: str, row: Binding, found: list[Meaning], hops: list[Hop]) -> None:
    location = locate(path, row.module, row.level)
    if isinstance(location, Meaning):
        external_one = location.outcome == "external" and row.member
        found.append(external(f"{location.detail}.{row.member}") if external_one else location)
    elif not row.member:
        found.append(module(location))
    elif location.path is None:
        child = find_below(location.directories, row.member)
        found.append(unresolved(f"no module {_dotted(row)}") if child is None else module(child))
    else:
        hops.append((location.path, row.member))


def locate(path: str, name: str, level: int) -> Location | Meaning:
    """The module that an import statement of the file `path` names, or why there is none."""
    if level:
        location = relative(path, name, level)
        return unresolved(f"no module {'.' * level}{name}") if location is None else location
    location = find_module(name)
    if location is not None:
        return location
    top = name.partition(".")[0]
    if top == name or find_module(top) is None:
        return external(name)
    return unresolved(f"no module {name}")


def relative(path: str, name: str, level: int) -> Location | None:
    """The module that a relative import of the file `path` names."""
    directory = parent(path)
    for _ in range(level - 1):
        if not directory:
            return None  # above the root
        directory = parent(directory)
    return find_below((directory,), name) if name else package_in(directory)


def _star_imports(path: str, name: str, found: list[Meaning], hops: list[Hop]) -> None:
    for row in bindings.where(symbol=f"{path}:*"):
        location = locate(path, row.module, row.level)
        if isinstance(location, Meaning):
            if location.outcome == "external":
                found.append(unresolved(f"perhaps from {location.detail} by a star import"))
        elif location.path is not None and star_brings(location.path, name):
            hops.append((location.path, name))


def _missing(path: str, name: str) -> str:
    if bindings.exists(symbol=f"{path}:__getattr__"):
        return f"{name} is computed by __getattr__ of {path}"
    return f"{path} has no {name}"


def _dotted(row: Binding) -> str:
    dots = "." * row.level
    return f"{dots}{row.module}.{row.member}" if row.module else f"{dots}{row.member}"
