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


def is_doubtful(body: list[ast.stmt]) -> bool:
    """Whether a body without star imports, which has none as a rule, may bind names that it has not then."""
    return any(isinstance(one, DOUBTFUL) for one in body)


def certain(body: Iterable[ast.stmt], before: Iterable[str] = ()) -> set[str]:
    """The names that are there for certain, and from there, after a body if `before` is before it."""
    names = set(before)
    for node in body:
        if isinstance(node, ast.If):
            names = _after_if(node, names)
        elif isinstance(node, (ast.Try, ast.TryStar)):
            begun = certain(node.body, names)
            ends = [certain(node.orelse, begun)]
            ends += [certain(one.body, names & begun) - {one.name} for one in node.handlers]
            names = certain(node.finalbody, set.intersection(*ends))
        elif isinstance(node, PERHAPS):
            for inner in _bodies(node):
                names &= certain(inner, names)
        elif isinstance(node, ast.Delete):
            names.difference_update(*map(_names, node.targets))
        elif isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            names.clear()
        elif not isinstance(node, ast.AnnAssign) or node.value is not None:
            names.update(_binds(node))
    return names


def _after_if(node: ast.If, before: set[str]) -> set[str]:
    ends: list[set[str]] = []
    while True:
        typing = for_typing(node.test)
        if not typing:
            ends.append(certain(node.body, before))
        if typing is False or len(node.orelse) != 1 or not isinstance(node.orelse[0], ast.If):
            break
        node = node.orelse[0]
    if typing is not False:
        ends.append(certain(node.orelse, before))
    return set.intersection(*ends)


def _bodies(node: Any) -> Iterator[list[ast.stmt]]:
    if isinstance(node, ast.Match):
        yield from (case.body for case in node.cases)
    else:
        yield node.body
        yield getattr(node, "orelse", [])


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
