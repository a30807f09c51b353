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
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from engine.rules.python.attributes import DECLARED, UNSAID, attributes_of
from engine.rules.python.certain import certain
from engine.rules.python.exports import Exports
from engine.rules.python.handlers import CHILDREN, HANDLERS, Context
from engine.rules.python.nodes import (
    BY_TEXT,
    IMPORTING,
    LONGEST,
    chain,
    imported_by_text,
    mentions,
    named_in_text,
    position,
)
from engine.rules.python.parse import RECENT_TREES
from engine.rules.python.requests import ASKING, texts
from engine.rules.python.scopes import CLASS, HEAD, MODULE, TYPES, Scope, finish, taken_over
from engine.rules.python.uses import (
    ANYTHING,
    CALL,
    FIXTURE,
    GLOBAL,
    MARK,
    READ,
    WRITE,
    Grouped,
    class_around,
    place_of,
    uses_of,
)

SUPER_CALL = f"super{MARK}"


class Found:
    """A definition with its node. `kind` is as in `facts.Definition`."""

    __slots__ = ("kind", "name", "node", "ordinal", "qualified", "value")

    def __init__(self, qualified: str, name: str, kind: str, node: Any) -> None:
        self.qualified = qualified
        self.name = name
        self.kind = kind
        self.node = node
        self.ordinal = 0
        self.value = ""


class Survey:
    """What one walk has found.

    definitions  in the order of the file, with ordinals
    imports      (module, name or None, alias or None, level, context, scope)
    doubtful     classes that may not have all that they bind, and a module with a star import, with their
                 bodies, see `doubtful_names`
    exports      what `__all__` says
    renamed      (name, definition) of fixtures that pytest gives under another name, see `facts.Facts`
    uses         what each definition refers to; of the module under None
    attributes   (class, name) of what methods assign to, and what that holds
    """

    def __init__(self, tree: ast.Module) -> None:
        self.definitions: list[Found] = []
        self.imports: set[tuple[str, str | None, str | None, int, str, str]] = set()
        self.marked: list[tuple[Scope, str, str]] = []  # uses that the walk knows more of than it sees
        self.doubtful: list[tuple[Scope, list[ast.stmt]]] = []
        self.exports = Exports()
        self.renamed: list[tuple[str, str]] = []
        self.module = Scope(MODULE, None, "")
        self._scopes = [self.module]
        self._pending: list[tuple[Scope, list[Any], str]] = [(self.module, tree.body[::-1], MODULE)]
        while self._pending:
            self._walk(*self._pending.pop())
        finish(self._scopes)
        self._define_variables()
        self._number()
        self.uses: dict[Found | None, Grouped] = uses_of(self._scopes, self.marked)
        self.attributes = attributes_of(self._scopes)
        if any(name == "*" for _, name, *_ in self.imports):
            self.doubtful.append((self.module, tree.body))

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
                else:
                    scope.again.add(node.id)
            elif kind is ast.Constant:
                pass
            elif kind is ast.Attribute:
                inner = node.value
                if inner.__class__ is ast.Name:
                    if node.ctx.__class__ is ast.Load:
                        chains[f"{inner.id}.{node.attr}"] = inner.id
                    else:
                        scope.written[f"{inner.id}.{node.attr}"] = inner.id
                        if node.ctx.__class__ is ast.Store:
                            scope.held.append((f"{inner.id}.{node.attr}", UNSAID))
                else:
                    usage = READ if node.ctx.__class__ is ast.Load else WRITE
                    _attribute(node, usage, scope, self.marked, stack)
            elif kind is ast.Call:
                function, given = node.func, node.args
                if function.__class__ is ast.Name:
                    scope.calls.add(function.id)
                    if function.id in BY_TEXT:
                        given = named_in_text(node)
                    elif function.id in IMPORTING:
                        self._import(node, context)
                elif function.__class__ is ast.Attribute:
                    inner = function.value
                    if function.attr in IMPORTING:
                        self._import(node, context)
                    elif function.attr == ASKING:
                        self.marked += [(scope, name, FIXTURE) for name in texts(node.args)]
                    if inner.__class__ is ast.Name:
                        scope.called[f"{inner.id}.{function.attr}"] = inner.id
                    else:
                        _attribute(function, CALL, scope, self.marked, stack)
                else:
                    push(function)
                stack += given
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

    def _import(self, call: Any, context: str) -> None:
        module = imported_by_text(call)
        if module:
            self.imports.add((module, None, "", 0, context, ""))

    # -- what handlers do ----------------------------------------------------------------------

    def define(self, qualified: str, name: str, kind: str, node: Any) -> Found:
        """Note a definition."""
        found = Found(qualified, name, kind, node)
        self.definitions.append(found)
        return found

    def open_scope(
        self,
        kind: str,
        parent: Scope,
        prefix: str,
        bound: Any,
        stack: list[Any],
        context: str,
        owner: Found | None = None,
    ) -> Scope:
        """A scope whose nodes are on `stack`; without an owner its text is that of the scope around it."""
        scope = Scope(kind, parent, prefix, bound, owner or parent.owner)
        self._scopes.append(scope)
        self._pending.append((scope, stack, context))
        return scope

    def type_parameters(
        self, node: Any, scope: Scope, context: str, owner: Found | None, ahead: str = ""
    ) -> tuple[Scope, list[Any] | None]:
        """The scope that `def f[T](...)` puts around annotations and body, if it has one (3.12)."""
        parameters = getattr(node, "type_params", None)
        if not parameters:
            return scope, None
        stack: list[Any] = [child for each in parameters for child in ast.iter_child_nodes(each)]
        bound = [each.name for each in parameters]
        around = self.open_scope(TYPES, scope, scope.prefix, bound, stack, context, owner)
        around.ahead = ahead
        return around, stack

    def reads_ahead(self, target: Any, nodes: list[Any], scope: Scope, context: str) -> bool:
        """Whether nodes read the name that they give a class, see `scopes` C3; then they are walked apart."""
        name = taken_over(scope, target.id) if target.__class__ is ast.Name else ""
        if not name or not any(mentions(node, name) for node in nodes):
            return False
        self.open_scope(HEAD, scope, scope.prefix, (), nodes, context).ahead = name
        return True

    def doubtful_names(self) -> Iterator[str]:
        """The qualified names of what is bound and yet may not be there, or not from there, see `certain`."""
        for scope, body in self.doubtful:
            for name in {*scope.bound, *scope.stores} - scope.globals - certain(body):
                yield scope.prefix + name

    def _define_variables(self) -> None:
        for scope in self._scopes:
            if scope.kind is MODULE or scope.kind is CLASS:
                again = scope.again | (scope.assigned - scope.declared)
                elsewhere = scope.nonlocals if scope.kind is MODULE else scope.nonlocals | scope.globals
                for name, node in scope.stores.items():
                    if name not in elsewhere and isinstance(getattr(node, "ctx", None), ast.Store):
                        found = self.define(scope.prefix + name, name, "variable", node)
                        if name not in again:
                            value = self._value(scope, name) or ("None" if name in scope.empty else "")
                            said = scope.kind is CLASS and name in scope.declared
                            found.value = DECLARED + value if said else value

    def _value(self, scope: Scope, name: str) -> str:
        """What the only value of a name is, if readers find its first part there or in the module."""
        value = scope.values.get(name, "")
        first = value.removesuffix(MARK).partition(".")[0]
        around = scope
        while first == name and around.kind is CLASS:  # `name = name` reads that of the scope around
            around = around.parent or self.module
        origin, where = place_of(around, first, self.module)
        own = around is scope and where == scope.prefix.rstrip(".")
        return value if origin is GLOBAL or own else ""

    def _number(self) -> None:
        self.definitions.sort(key=lambda found: position(found.node))
        seen: dict[tuple[str, str], int] = {}
        for found in self.definitions:
            key = (found.qualified, found.kind)
            found.ordinal = seen.get(key, 0)
            seen[key] = found.ordinal + 1


def _attribute(
    node: Any, usage: str, scope: Scope, marked: list[tuple[Scope, str, str]], stack: list[Any]
) -> None:
    """An attribute of something that is no plain name: the dotted name it forms, see `Use.name`."""
    parts = [node.attr]
    inner = node.value
    while inner.__class__ is ast.Attribute and len(parts) < LONGEST:
        parts.append(inner.attr)
        inner = inner.value
    if inner.__class__ is ast.Name:
        dotted = ".".join([inner.id, *reversed(parts)])
        into = scope.chains if usage is READ else scope.called if usage is CALL else scope.written
        into[dotted] = inner.id
        return
    stack.append(inner)
    called = chain(inner) if inner.__class__ is ast.Call else ""
    base = ANYTHING if called == SUPER_CALL and _is_of_another(inner, scope) else called or ANYTHING
    for part in reversed(parts):  # only the part next to an expression is known to be of what it gives
        marked.append((scope, f"{base}.{part}", usage if part is parts[0] else READ))
        base = ANYTHING


def _is_of_another(call: Any, scope: Scope) -> bool:
    """Whether `super(C, self)` names another class than the one around: what comes after it is not known."""
    own = class_around(scope).prefix.rstrip(".")
    return bool(call.args) and chain(call.args[0]) not in ("__class__", own, own.rpartition(".")[2])


@lru_cache(maxsize=RECENT_TREES)  # facts, spans and chunks of a file follow each other
def survey_of(tree: ast.Module) -> Survey:
    """The survey of a tree, made once. It is read only."""
    return Survey(tree)
