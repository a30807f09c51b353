"""Survey: one walk over a syntax tree that finds what facts and spans are made of.

The walk is the cost of the code graph next to the parser itself, so it is one loop with an explicit stack
(depth is data: a tree may be deeper than Python recurses), looks at the frequent classes first, and takes
the children of all others from a table made of the grammar.

Invariants
    W1  Nothing here depends on positions except the order of definitions with the same name.
    W2  A class of nodes that this module does not know (a newer Python's) is walked through.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

from engine.rules.python.exports import Exports
from engine.rules.python.handlers import CHILDREN, HANDLERS, Context
from engine.rules.python.nodes import position
from engine.rules.python.parse import RECENT_TREES
from engine.rules.python.scopes import CLASS, FUNCTION, MODULE, Scope, resolve


class Found:
    """A definition with its node. `kind` is as in `facts.Definition`."""

    __slots__ = ("kind", "name", "node", "ordinal", "qualified")

    def __init__(self, qualified: str, name: str, kind: str, node: Any) -> None:
        self.qualified = qualified
        self.name = name
        self.kind = kind
        self.node = node
        self.ordinal = 0


class Survey:
    """What one walk has found.

    definitions  in the order of the file, with ordinals
    imports      (module, name or None, alias or None, level, context)
    exports      what `__all__` says
    references   dotted names read that no function, class or comprehension of the file binds
    """

    def __init__(self, tree: ast.Module) -> None:
        self.definitions: list[Found] = []
        self.imports: set[tuple[str, str | None, str | None, int, str]] = set()
        self.exports = Exports()
        self.module = Scope(MODULE, None, "")
        self._scopes = [self.module]
        self._pending: list[tuple[Scope, list[Any], str]] = [(self.module, tree.body[::-1], MODULE)]
        while self._pending:
            self._walk(*self._pending.pop())
        resolve(self._scopes)
        self.references = self.module.names.union(self.module.chains)
        self._define_variables()
        self._number()

    def _walk(self, scope: Scope, stack: list[Any], context: str) -> None:
        """Walk the nodes on `stack`, last first; inner scopes are left for later."""
        names, chains, stores = scope.names, scope.chains, scope.stores
        pop, push = stack.pop, stack.append
        while stack:
            node = pop()
            kind = node.__class__
            if kind is ast.Name:
                if node.ctx.__class__ is ast.Load:
                    names.add(node.id)
                elif node.id not in stores:
                    stores[node.id] = node
            elif kind is ast.Constant:
                pass
            elif kind is ast.Attribute:
                inner = node.value
                if inner.__class__ is ast.Name:
                    chains[f"{inner.id}.{node.attr}"] = inner.id
                elif inner.__class__ is ast.Attribute:
                    _chain(node, chains, stack)
                else:
                    push(inner)
            elif kind is ast.Call:
                push(node.func)
                stack += node.args
                for keyword in node.keywords:
                    push(keyword.value)
            elif kind in CHILDREN:
                for name in CHILDREN[kind]:
                    child = getattr(node, name)
                    if child.__class__ is list:
                        stack += child[::-1]
                    elif child is not None:
                        push(child)
            elif kind is Context:
                context = node.value
            elif kind in HANDLERS:
                context = HANDLERS[kind](self, node, scope, stack, context) or context
            # else a plain value, in a field that this module does not know: `case None`

    # -- what handlers do ----------------------------------------------------------------------

    def define(self, qualified: str, name: str, kind: str, node: Any) -> None:
        """Note a definition."""
        self.definitions.append(Found(qualified, name, kind, node))

    def open_scope(
        self, kind: str, parent: Scope, prefix: str, bound: Any, stack: list[Any], context: str
    ) -> Scope:
        scope = Scope(kind, parent, prefix, bound)
        self._scopes.append(scope)
        self._pending.append((scope, stack, context))
        return scope

    def type_parameters(self, node: Any, scope: Scope, context: str) -> tuple[Scope, list[Any] | None]:
        """The scope that `def f[T](...)` puts around annotations and body, if it has one (3.12)."""
        parameters = getattr(node, "type_params", None)
        if not parameters:
            return scope, None
        stack: list[Any] = [child for each in parameters for child in ast.iter_child_nodes(each)]
        bound = [each.name for each in parameters]
        return self.open_scope(FUNCTION, scope, scope.prefix, bound, stack, context), stack

    def _define_variables(self) -> None:
        for scope in self._scopes:
            if scope.kind is MODULE or scope.kind is CLASS:
                elsewhere = scope.nonlocals if scope.kind is MODULE else scope.nonlocals | scope.globals
                for name, node in scope.stores.items():
                    if name not in elsewhere and isinstance(getattr(node, "ctx", None), ast.Store):
                        self.define(scope.prefix + name, name, "variable", node)

    def _number(self) -> None:
        self.definitions.sort(key=lambda found: position(found.node))
        seen: dict[tuple[str, str], int] = {}
        for found in self.definitions:
            key = (found.qualified, found.kind)
            found.ordinal = seen.get(key, 0)
            seen[key] = found.ordinal + 1


def _chain(node: Any, chains: dict[str, str], stack: list[Any]) -> None:
    parts = [node.attr]
    inner = node.value
    while inner.__class__ is ast.Attribute:
        parts.append(inner.attr)
        inner = inner.value
    if inner.__class__ is ast.Name:
        parts.append(inner.id)
        chains[".".join(reversed(parts))] = inner.id
    else:
        stack.append(inner)


@lru_cache(maxsize=RECENT_TREES)  # facts, spans and chunks of a file follow each other
def survey_of(tree: ast.Module) -> Survey:
    """The survey of a tree, made once. It is read only."""
    return Survey(tree)
