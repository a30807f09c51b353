"""Scopes: which names a scope of Python binds, and where a name that it reads is bound.

Invariants
    C1  Where a name is bound is asked only when all of the file has been walked: a binding may follow.
    C2  Class scopes are not seen from the functions inside them. From the heads of these they are, also
        where type parameters have a scope in between.
    C3  A class takes over a name of the scopes around where its statement is done, not before: `date: date`,
        `def list(self) -> list`.
    C4  Scopes are kept in the order of their creation, so that a scope comes after the one around it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from engine.rules.python.nodes import position

MODULE, CLASS, FUNCTION, COMPREHENSION = "module", "class", "function", "comprehension"
HEAD = "head"  # decorators, annotations and default values: a definition's own, in the scope around it
TYPES = "types"  # type parameters, what they are said of, and the value of a `type` statement


class Scope:
    """The names of one scope while its file is walked.

    kind, parent, prefix   `prefix` is that of the qualified names of what is defined here
    owner      the definition whose text this is, None for the module
    stores     the first assignment of each name; `again` the names that are assigned once more
    bound      the names bound in other ways; `places` those of them that are definitions or imports
    declared   the names of which an annotation says what they are; of a class, `empty` those that it sets to
               None, and `assigned` those that its methods assign to, of instances
    held       what attributes of names are assigned ("self.x"), and the dotted name that gives it, see
               `attributes`
    values     what the only assignment of a name gives it, see `facts.Definition.value`; of a parameter,
               what its annotation says
    parameters  their names; `receiver` is the first one of a method
    given_as   the name under which pytest gives the fixture that this is, if its decorator says one
    ahead      the name that the class around has only when this is done: until then it is another's
    names      plain names read; `calls` those called
    chains     dotted names read ("a.b.c") and their first parts; `called`, `written` the same for others
    """

    __slots__ = (
        "again",
        "ahead",
        "assigned",
        "bound",
        "called",
        "calls",
        "chains",
        "declared",
        "empty",
        "given_as",
        "globals",
        "held",
        "kind",
        "names",
        "nonlocals",
        "owner",
        "parameters",
        "parent",
        "places",
        "prefix",
        "receiver",
        "stores",
        "values",
        "written",
    )

    def __init__(
        self, kind: str, parent: Scope | None, prefix: str, bound: Sequence[str] = (), owner: Any = None
    ) -> None:
        self.kind = kind
        self.parent = parent
        self.prefix = prefix
        self.owner = owner
        self.parameters = bound
        self.receiver: str | None = None
        self.ahead = ""
        self.given_as = ""
        self.stores: dict[str, ast.AST] = {}
        self.again: set[str] = set()
        self.bound: set[str] = set(bound)
        self.places: set[str] = set()
        self.declared: set[str] = set()
        self.empty: set[str] = set()
        self.assigned: set[str] = set()
        self.held: list[tuple[str, str]] = []
        self.values: dict[str, str] = {}
        self.names: set[str] = set()
        self.calls: set[str] = set()
        self.chains: dict[str, str] = {}
        self.called: dict[str, str] = {}
        self.written: dict[str, str] = {}
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()

    @property
    def binder(self) -> Scope:
        """The scope in which `:=` binds: the nearest one that is not a comprehension's."""
        scope = self
        while (scope.kind is COMPREHENSION or scope.kind is HEAD) and scope.parent is not None:
            scope = scope.parent
        return scope

    def note_value(self, name: str, value: str) -> None:
        """Keep what is known of the only value that a name gets."""
        if name in self.bound or name in self.values:
            self.again.add(name)
        elif value:
            self.values[name] = value


def finish(scopes: list[Scope]) -> None:
    """Make `bound` of all scopes complete. `scopes[0]` is the module."""
    module = scopes[0]
    for scope in scopes:
        if scope is module:
            continue
        for dotted, first in scope.written.items():
            _note_assigned(scope, dotted, first)
        bound = scope.bound
        bound.update(scope.stores)
        if scope.globals:
            bound -= scope.globals
            for name in scope.globals:
                node = scope.stores.get(name)
                if node is not None:
                    _store_in_module(name, node, module)
        if scope.nonlocals:
            bound -= scope.nonlocals
            outer = scope.parent
            while outer is not None:
                outer.again |= scope.nonlocals
                outer = outer.parent


def _note_assigned(scope: Scope, dotted: str, first: str) -> None:
    """What a method assigns to an attribute of the instance takes the place of what the class gives it."""
    around: Scope | None = scope
    while around is not None and around.receiver != first:
        around = around.parent  # of functions in the method
    while around is not None and around.kind is not CLASS:
        around = around.parent  # of type parameters
    name = dotted.partition(".")[2]
    if around is not None and "." not in name:
        around.assigned.add(name)


def binding_scope(scope: Scope, name: str, module: Scope) -> Scope:
    """The scope that binds a name which is read in `scope`; the module's where no other does."""
    start = scope
    while scope is not module:
        if name in scope.bound:
            return scope
        if scope.globals and name in scope.globals:
            return module
        outer = scope.parent or module
        if scope is not start or scope.kind not in (HEAD, TYPES) or name == scope.ahead:
            while outer.kind is CLASS and outer.parent is not None:
                outer = outer.parent
        scope = outer
    return module


def taken_over(scope: Scope, name: str) -> str:
    """The name that a statement of a scope is about to bind if that is a class without it so far, or ""."""
    return name if scope.kind is CLASS and name not in scope.bound and name not in scope.stores else ""


def _store_in_module(name: str, node: ast.AST, module: Scope) -> None:
    """Names under a `global` statement are bound by the module."""
    other = module.stores.get(name)
    if other is not None or name in module.bound:
        module.again.add(name)
    if other is None or position(node) < position(other):
        module.stores[name] = node
