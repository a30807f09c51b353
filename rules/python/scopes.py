"""Scopes: which names a scope of Python binds, and which it reads from outside.

Invariants
    C1  A scope's reads are resolved only when all of the file has been walked: a binding may follow.
    C2  Class scopes are not seen from the functions inside them.
    C3  Scopes are kept in the order of their creation, so that a scope comes after the one around it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from engine.rules.python.nodes import position

MODULE, CLASS, FUNCTION, COMPREHENSION = "module", "class", "function", "comprehension"


class Scope:
    """The names of one scope while its file is walked.

    `stores` holds the first assignment of each name, `bound` the names bound in other ways. `names` are
    plain names read, `chains` maps dotted names read ("a.b.c") to their first part.
    """

    __slots__ = ("bound", "chains", "globals", "kind", "names", "nonlocals", "parent", "prefix", "stores")

    def __init__(self, kind: str, parent: Scope | None, prefix: str, bound: Iterable[str] = ()) -> None:
        self.kind = kind
        self.parent = parent
        self.prefix = prefix  # of the qualified names of what is defined here
        self.stores: dict[str, ast.AST] = {}
        self.bound: set[str] = set(bound)
        self.names: set[str] = set()
        self.chains: dict[str, str] = {}
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()

    @property
    def owner(self) -> Scope:
        """The scope in which `:=` binds: the nearest one that is not a comprehension's."""
        scope = self
        while scope.kind is COMPREHENSION and scope.parent is not None:
            scope = scope.parent
        return scope


def resolve(scopes: list[Scope]) -> None:
    """Pass on what each scope reads and does not bind, until the module scope, `scopes[0]`, has it all.

    What arrives there is what the file reads of its own top level, of builtins, or of nothing at all.
    """
    module = scopes[0]
    for scope in reversed(scopes):
        if scope is module:
            break
        bound = scope.bound
        bound.update(scope.stores)
        if scope.globals:
            _to_module(scope, module)
            bound -= scope.globals
        if scope.nonlocals:
            bound -= scope.nonlocals
        outer = scope.parent or module
        while outer.kind is CLASS and outer.parent is not None:
            outer = outer.parent
        outer.names |= scope.names - bound
        for dotted, first in scope.chains.items():
            if first not in bound:
                outer.chains[dotted] = first


def _to_module(scope: Scope, module: Scope) -> None:
    """Names under a `global` statement skip the scopes in between."""
    for name in scope.globals:
        if name in scope.names:
            scope.names.discard(name)
            module.names.add(name)
        node = scope.stores.get(name)
        if node is not None and _before(node, module.stores.get(name)):
            module.stores[name] = node
    for dotted, first in list(scope.chains.items()):
        if first in scope.globals:
            module.chains[dotted] = scope.chains.pop(dotted)


def _before(node: ast.AST, other: ast.AST | None) -> bool:
    return other is None or position(node) < position(other)
