"""Resolve: from a name that a file uses to what it stands for, one part of it after the other.

Invariants
    V1  What the file itself binds is taken from its facts; only names of other files cost nodes.
    V2  Values of variables are followed at most `DEPTH` times, so that `a = b; b = a` ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import evolve

from engine.rules.python.bindings import EXPORT, EXPORTS, IMPORTED, STAR, Binding, binding_of, bindings
from engine.rules.python.facts import Definition, Facts
from engine.rules.python.lookup import imported, lookup
from engine.rules.python.meanings import (
    BUILTIN,
    CLASS,
    EXTERNAL,
    INSTANCE,
    INTERNAL,
    MODULE,
    NAMES,
    UNRESOLVED,
    VARIABLE,
    Meaning,
    Meanings,
    best,
    builtin,
    external,
    is_member_of_builtin,
    module,
    symbol,
    unresolved,
)
from engine.rules.python.modules import find_below
from engine.rules.python.uses import MARK

UNKNOWN = "receiver unknown"

TYPING = ("typing", "typing_extensions")  # what these name are not the classes of values

DEPTH = 6  # variables that stand for each other

Bound = Binding | Definition  # both have `kind`, `ordinal` and `value`

Member = Callable[[str, str, str], Meanings]  # of path and qualified name of a class, and an attribute


class Resolver:
    """What the names in one file stand for.

    `member` finds attributes of classes: with what they inherit, or without where that is not known yet.
    """

    def __init__(self, path: str, found: Facts, member: Member) -> None:
        self.path = path
        self.member = member
        self.own: dict[str, list[Bound]] = {}  # by symbol
        for one in found.definitions:
            self.own.setdefault(f"{path}:{one.qualified}", []).append(one)
        for statement in found.imports:
            row = binding_of(path, statement)
            self.own.setdefault(row.symbol, []).append(row)
        self._known: dict[tuple[str, str], Meanings] = {}

    # -- first parts ---------------------------------------------------------------------------

    def of_module(self, name: str) -> Meanings:
        """A name of the module, or a builtin."""
        return self.of_place("", name)

    def of_place(self, scope: str, name: str) -> Meanings:
        """A name that the class or function `scope` binds, or the module where that is ""."""
        key = (scope, name)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._of_place(scope, name)
        return known

    def _of_place(self, scope: str, name: str) -> Meanings:
        place = f"{scope}.{name}" if scope else name
        found = meanings_of(self.path, place, self.own.get(f"{self.path}:{place}", ()))
        if found:
            return found
        if scope:
            return (unresolved(f"{scope} has no {name}"),)
        stars = f"{self.path}:*" in self.own
        if name in NAMES and not stars:
            return (builtin(name),)
        if stars:
            brought = lookup(self.path, name)
            if name in NAMES and brought[0].outcome == UNRESOLVED:
                return (builtin(name),)
            return brought
        return (unresolved(f"{name} is not defined"),)

    def imported(self, scope: str, name: str) -> Meanings:
        """What imports alone bind a name of the module, or of the class or function `scope`, to."""
        place = f"{scope}.{name}" if scope else name
        rows = [row for row in self.own.get(f"{self.path}:{place}", ()) if row.kind == IMPORTED]
        return meanings_of(self.path, place, rows)

    # -- further parts -------------------------------------------------------------------------

    def attribute(self, found: Iterable[Meaning], name: str, depth: int = DEPTH) -> Meanings:
        """What an attribute of these is."""
        several: list[Meaning] = []
        for one in found:
            several += self._attribute(one, name, depth)
        return best(several, f"no {name}")

    def _attribute(self, one: Meaning, name: str, depth: int) -> Meanings:
        if one.outcome == EXTERNAL and one.kind == INSTANCE:  # what is held there may be of the project
            return (unresolved(f"{UNKNOWN}: {one.detail}"),)
        if one.outcome == EXTERNAL:
            return (external(f"{one.detail}.{name}", INSTANCE if one.detail.endswith(MARK) else ""),)
        if one.outcome == BUILTIN:
            if is_member_of_builtin(one.detail, name):
                return (builtin(f"{one.detail}.{name}"),)
            return (unresolved(f"{UNKNOWN}: {one.detail}.{name}"),)
        if one.outcome != INTERNAL:
            return (one if one.detail.startswith(UNKNOWN) else unresolved(f"{UNKNOWN}: {one.detail}"),)
        if one.kind == MODULE:
            return of_module(one, name)
        assert one.path is not None
        if one.kind in (CLASS, INSTANCE):
            return self.member(one.path, one.qualified, name)
        if one.kind == VARIABLE and depth:
            value = self.value(one, depth - 1)
            if value:
                return self.attribute(value, name, depth - 1)
        return (unresolved(f"{UNKNOWN}: {one.kind} {one.qualified}"),)

    def value(self, variable: Meaning, depth: int = DEPTH) -> Meanings:
        """What the value of a variable is, () where that is not known."""
        assert variable.path is not None
        place = f"{variable.path}:{variable.qualified}"
        rows = self.own.get(place, ()) if variable.path == self.path else bindings.where(symbol=place)
        if len(rows) != 1 or not rows[0].value:
            return ()
        dotted = rows[0].value
        first, *parts = dotted.removesuffix(MARK).split(".")
        scope, _, own = variable.qualified.rpartition(".")
        if first == own:
            scope = ""  # `name = name` in a class
        if variable.path == self.path:
            inside = scope and f"{self.path}:{scope}.{first}" in self.own
            found = self.of_place(scope, first) if inside else self.of_module(first)
        else:
            found = _in_other(variable.path, scope, first)
        for part in parts:
            found = self.attribute(found, part, depth)
        if not depth:
            return ()
        return self.called(found, depth) if dotted.endswith(MARK) else self.followed(found, depth)

    def followed(self, found: Meanings, depth: int = DEPTH) -> Meanings:
        """With variables replaced by their values, where these are known."""
        several: list[Meaning] = []
        for one in found:
            value = self.value(one, depth - 1) if one.kind == VARIABLE and depth else ()
            several += value or (one,)
        return tuple(several)

    def called(self, found: Meanings, depth: int = DEPTH) -> Meanings:
        """What a call of these gives: an instance of a class, () where that is not known."""
        several: list[Meaning] = []
        for one in self.followed(found, depth):
            if one.kind == CLASS:
                several.append(evolve(one, kind=INSTANCE))
            elif one.outcome == EXTERNAL and one.kind != INSTANCE and _is_class(one.detail):
                several.append(external(f"{one.detail}{MARK}"))
            elif one.outcome == BUILTIN and isinstance(getattr(_builtins(), one.detail, None), type):
                several.append(one)
            else:
                return ()
        return tuple(several)


def _is_class(dotted: str) -> bool:
    """Whether an external name is that of a class, as these are written. A function may give what it got from
    the project, as `copy.copy(x)` does, and what is annotated with `typing.Any` may be of any class."""
    last = dotted.rpartition(".")[2]
    return last[:1].isupper() and not last.endswith(MARK) and dotted.partition(".")[0] not in TYPING


def _builtins() -> object:
    import builtins

    return builtins


def meanings_of(path: str, qualified: str, rows: Iterable[Bound]) -> Meanings:
    """What the rows of one name of a file say that it stands for; () where they say nothing."""
    found: list[Meaning] = []
    for row in rows:
        if isinstance(row, Binding) and row.kind == IMPORTED:
            found += imported(path, row)
        elif row.kind not in (STAR, EXPORT, EXPORTS):
            found.append(symbol(path, qualified, row.kind, row.ordinal))
    return best(found, "") if found else ()


def of_module(one: Meaning, name: str) -> Meanings:
    """What an attribute of a module is."""
    if one.path is not None:
        return lookup(one.path, name)
    child = find_below(one.directories, name)
    if child is None:
        return (unresolved(f"no module {name} in {' '.join(one.directories)}"),)
    return (module(child),)


def own_member(path: str, qualified: str, name: str) -> Meanings:
    """What the text of a class itself says of an attribute. For bases, before anything is inherited."""
    place = f"{qualified}.{name}"
    found = meanings_of(path, place, bindings.where(symbol=f"{path}:{place}"))
    return found or (unresolved(f"{qualified} itself has no {name}"),)


def _in_other(path: str, scope: str, first: str) -> Meanings:
    if scope:
        found = meanings_of(path, f"{scope}.{first}", bindings.where(symbol=f"{path}:{scope}.{first}"))
        if found:
            return found
    found = lookup(path, first)
    return (builtin(first),) if first in NAMES and found[0].outcome == UNRESOLVED else found
