"""Dead: the table of what is said of each definition's use, and why.

Invariants
    E1  Every definition has a verdict with its reason, so that who misses one in the list can see why.
    E2  A definition is dead only where nothing can use it that is not seen here: names that others may know
        (public ones), attributes looked for on something unknown, what a framework may call, are told apart.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from engine import query, table
from engine.rules.python.definitions import Symbol, split
from engine.rules.python.facts import Body, Definition, facts
from engine.rules.python.hierarchy import resolution_order
from engine.rules.python.interfaces import promises
from engine.rules.python.meanings import UNRESOLVED, VARIABLE
from engine.rules.python.overrides import mixed, overridden
from engine.rules.python.plugins import loaded_by
from engine.rules.python.project import project_files
from engine.rules.python.references import is_looked_for, references
from engine.rules.python.requests import MARKS
from engine.rules.python.roles import entry_points, is_conftest, is_test

USED, KEPT, PUBLIC, DEAD = "used", "kept", "public", "dead"

# Decorators that do not hand the function to anybody.
INERT = frozenset(
    [
        "abstractmethod", "abc.abstractmethod", "cache", "cached_property", "classmethod", "contextmanager",
        "contextlib.contextmanager", "dataclass", "dataclasses.dataclass", "final", "functools.cache",
        "functools.cached_property", "functools.lru_cache", "functools.wraps", "lru_cache", "overload",
        "override", "property", "staticmethod", "typing.final", "typing.overload", "typing.override", "wraps",
    ]
)  # fmt: skip


@frozen
class Verdict:
    """What is known of the use of a definition.

    verdict  "used"; "kept" (nothing refers to it, but something may: `reason` says what); "public"
             (nothing in the project refers to it, and others may); "dead"
    """

    symbol: str
    kind: str
    ordinal: int
    verdict: str
    reason: str

    @property
    def identity(self) -> Symbol:
        """The definition."""
        return Symbol(*split(self.symbol), self.kind, self.ordinal)


@table(each=project_files.column("path"), index=("symbol", "verdict"), identity=("symbol", "kind", "ordinal"))
def verdicts(path: str) -> Iterable[Verdict]:
    """Which definitions are used. `verdicts.where(verdict="dead")`, `verdicts.where(symbol="lib.py:f")`."""
    found = facts(path)
    exports = None if found.exports is None else frozenset(found.exports)
    known: dict[str, tuple[str, str]] = {}
    recursive = {body.qualified for body in found.bodies if _names_itself(body)}
    for one in found.definitions:
        if one.qualified not in known or one.decorators:
            known[one.qualified] = _verdict(path, one, exports, one.qualified in recursive)
        yield Verdict(f"{path}:{one.qualified}", one.kind, one.ordinal, *known[one.qualified])


def _names_itself(body: Body) -> bool:
    own = body.qualified.rpartition(".")[2]
    return any(name.rpartition(".")[2] == own for *_, names in body.groups for name in names)


def _verdict(path: str, one: Definition, exports: frozenset[str] | None, recursive: bool) -> tuple[str, str]:
    symbol = f"{path}:{one.qualified}"
    owner, _, name = one.qualified.rpartition(".")
    used = references.exists(target=symbol)
    if used and recursive:  # calling itself is no use
        used = references.count(target=symbol) > references.count(source=symbol, target=symbol)
    if used:
        return USED, "something refers to it"
    if name.startswith("__") and name.endswith("__"):
        return KEPT, "a special name: Python itself uses it"
    if one.kind == VARIABLE and not name.strip("_"):
        return KEPT, "by its name, nobody means to use it"
    if not owner and exports is not None and name in exports:
        return KEPT, "__all__ lists it"
    if symbol in entry_points():
        return KEPT, "pyproject.toml names it as an entry point"
    if is_test(path, one.qualified):
        return KEPT, "a test"
    if path.endswith(".pyi") and project_files.exists(path=path.removesuffix("i")):
        return KEPT, f"the stub of {path.removesuffix('i')}"
    if is_conftest(path):
        return KEPT, "conftest.py: pytest uses it"
    if (name == MARKS or (name.startswith("pytest_") and not owner)) and loaded_by(path):
        return KEPT, "by its name: pytest uses it"
    active = [decorator for decorator in one.decorators if decorator not in INERT]
    if active:
        return KEPT, f"decorated: {active[0] or 'an expression'}"
    if owner and not owner.endswith("<locals>"):
        above = overridden(symbol)
        if above:
            return KEPT, f"it overrides {above[0].over}"
        foreign = resolution_order(f"{path}:{owner}").others
        if foreign:
            return KEPT, f"its class inherits from {_named(*foreign[0])}, which may use it"
        beside = mixed(f"{path}:{owner}").others
        if beside:
            return KEPT, f"a class that inherits from it inherits from {_named(*beside[0])}, which may use it"
        for promise in promises.where(name=name):
            if references.exists(target=promise.symbol):
                return KEPT, f"{promise.symbol} is used, and it may take its place"
    if not owner.endswith("<locals>") and is_looked_for(one.qualified):
        return KEPT, "an attribute of that name is used on something unknown"
    if one.public:
        return PUBLIC, "nothing in the project refers to it, and it is public"
    return DEAD, "nothing refers to it"


def _named(outcome: str, detail: str) -> str:
    """A base outside of the project. Where it is not resolved, `detail` is a sentence and no name."""
    return "an unknown base" if outcome == UNRESOLVED else detail


@query
def dead_definitions(public: bool = False) -> tuple[Verdict, ...]:
    """Definitions that nothing refers to, sorted; with `public` also those that others may know."""
    found = list(verdicts.where(verdict=DEAD))
    if public:
        found += verdicts.where(verdict=PUBLIC)
    return tuple(sorted(found, key=lambda one: (one.symbol, one.kind, one.ordinal)))
