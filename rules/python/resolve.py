"""Resolve: from a name that a file uses to what it stands for, one part of it after the other.

Invariants
    V1  What the file itself binds is taken from its facts; only names of other files cost nodes.
    V2  Values of variables are followed at most `DEPTH` times, so that `a = b; b = a` ends. What an attribute
        of instances holds is found out once for each file (`held`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import evolve

from engine.rules.python.attributes import DECLARED, MOST
from engine.rules.python.bindings import (
    EXPORT,
    EXPORTS,
    IMPORTED,
    STAR,
    Binding,
    attribute_of,
    binding_of,
    bindings,
    renamed_of,
)
from engine.rules.python.definitions import split
from engine.rules.python.descriptors import is_descriptor
from engine.rules.python.facts import Definition, Facts
from engine.rules.python.held import Held
from engine.rules.python.lookup import imported, lookup
from engine.rules.python.meanings import (
    ATTRIBUTE,
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
    attribute,
    best,
    builtin,
    external,
    is_builtin_class,
    is_external_class,
    is_member_of_builtin,
    is_unknown,
    module,
    of_instances,
    symbol,
    unresolved,
)
from engine.rules.python.modules import find_below
from engine.rules.python.uses import MARK

UNKNOWN = "receiver unknown"

# What is assigned in an enumeration and made by these is no member of it.
NO_MEMBERS = ("nonmember", "property", "staticmethod", "classmethod", "cached_property", "partialmethod")

DEPTH = 6  # variables that stand for each other

Bound = Binding | Definition  # both have `kind`, `ordinal` and `value`

Around = Callable[[str], tuple[str, ...]]  # of the symbol of an attribute of a class
Enumeration = Callable[[str], bool]  # of the symbol of a class
Member = Callable[[str, str, str], Meanings]  # of path and qualified name of a class, and an attribute


class Resolver:
    """What the names in one file stand for.

    `member` finds attributes of classes: with what they inherit, or without where that is not known yet.
    `around` finds what else gives an attribute to instances of its class, in bases, subclasses and theirs.
    `is_enumeration` says of a class whether what it assigns are members, which are instances of it.
    """

    def __init__(
        self,
        path: str,
        found: Facts,
        member: Member,
        around: Around | None = None,
        is_enumeration: Enumeration | None = None,
    ) -> None:
        self.path = path
        self.member = member
        self.around = around
        self.is_enumeration = is_enumeration
        self.doubtful = frozenset(found.doubtful)
        self.own: dict[str, list[Bound]] = {}  # by symbol
        for one in found.definitions:
            self.own.setdefault(f"{path}:{one.qualified}", []).append(one)
        for row in (binding_of(path, one) for one in found.imports if one.binds):
            self.own.setdefault(row.symbol, []).append(row)
        for each in found.attributes:
            for row in attribute_of(path, each):
                self.own.setdefault(row.symbol, []).append(row)
        for row in renamed_of(path, found):
            self.own.setdefault(row.symbol, []).append(row)
        self._known: dict[tuple[str, str], Meanings] = {}
        self._held = Held(self._all_held)

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
        if found and (scope or name not in self.doubtful):
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
            if (one.kind == ATTRIBUTE or one.of) and not self.value(one):
                return tuple(several[-1:])
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
        if (one.kind in (VARIABLE, ATTRIBUTE) or one.of) and depth:
            value = self.value(one, depth - 1)
            if value:
                return self.attribute(value, name, depth - 1)
            one = evolve(one, kind=VARIABLE)
        if one.outcome != INTERNAL:
            return (one if one.detail.startswith(UNKNOWN) else unresolved(f"{UNKNOWN}: {one.detail}"),)
        if one.kind == MODULE:
            return of_module(one, name)
        assert one.path is not None
        if one.kind in (CLASS, INSTANCE):
            found = self.member(one.path, one.qualified, name)
            of = f"{one.path}:{one.qualified}.{name}"
            return of_instances(found, of) if one.kind == INSTANCE else found
        return (unresolved(f"{UNKNOWN}: {one.kind} {one.qualified}"),)

    def value(self, variable: Meaning, depth: int = DEPTH) -> Meanings:
        """What the value of a variable or an attribute is, () where that is not known."""
        path = variable.path
        assert path is not None
        place = f"{path}:{variable.qualified}"
        rows = self._rows(path, place)
        if variable.of or any(row.kind == ATTRIBUTE for row in rows):
            return self._held.by((place, variable.of or place))
        return self._said(path, variable.qualified, rows, depth)

    def _rows(self, path: str, place: str) -> Sequence[Bound]:
        return self.own.get(place, ()) if path == self.path else bindings.where(symbol=place)

    def _said(self, path: str, qualified: str, rows: Sequence[Bound], depth: int) -> Meanings:
        """What the only thing that a name is bound to gives it; () where that is not known."""
        if len(rows) != 1:
            return ()
        if rows[0].kind in (CLASS, IMPORTED):
            return self.followed(meanings_of(path, qualified, rows), depth)
        dotted = rows[0].value.removeprefix(DECLARED)
        if not dotted:
            return ()
        first = dotted.partition(".")[0].removesuffix(MARK)
        scope, _, own = qualified.rpartition(".")
        if first == own:
            scope = ""  # `name = name` in a class
        if path == self.path:
            inside = scope and f"{path}:{scope}.{first}" in self.own
            found = self.of_place(scope, first) if inside else self.of_module(first)
        else:
            found = _in_other(path, scope, first)
        known = self._given(found, dotted.split("."), depth)
        if dotted == rows[0].value and self._is_member(path, qualified, known or found, dotted):
            return (symbol(path, qualified.rpartition(".")[0], INSTANCE, 0),)
        said = rows[0].value.startswith(DECLARED)
        in_class = "." in qualified
        return () if in_class and any(is_descriptor(one, self.member, said) for one in known) else known

    def _is_member(self, path: str, qualified: str, known: Meanings, dotted: str) -> bool:
        """Whether a variable of a class to which these are assigned is a member of an enumeration."""
        owner, _, name = qualified.rpartition(".")
        if not owner or self.is_enumeration is None or name.startswith("__") or name[:1] == name[-1] == "_":
            return False
        last = dotted.rpartition(".")[2]
        made = last.endswith(MARK) and last.removesuffix(MARK) not in NO_MEMBERS
        held = not last.endswith(MARK) and all(one.kind in (CLASS, INSTANCE) for one in known)
        rows = self.own.get(f"{path}:{owner}", ())  # of a class of this file without bases there is no more
        bare = path == self.path and not any(isinstance(row, Definition) and row.bases for row in rows)
        return (made or held) and not bare and self.is_enumeration(f"{path}:{owner}")

    # -- attributes of instances ---------------------------------------------------------------

    def _all_held(self, place: str, of: str) -> Meanings:
        """By the texts of the classes that assign it, and of those that subclasses have in its place."""
        several: dict[Meaning, None] = dict.fromkeys(self._by_class(place))
        if not several or self.around is None or is_declared(self._rows(split(place)[0], place)):
            return tuple(several)
        for other in self.around(of):
            known = self._by_class(other) if other != place else several
            several.update(dict.fromkeys(known))
            if not known or len(several) > MOST:
                return ()
        return tuple(several)

    def _by_class(self, place: str) -> Meanings:
        path, qualified = split(place)
        rows = self._rows(path, place)
        texts = [row.value for row in rows if row.kind == ATTRIBUTE]
        known = self._by_texts(path, texts) if texts else self._said(path, qualified, rows, DEPTH)
        if len(rows) > len(texts) and any(is_descriptor(one, self.member, True) for one in known):
            return ()  # it may be the class that has it, and gets what methods assign
        return () if any(map(is_unknown, known)) else known

    def _by_texts(self, path: str, values: Iterable[str]) -> Meanings:
        several: list[Meaning] = []
        for value in values:
            place, _, dotted = value.partition(":")
            first = dotted.partition(".")[0].removesuffix(MARK)
            if not first:
                found: Meanings = (symbol(path, place, INSTANCE, 0),)
            else:
                found = self.of_place(place, first) if path == self.path else _in_other(path, place, first)
            known = self._given(found, dotted.split("."), DEPTH) if dotted else ()
            if not known or any(map(is_unknown, known)):
                return ()
            several += known
        return tuple(several)

    def _given(self, found: Meanings, names: Sequence[str], depth: int) -> Meanings:
        """What a dotted name is of which the first part is known, () where that is not known."""
        for at, name in enumerate(names):
            if at:
                found = self.attribute(found, name.removesuffix(MARK), depth)
            if name.endswith(MARK):
                found = self.called(found, depth)
        if not depth:
            return ()
        return found if names[-1].endswith(MARK) else self.followed(found, depth)

    def followed(self, found: Meanings, depth: int = DEPTH) -> Meanings:
        """With variables and attributes replaced by their values, where these are known."""
        several: list[Meaning] = []
        for one in found:
            held = one.kind in (VARIABLE, ATTRIBUTE) or one.of
            value = self.value(one, depth - 1) if held and depth else ()
            several += value or (evolve(one, kind=VARIABLE) if one.kind == CLASS and one.of else one,)
        return tuple(several)

    def called(self, found: Meanings, depth: int = DEPTH) -> Meanings:
        """What a call of these gives: an instance of a class, () where that is not known."""
        several: list[Meaning] = []
        for one in self.followed(found, depth):
            if one.kind == CLASS:
                several.append(evolve(one, kind=INSTANCE))
            elif one.outcome == EXTERNAL and one.kind != INSTANCE and is_external_class(one.detail):
                several.append(external(f"{one.detail}{MARK}"))
            elif one.outcome == BUILTIN and is_builtin_class(one.detail):
                several.append(one)
            else:
                return ()
        return tuple(several)


def is_declared(rows: Iterable[Bound]) -> bool:
    """Whether an annotation in a class says what an attribute of it is."""
    return any(row.kind == VARIABLE and row.value.startswith(DECLARED) for row in rows)


def meanings_of(path: str, qualified: str, rows: Iterable[Bound]) -> Meanings:
    """What the rows of one name of a file say that it stands for; () where they say nothing."""
    found: list[Meaning] = []
    held: Meanings = ()
    for row in rows:
        if isinstance(row, Binding) and row.kind == IMPORTED:
            found += imported(path, row)
        elif row.kind == ATTRIBUTE:
            held = (attribute(path, qualified),)
        elif row.kind not in (STAR, EXPORT, EXPORTS):
            found.append(symbol(path, qualified, row.kind, row.ordinal))
    return best(found, "") if found else held


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
