"""Certain: which names a class or a module has when its body is done, whatever happens in it.

What is bound under a condition alone may not be there. Then a class has what it inherits, and a module what a
star import brings, which may also take the place of what is bound before it.

Invariant
    N1  Nothing here recurses deeper than statements can be indented: an `elif` is no step deeper.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any

from engine.rules.python.nodes import for_typing

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
TYPES: Any = getattr(ast, "TypeAlias", ())  # 3.12
PERHAPS = (ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Match)  # not to their end
DOUBTFUL = (ast.If, ast.Try, ast.TryStar, *PERHAPS, ast.Delete, ast.AnnAssign)


def doubtful(body: list[ast.stmt]) -> set[str]:
    """The names that a body binds, and that it may have all the same not, or not from there."""
    bound: set[str] = set()
    certain = _after(body, set(), bound)
    return bound - certain


def doubtful_of_class(body: list[ast.stmt]) -> set[str]:
    """The same for a body without star imports, which has none as a rule."""
    return doubtful(body) if any(isinstance(one, DOUBTFUL) for one in body) else set()


def _after(body: Iterable[ast.stmt], before: set[str], bound: set[str]) -> set[str]:
    """What is certain after statements if `before` is before; all that they bind goes into `bound`."""
    names = set(before)
    for node in body:
        if isinstance(node, ast.If):
            names = _after_if(node, names, bound)
        elif isinstance(node, (ast.Try, ast.TryStar)):
            begun = _after(node.body, names, bound)
            ends = [_after(node.orelse, begun, bound)]
            ends += [_after(one.body, names & begun, bound) - {one.name} for one in node.handlers]
            names = _after(node.finalbody, set.intersection(*ends), bound)
        elif isinstance(node, PERHAPS):
            bound.update(_stored(node))
            for inner in _bodies(node):
                names &= _after(inner, names, bound)
        elif isinstance(node, ast.Delete):
            names.difference_update(*map(_names, node.targets))
        elif isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            names.clear()
        else:
            several = set(_binds(node))
            bound |= several
            if not isinstance(node, ast.AnnAssign) or node.value is not None:
                names |= several
    return names


def _after_if(node: ast.If, before: set[str], bound: set[str]) -> set[str]:
    ends: list[set[str]] = []
    while True:
        typing = for_typing(node.test)
        end = _after(node.body, before, bound)
        if not typing:
            ends.append(end)
        if typing is False or len(node.orelse) != 1 or not isinstance(node.orelse[0], ast.If):
            break
        node = node.orelse[0]
    end = _after(node.orelse, before, bound)
    if typing is not False:
        ends.append(end)
    return set.intersection(*ends)


def _bodies(node: Any) -> Iterator[list[ast.stmt]]:
    if isinstance(node, ast.Match):
        yield from (case.body for case in node.cases)
    else:
        yield node.body
        yield getattr(node, "orelse", [])


def _stored(node: Any) -> Iterator[str]:
    """The targets of a loop or of a context."""
    targets = [getattr(node, "target", None), *(one.optional_vars for one in getattr(node, "items", ()))]
    for target in targets:
        if target is not None:
            yield from _names(target)


def _binds(node: Any) -> Iterator[str]:
    """The names that a statement binds which has no others in it."""
    if isinstance(node, DEFINITIONS):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _names(target)
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
        yield from _names(node.target)
    elif isinstance(node, TYPES):
        yield node.name.id


def _names(target: ast.expr) -> Iterator[str]:
    waiting = [target]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, (ast.Tuple, ast.List)):
            waiting += one.elts
        elif isinstance(one, ast.Starred):
            waiting.append(one.value)
