"""Facts: what a Python file defines, imports, exports and refers to, without positions.

This is the firewall of the code graph. Whatever moves lines, rewords comments or rewrites docstrings gives
equal facts, so nothing that is made of facts runs again. Positions are in `spans.py`.

Invariants
    A1  No positions, no texts of comments, docstrings or literals, and no order where order means nothing:
        every tuple but `decorators` and `bases` is sorted and free of repetitions.
    A2  Facts of a file depend on that file alone.
    A3  Broken files have facts too: those of the statements that parse, marked by `broken`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from attrs import frozen

from engine import query
from engine.rules.python.nodes import chain, dotted
from engine.rules.python.parse import Parsed, ParseError, parse
from engine.rules.python.scopes import MODULE
from engine.rules.python.survey import Found, survey_of
from engine.rules.python.uses import FIXTURE, GLOBAL, IMPORT, MARK, Grouped, Use

_line_numbers = re.compile(r" \(?(?:detected )?(?:on|at) line \d+\)?")


@frozen
class Definition:
    """Something that a file gives a name to.

    name        the plain name; `qualified` as in Python's `__qualname__` ("Shape.area", "f.<locals>.g")
    kind        "class", "function", "method", "variable", "type", "async function" or "async method".
                Variables are those of modules and classes; one definition however often they are assigned.
    ordinal     0, 1, ... for definitions of the same kind under one qualified name, in the file's order
    decorators  their dotted names in order, without arguments; "" for one that has no name
    bases       the same for the bases of a class; "a.b()" for what a call of `a.b` gives
    public      no part of the name starts with "_" (except __dunder__), and it is not inside a function;
                where the file has an `__all__` that can be read, that decides for names of the module
    value       of a variable: the dotted name that its only assignment gives it ("a.b"), or "a.C()" for what
                a call of that name gives, or what its annotation says, which begins with ":" in a class; ""
                where there is more to it
    """

    name: str
    qualified: str
    kind: str
    ordinal: int
    decorators: tuple[str, ...]
    bases: tuple[str, ...]
    public: bool
    value: str = ""


@frozen
class Import:
    """One name of an import statement, as it is written.

    `import a.b as c` is ("a.b", None, "c", 0), `from ..x import y` is ("x", "y", None, 2), and a star is
    the name "*". A call `import_module("a.b")` is ("a.b", None, "", 0): it binds nothing; so is what
    `pytest_plugins` names, which pytest imports later ("function"). `context` says when
    it runs: "module" (whenever the module is imported), "conditional" (under an `if` or `try`), "lazy" (when
    its name is first used, by the `lazy` of 3.15), "function" (when called) or "typing" (never: under
    `if TYPE_CHECKING`). `scope` is the qualified name of the class or function ("f.<locals>") in which it
    binds the name, "" the module.
    """

    module: str
    name: str | None
    alias: str | None
    level: int
    context: str
    scope: str = ""

    @property
    def star(self) -> bool:
        return self.name == "*"

    @property
    def binds(self) -> bool:
        """It gives what it imports a name."""
        return self.alias != ""

    @property
    def eager(self) -> bool:
        """Runs while the module is being imported, so that it can be part of an import cycle."""
        return self.context in ("module", "conditional")


@frozen
class Attribute:
    """An attribute of instances to which methods of the class `scope` assign.

    values  what it holds, each as "place:a.C()" or "place:a.b", see `attributes`; () where that is not known
    """

    scope: str
    name: str
    values: tuple[str, ...] = ()


@frozen
class Body:
    """The names that one definition uses, by its identity; those of the module under "", "module".

    What functions and classes inside of it use is theirs. `groups` are (usage, origin, scope, names), all
    sorted, which takes half the space of the uses themselves.
    """

    qualified: str
    kind: str
    ordinal: int
    groups: tuple[tuple[str, str, str, tuple[str, ...]], ...]

    @property
    def uses(self) -> Iterator[Use]:
        """See `uses.Use`."""
        for usage, origin, scope, names in self.groups:
            for name in names:
                yield Use(name, usage, origin, scope)


@frozen
class Broken:
    """Why a file cannot be read as a whole. `ParseError` without the position (A1)."""

    kind: str
    message: str


@frozen
class Facts:
    """What a file says of itself.

    exports     the names in `__all__`; None where the file has none
    dynamic     `__all__` is partly computed, so `exports` may lack some or have too many
    bodies      what each definition uses; those that use nothing are left out
    attributes  those of instances that methods assign to, if no annotation in their class says what they are
    doubtful    qualified names that are bound only under a condition, or before a star import: so a class
                may have what it inherits, and the module what the star import brings
    renamed     fixtures that pytest gives under another name than that of the function: ("C.@name",
                "C.function"), or without a class
    broken      None, or what is wrong with the file; then the facts are those of the parts that parse
    """

    definitions: tuple[Definition, ...] = ()
    imports: tuple[Import, ...] = ()
    exports: tuple[str, ...] | None = None
    dynamic: bool = False
    bodies: tuple[Body, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    doubtful: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    broken: Broken | None = None

    @property
    def references(self) -> tuple[str, ...]:
        """Dotted names that are used and not bound by a function, class or comprehension around the place.

        That is names of the module itself (imported ones among them), builtins, unknown names. "a.b.c" is
        kept up to the first call or subscript; "a" alone is listed where it is used alone.
        """
        found = {
            name
            for body in self.bodies
            for usage, origin, _, names in body.groups
            if origin == GLOBAL and usage not in (IMPORT, FIXTURE)
            for name in names
            if MARK not in name
        }
        return tuple(sorted(found))


@query
def facts(path: str) -> Facts:
    """What the Python file at `path` defines, imports, exports and refers to. Never fails.

    Costs one parse and one walk of the tree, which takes a third to a half of that again.
    """
    return facts_of(parse(path))


def facts_of(parsed: Parsed) -> Facts:
    """The facts in a syntax tree."""
    survey = survey_of(parsed.tree)
    names = survey.exports.names
    exported = None if survey.exports.dynamic else names
    return Facts(
        definitions=tuple(sorted((_definition(found, exported) for found in survey.definitions), key=_key)),
        imports=tuple(Import(*statement) for statement in sorted(survey.imports, key=_import_key)),
        exports=None if names is None else tuple(sorted(names)),
        dynamic=survey.exports.dynamic,
        bodies=tuple(sorted(_bodies(survey.uses), key=_body_key)),
        attributes=tuple(Attribute(*key, values) for key, values in sorted(survey.attributes.items())),
        doubtful=tuple(sorted(survey.doubtful_names())),
        renamed=tuple(sorted(set(survey.renamed))),
        broken=_broken(parsed.error),
    )


def _definition(found: Found, exported: set[str] | None) -> Definition:
    node = found.node
    return Definition(
        name=found.name,
        qualified=found.qualified,
        kind=found.kind,
        ordinal=found.ordinal,
        decorators=tuple(map(dotted, getattr(node, "decorator_list", ()))),
        bases=tuple(map(_base, getattr(node, "bases", ()))),
        public=is_public(found.qualified, exported),
        value=found.value,
    )


def _base(node: ast.expr) -> str:
    given = isinstance(node, ast.Call) or (isinstance(node, ast.Attribute) and not chain(node))
    name = dotted(node)
    return f"{name}{MARK}" if name and given else name


def _bodies(uses: dict[Found | None, Grouped]) -> Iterator[Body]:
    for found, several in uses.items():
        groups = tuple(sorted([(*group, tuple(sorted(names))) for group, names in several.items()]))
        if not groups:
            continue
        if found is None:
            yield Body("", MODULE, 0, groups)
        else:
            yield Body(found.qualified, found.kind, found.ordinal, groups)


def _body_key(body: Body) -> tuple[str, str, int]:
    return body.qualified, body.kind, body.ordinal


def is_public(qualified: str, exported: set[str] | None) -> bool:
    """Whether a qualified name is meant for others; `exported` is what `__all__` lists, if that is known."""
    if "_" not in qualified and "<" not in qualified and exported is None:
        return True
    first, *members = qualified.split(".")
    if exported is not None and first not in exported:
        return False
    return not any(map(_private, members if exported is not None else (first, *members)))


def _private(name: str) -> bool:
    return name[0] == "<" or (name[0] == "_" and not (name.startswith("__") and name.endswith("__")))


def _key(definition: Definition) -> tuple[str, str, int]:
    return definition.qualified, definition.kind, definition.ordinal


def _import_key(
    statement: tuple[str, str | None, str | None, int, str, str],
) -> tuple[str, str, str, int, str, str, bool]:
    module, name, alias, level, context, scope = statement
    return module, name or "", alias or "", level, context, scope, alias is None


def _broken(error: ParseError | None) -> Broken | None:
    if error is None:
        return None
    # Messages such as "'(' was never closed on line 7" would change with every line inserted above.
    return Broken(error.kind, _without_lines(error.message))


def _without_lines(message: str) -> str:
    return _line_numbers.sub("", message)
