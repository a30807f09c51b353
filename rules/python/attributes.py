"""Attributes: what the methods of a class assign to attributes of instances, and what these hold then.

Invariants
    T1  What an annotation says of an attribute holds, whatever is assigned. Else all that its class and the
        methods of that assign counts, or nothing: with one value of which nothing is known, or very many, it
        may hold anything. None says nothing.
    T2  A text of what it holds is "place:a.C()", what a call of `a.C` gives, as the class or function `place`
        knows that name, the module where it is ""; or "place:a.b", what that name is; or "place:a.C().b",
        an attribute of what the call gives; or "place:.b", one of an instance of the class `place`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from engine.rules.python.annotations import declared, is_none
from engine.rules.python.nodes import chain
from engine.rules.python.scopes import CLASS, Scope
from engine.rules.python.uses import GLOBAL, INSTANCE, MARK, PLACE, SELF, origin_of, place_of

UNSAID = ""  # a value of which nothing is known
NOTHING = ":None"  # nothing but None is assigned, or it is deleted: that is known, and says nothing
DECLARED = ":"  # begins what an annotation says
MOST = 20  # values of one attribute; each use of it has a row for each of them

Attributes = dict[tuple[str, str], tuple[str, ...]]


def hold(scope: Scope, target: Any, value: Any) -> bool:
    """Note what `x.attribute = value` gives; False where the target is no such one."""
    if target.__class__ is not ast.Attribute or target.value.__class__ is not ast.Name:
        return False
    first = target.value.id
    dotted = f"{first}.{target.attr}"
    scope.written[dotted] = first
    scope.held += [(dotted, one) for one in _alternatives(value)]
    return True


def hold_declared(scope: Scope, target: Any, annotation: Any) -> bool:
    """Note what `x.attribute: annotation` says; False where the target is no such one."""
    if target.__class__ is not ast.Attribute or target.value.__class__ is not ast.Name:
        return False
    first = target.value.id
    dotted = f"{first}.{target.attr}"
    scope.written[dotted] = first
    of_class = declared(annotation)
    scope.held.append((dotted, f"{DECLARED}{of_class}{MARK}" if of_class else UNSAID))
    return True


def _alternatives(value: Any) -> Iterator[str]:
    """What an expression may give: `a` or `C()` of `a or C()`; nothing for None."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if node.__class__ is ast.BoolOp:
            waiting += node.values
        elif node.__class__ is ast.IfExp:
            waiting += (node.body, node.orelse)
        elif not is_none(node):
            yield chain(node)


def attributes_of(scopes: list[Scope]) -> Attributes:
    """By class and name, what attributes hold to which methods assign; () where that is not known."""
    module = scopes[0]
    values: dict[tuple[str, str], set[str]] = {}
    said: dict[tuple[str, str], set[str]] = {}
    for scope in scopes:
        for dotted, value in scope.held:
            first, _, name = dotted.partition(".")
            origin, around = origin_of(scope, first, module)
            if origin is SELF:
                into = said if value.startswith(DECLARED) else values
                text = _placed(scope, value.removeprefix(DECLARED), module)
                into.setdefault((around, name), set()).add(text)
    found: Attributes = {}
    for scope in scopes:
        if scope.kind is CLASS:
            for name in scope.assigned - scope.declared - scope.places:
                key = scope.prefix.rstrip("."), name
                several = said.get(key) or {*values.get(key, ()), *_of_class(scope, name, module)}
                unsaid = UNSAID in several or len(several) > MOST
                found[key] = () if unsaid else tuple(sorted(several)) or (NOTHING,)
    return found


def _of_class(around: Scope, name: str, module: Scope) -> Iterator[str]:
    """What the text of a class itself gives an attribute."""
    if name in around.stores and (name not in around.empty or name in around.again):
        value = UNSAID if name in around.again else around.values.get(name, UNSAID)
        first = value.removesuffix(MARK).partition(".")[0]
        origin, where = place_of(around, first, module)
        yield f"{where}:{value}" if origin and first and first != name else UNSAID


def _placed(scope: Scope, value: str, module: Scope) -> str:
    """A value with the place where its name is known, see T2."""
    if not value:
        return UNSAID
    first, dot, rest = value.removesuffix(MARK).partition(".")
    mark = MARK if value.endswith(MARK) else ""
    origin, where = origin_of(scope, first, module)
    if origin is GLOBAL or origin is PLACE:
        return f"{where}:{value}"
    if origin is INSTANCE and not (mark and not rest):
        return f"{where}{MARK}{dot}{rest}{mark}"
    if origin is SELF and rest:
        return f"{where}:.{rest}{mark}"
    return UNSAID
