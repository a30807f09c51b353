"""Uses: what each definition of a file refers to, and in which scope the first part of a name is bound.

Invariants
    U1  A use says nothing about other files: that is found out where the references are made.
    U2  What a decorator, an annotation, a default value or a base reads is a use of its definition, though
        the names in it are looked for in the scope around.
    U3  Plain reads of local variables are left out: they refer to nothing that has a name elsewhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.rules.python.scopes import CLASS, FUNCTION, HEAD, MODULE, TYPES, Scope, binding_scope

READ, CALL, WRITE = "read", "call", "write"
BASE, DECORATOR, IMPORT = "base", "decorator", "import"
FIXTURE = "fixture"  # of pytest: its name is found by rules of its own, see `fixtures.py`

GLOBAL, PLACE, SELF, SUPER = "global", "place", "self", "super"
OUTER = "outer"
INSTANCE, VARIABLE, PARAMETER, EXPRESSION = "instance", "variable", "parameter", "expression"

MARK = "()"  # in a dotted name: what the part before it gives when called
ANYTHING = "?"  # in a dotted name: an expression that is none


class Use(NamedTuple):
    """A name that a definition uses.

    name    as it is written, dotted. "a.b().c" is `c` of what a call of `a.b` gives; "?.c" is `c` of some
            other expression; "super().c" is itself. One "()" at most: what follows it is one part
    usage   "call", "read", "write" (of an attribute), "base", "decorator", "import", or "fixture": the name
            is asked of pytest
    origin  what the first part is:
            "global"      a name of the module, a builtin, or nothing
            "place"       a definition or an import of the class or function `scope`
            "self"        the first parameter of a method of the class `scope`; "super": `super()` in one
            "instance"    a variable that holds an instance of, or a parameter annotated with, what `scope`
                          says: "f.<locals>:a.C" is `a.C` as the function `f` knows it, ":C" as the module
            "outer"       a fixture that a fixture of the same name asks for
            "variable"    another variable, "parameter" another parameter, "expression" no name at all
    """

    name: str
    usage: str
    origin: str
    scope: str


Group = tuple[str, str, str]  # usage, origin, scope
Grouped = dict[Group, set[str]]


def uses_of(scopes: list[Scope], marked: list[tuple[Scope, str, str]]) -> dict[Any, Grouped]:
    """The names that each definition uses (under `None`: the module), in groups. The scopes are finished."""
    module = scopes[0]
    found: dict[Any, Grouped] = {}
    origins: dict[tuple[int, str], tuple[str, str]] = {}
    for scope in scopes:
        groups = found.setdefault(scope.owner, {})
        whole = scope.kind is CLASS  # everything that it binds can be referred to
        for usage, names in ((READ, scope.names), (CALL, scope.calls)):
            if scope is module:
                if names:
                    groups.setdefault((usage, GLOBAL, ""), set()).update(names)
                continue
            for name in names:
                if usage is READ and name in scope.bound and name not in scope.places and not whole:
                    continue  # U3
                origin, where = _known_origin(scope, name, module, origins)
                if origin is SUPER:
                    origin, where = GLOBAL, ""  # `super` by itself is a builtin
                if usage is CALL or origin is GLOBAL or origin is PLACE:
                    _add(groups, (usage, origin, where), name)
        for usage, chains in ((READ, scope.chains), (CALL, scope.called), (WRITE, scope.written)):
            for dotted, first in chains.items():
                origin, where = _known_origin(scope, first, module, origins)
                _add(groups, (usage, origin, where), dotted)
    for scope, dotted, usage in marked:
        if usage is FIXTURE:
            _add(found[scope.owner], (usage, *_asked(scope, dotted)), dotted)
            continue
        first = dotted.partition(".")[0].removesuffix(MARK)
        origin, where = _known_origin(scope, first, module, origins)
        _add(found[scope.owner], (usage, origin, where), dotted)
    return found


def _asked(scope: Scope, name: str) -> tuple[str, str]:
    """Where a fixture is looked for first: in the class around, or in the module."""
    own = scope.owner is not None and (scope.given_as or scope.owner.name) == name
    around = scope.parent
    while around is not None and around.kind is not CLASS and around.owner is scope.owner:
        around = around.parent  # of type parameters
    if around is not None and around.kind is CLASS and scope.kind is FUNCTION:
        return (GLOBAL, "") if own else (PLACE, around.prefix.rstrip("."))
    return (OUTER if own else GLOBAL), ""


def _add(groups: Grouped, group: Group, name: str) -> None:
    names = groups.get(group)
    if names is None:
        groups[group] = {name}
    else:
        names.add(name)


def _known_origin(
    scope: Scope, first: str, module: Scope, origins: dict[tuple[int, str], tuple[str, str]]
) -> tuple[str, str]:
    if scope is module and first not in (ANYTHING, "super"):
        return GLOBAL, ""
    key = (id(scope), first)
    known = origins.get(key)
    if known is None:
        known = origins[key] = origin_of(scope, first, module)
    return known


def origin_of(scope: Scope, first: str, module: Scope) -> tuple[str, str]:
    """What the first part of a name is, see `Use.origin`."""
    if first == ANYTHING:
        return EXPRESSION, ""
    binder = binding_scope(scope, first, module)
    if binder is module:
        if first == "super" and first not in module.bound and first not in module.stores:
            inside = _method_around(scope)
            if inside is not None:
                return SUPER, inside
        return GLOBAL, ""
    if binder.kind is CLASS or first in binder.places:
        return PLACE, binder.prefix.rstrip(".")
    if first == binder.receiver and first not in binder.stores:
        assert binder.parent is not None
        return SELF, class_around(binder).prefix.rstrip(".")
    parameter, stored = first in binder.parameters, first in binder.stores
    value = binder.values.get(first)
    if (
        value is not None
        and value.endswith(MARK)
        and first not in binder.again
        and not (parameter and stored)
    ):
        around = binder.parent or module if parameter else binder
        chain = value.removesuffix(MARK)
        named = chain.partition(".")[0]
        while parameter and named == binder.ahead and around.kind is CLASS:
            around = around.parent or module
        origin, where = place_of(around, named, module)
        if origin:
            return INSTANCE, f"{where}:{chain}"
    return (PARAMETER if parameter and not stored else VARIABLE), ""


def place_of(scope: Scope, first: str, module: Scope) -> tuple[str, str]:
    """Where a name is bound if that is by a definition or import, or in the module; else nowhere."""
    # The head of a method sees the names of its class, which the method itself does not.
    if scope.kind is CLASS and first in scope.bound:
        return PLACE, scope.prefix.rstrip(".")
    binder = binding_scope(scope, first, module)
    if binder is module:
        return GLOBAL, ""
    if binder.kind is CLASS or first in binder.places:
        return PLACE, binder.prefix.rstrip(".")
    return "", ""


def class_around(scope: Scope) -> Scope:
    while scope.kind is not CLASS and scope.parent is not None:
        scope = scope.parent
    return scope


def _method_around(scope: Scope) -> str | None:
    """The class of the method that a scope is in, if it is in one."""
    inner, outer = scope, scope.parent
    while outer is not None:
        if outer.kind is TYPES:
            outer = outer.parent
            continue
        if outer.kind is CLASS and inner.kind in (FUNCTION, HEAD):
            return outer.prefix.rstrip(".") if inner.kind is FUNCTION else None
        if outer.kind is CLASS or outer.kind is MODULE:
            return None
        inner, outer = outer, outer.parent
    return None
