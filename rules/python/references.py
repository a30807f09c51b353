"""References: the table of what each definition refers to, and what that turned out to be.

Invariants
    R1  A row belongs to the definition that refers, and is derived from its file's own facts: what becomes of
        other files can change where it points, but not lose it.
    R2  What cannot be resolved is a row that says why. Only names of local variables that are merely read
        are left out.
    R3  Every part of a dotted name that leads to a definition is a row of its own: "C.m" refers to C as well.
    R4  Calling a class refers to it and to its `__init__`, where the project defines one; calling an instance
        to the `__call__` of its class alone.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator

from attrs import frozen

from engine import table
from engine.rules.python.definitions import Symbol, split
from engine.rules.python.facts import Body, Facts, facts
from engine.rules.python.fixtures import Fixtures
from engine.rules.python.hierarchy import assigned_around, is_enumeration, member, member_of
from engine.rules.python.meanings import (
    ATTRIBUTE,
    CLASS,
    INTERNAL,
    LOCAL,
    MODULE,
    UNRESOLVED,
    Meaning,
    Meanings,
    local,
    of_instances,
    symbol,
    unresolved,
)
from engine.rules.python.private import asked_for
from engine.rules.python.project import project_files
from engine.rules.python.resolve import UNKNOWN, Resolver
from engine.rules.python.uses import (
    CALL,
    EXPRESSION,
    FIXTURE,
    GLOBAL,
    IMPORT,
    INSTANCE,
    MARK,
    PLACE,
    READ,
    SELF,
    SUPER,
    Use,
)

CLS, ITSELF = "cls", "self"  # as everybody names the first parameter of methods: the class, the instance


@frozen
class Reference:
    """A definition refers to a name.

    source, source_kind, source_ordinal   who: "path:qualified"; "path:" and "module" for the module itself
    name     as it is written, see `uses.Use.name`; of a dotted one also the beginnings that mean something
    usage    "call", "read", "write", "base", "decorator", "import", or "fixture" (asked of pytest)
    outcome  "internal": `target`, `target_kind`, `target_ordinal` say what it is; a name that can mean
             several things has a row for each
             "external", "builtin": `detail` is the dotted name
             "local": a variable or an attribute of an instance, see `detail`
             "unresolved": `detail` says why
    member   the attribute that was looked for where the outcome is "local" or "unresolved": it may be any
             of that name
    """

    source: str
    source_kind: str
    source_ordinal: int
    name: str
    usage: str
    outcome: str
    target: str | None = None
    target_kind: str = ""
    target_ordinal: int = 0
    detail: str = ""
    member: str | None = None

    @property
    def referred(self) -> Symbol | None:
        """What is referred to, if it is in the project."""
        if self.target is None:
            return None
        return Symbol(*split(self.target), self.target_kind, self.target_ordinal)


@table(
    each=project_files.column("path"),
    index=("source", "target", "member"),
    identity=(
        "source",
        "source_kind",
        "source_ordinal",
        "name",
        "usage",
        "target",
        "target_kind",
        "target_ordinal",
    ),
    version=platform.python_version(),  # which builtins there are
)
def references(path: str) -> Iterable[Reference]:
    """What the definitions of the project refer to.

    `references.where(target="lib.py:greet")` is who refers to it; `references.where(source="app.py:main")`
    what that refers to.
    """
    found = facts(path)
    names = _Names(path, found)
    for body in found.bodies:
        yield from names.rows(body)


def is_looked_for(qualified: str) -> bool:
    """For queries to call: whether something unknown is asked for an attribute of the name."""
    return any(references.exists(member=name) for name in asked_for(qualified))


Row = tuple[str, str | None, str, int, str, str | None]  # the columns of `Reference` from `outcome` on
Known = tuple[tuple[str, str, tuple[Row, ...]], ...]  # name, usage, what it is


class _Names:
    """The names that one file uses, resolved."""

    def __init__(self, path: str, found: Facts) -> None:
        self.path = path
        self.resolver = Resolver(path, found, self._member, assigned_around, is_enumeration)
        self._fixtures = Fixtures(path, found, self.resolver.of_module, self._member)
        self._members: dict[tuple[str, str, str], Meanings] = {}
        self._uses: dict[Use, Known] = {}
        classes = [one for one in found.definitions if one.kind == CLASS]
        self._classes = {one.qualified for one in classes}.difference(
            one.qualified for one in classes if one.ordinal
        )  # of several definitions nothing hides what they inherit (hierarchy H4)
        self._bare = {one.qualified for one in classes if not one.bases}

    def rows(self, body: Body) -> Iterator[Reference]:
        """What one definition refers to."""
        source = f"{self.path}:{body.qualified}"
        told: set[tuple[str, str, str, str]] = set()
        for usage, origin, scope, several in body.groups:
            for dotted in several:
                for name, how, found in self._known(Use(dotted, usage, origin, scope)):
                    key = (name, how, origin, scope)
                    if key in told:
                        continue
                    told.add(key)
                    for outcome, target, kind, ordinal, detail, missing in found:
                        yield Reference(
                            source,
                            body.kind,
                            body.ordinal,
                            name,
                            how,
                            outcome,
                            target,
                            kind,
                            ordinal,
                            detail,
                            missing,
                        )

    def _known(self, use: Use) -> Known:
        """What a use refers to. The same one is often found in many bodies."""
        known = self._uses.get(use)
        if known is None:
            resolved = self._resolved(use)
            known = self._uses[use] = tuple([
                (name, how, tuple(dict.fromkeys(_columns(name, found)))) for name, how, found in resolved
            ])  # fmt: skip
        return known

    # -- one use -------------------------------------------------------------------------------

    def _resolved(self, use: Use) -> Iterator[tuple[str, str, Meanings]]:
        """(name, usage, meanings) for the parts of a name that mean something."""
        if use.usage == FIXTURE:
            found = self._fixtures.of(use)
            if found:
                yield use.name, FIXTURE, found
            return
        first, *parts = use.name.split(".")
        if use.usage == IMPORT:
            found = self.resolver.imported(use.scope, first)
        elif use.origin in (GLOBAL, PLACE):
            found = self.resolver.of_place(use.scope, first.removesuffix(MARK))
            if first.endswith(MARK):
                found = self._given(first, found)
        elif use.origin == SELF:
            found = ()
            if first == f"{ITSELF}{MARK}":
                found = self._given(first, (symbol(self.path, use.scope, INSTANCE, 0),))
            elif parts:
                part = parts.pop(0)
                first = f"{first}.{part}"
                found = self._of_self(use.scope, part.removesuffix(MARK))
                if part.endswith(MARK):
                    found = self._given(first, found)
            elif use.usage == CALL and first == CLS:
                found = self._class(use.scope)
            elif use.usage == CALL and first == ITSELF:
                found = (symbol(self.path, use.scope, INSTANCE, 0),)
        elif use.origin == SUPER:
            part = parts.pop(0)
            first = f"{first}.{part}"
            found = member(f"{self.path}:{use.scope}", part, True)
        elif use.origin == INSTANCE:
            found = self._instance(use.scope)
            if first.endswith(MARK):
                found = self._given(first, found)
        elif use.origin == EXPRESSION:
            found = (unresolved(f"{UNKNOWN}: an expression"),)
        else:
            found = (local(use.origin),)
        yield from self._parts(use, first, parts, found)

    def _parts(
        self, use: Use, name: str, parts: list[str], found: Meanings
    ) -> Iterator[tuple[str, str, Meanings]]:
        if not parts:
            yield from self._last(name, use.usage, found)
            return
        if use.origin in (GLOBAL, PLACE, SELF, SUPER) and not name.endswith(MARK):
            yield from self._inner(name, found)
        for part in parts[:-1]:
            name = f"{name}.{part}"
            found = self._attribute(found, part)
            if part.endswith(MARK):
                found = self._given(name, found)
            else:
                yield from self._inner(name, found)
        yield from self._last(f"{name}.{parts[-1]}", use.usage, self._attribute(found, parts[-1]))

    def _given(self, name: str, found: Meanings) -> Meanings:
        """What a call of these gives, see `uses.Use.name`."""
        return self.resolver.called(found) or (
            unresolved(f"{UNKNOWN}: what {name.removesuffix(MARK)} gives"),
        )

    def _attribute(self, found: Meanings, part: str) -> Meanings:
        return self.resolver.attribute(found, part.removesuffix(MARK))

    def _inner(self, name: str, found: Meanings) -> Iterator[tuple[str, str, Meanings]]:
        """What the first parts of a longer name refer to. Modules on the way are not worth a row."""
        worth = [one for one in found if _is_worth(name, one)]
        if worth:
            yield name, READ, tuple(worth)

    def _last(self, name: str, usage: str, found: Meanings) -> Iterator[tuple[str, str, Meanings]]:
        several: list[Meaning] = []
        for one in found:
            if usage == CALL and one.kind == INSTANCE and one.path is not None:
                several += self._member(one.path, one.qualified, "__call__")
                continue
            several.append(one)
            if usage == CALL and one.kind == CLASS and one.path is not None:
                made = self._member(one.path, one.qualified, "__init__")
                several += [each for each in made if each.outcome == INTERNAL]
        yield name, usage, tuple(several)

    # -- classes -------------------------------------------------------------------------------

    def _of_self(self, scope: str, name: str) -> Meanings:
        """An attribute of the instance whose method this is. One that its class assigns costs no node."""
        own = self.resolver.of_place(scope, name)
        if own[0].kind == ATTRIBUTE:
            return own
        return of_instances(self._member(self.path, scope, name), f"{self.path}:{scope}.{name}")

    def _class(self, scope: str) -> Meanings:
        """The class whose method this is. What a subclass has in its place is not known here."""
        rows = self.resolver.own.get(f"{self.path}:{scope}", ())
        return tuple(symbol(self.path, scope, CLASS, row.ordinal) for row in rows if row.kind == CLASS)

    def _member(self, path: str, qualified: str, name: str) -> Meanings:
        """See `resolve.Member`. What this file says by itself costs no node."""
        key = (path, qualified, name)
        found = self._members.get(key)
        if found is None:
            found = self._members[key] = self._found_member(path, qualified, name)
        return found

    def _found_member(self, path: str, qualified: str, name: str) -> Meanings:
        if path == self.path and qualified in self._classes:
            found = self.resolver.of_place(qualified, name)
            hides = qualified in self._bare or f"{qualified}.{name}" not in self.resolver.doubtful
            if hides and found[0].outcome != UNRESOLVED and found[0].kind != ATTRIBUTE:
                return found
        return member_of(path, qualified, name)

    def _instance(self, scope: str) -> Meanings:
        """What a variable holds of which the facts say what made it, see `uses.Use.scope`."""
        place, _, dotted = scope.partition(":")
        first, *parts = dotted.split(".")
        found = self.resolver.of_place(place, first)
        for part in parts:
            found = self.resolver.attribute(found, part)
        return self.resolver.called(found) or (unresolved(f"{UNKNOWN}: what {dotted} gives"),)


def _is_worth(name: str, one: Meaning) -> bool:
    if one.outcome == INTERNAL:
        return one.kind != MODULE
    return one.outcome in (UNRESOLVED, LOCAL) and "." in name


def _columns(name: str, found: Meanings) -> Iterator[Row]:
    for one in found:
        if one.outcome != INTERNAL:
            missing = name.rpartition(".")[2] if one.outcome in (UNRESOLVED, LOCAL) and "." in name else None
            yield one.outcome, None, "", 0, one.detail, missing
        elif one.path is not None:  # a namespace package has no file, and is nobody's definition
            yield one.outcome, f"{one.path}:{one.qualified}", one.kind, one.ordinal, "", None
