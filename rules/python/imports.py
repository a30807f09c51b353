"""Imports: from the import statements of a file to the files they mean.

Invariants
    I1  Every statement has an answer: a file, "external", or "unresolved".
    I2  An answer rests on all candidates, found or not, so that a new one can take its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import evolve, frozen

from engine import query, table
from engine.rules.python.bindings import IMPORTED, bindings
from engine.rules.python.facts import Import, facts
from engine.rules.python.lookup import lookup, relative, submodule
from engine.rules.python.meanings import EXTERNAL, INTERNAL, MODULE, UNRESOLVED
from engine.rules.python.modules import SOURCE, STUB, Location, find_below, find_module, module_of
from engine.rules.python.project import project_files


@frozen
class Target:
    """What one name of an import statement means.

    A star import of a package means also each submodule that its `__all__` names, as if it named them itself.

    outcome  "internal", "external" (no source root has its first part) or "unresolved"
    path     the file, for internal ones; None there for a namespace package, which has no file
    """

    statement: Import
    path: str | None
    outcome: str


@frozen
class Imported:
    """A row of `imports`: a file imports a module, or a name of one.

    path     the file that imports
    module   as it is written, with the dots of a relative import; `name` is "" in `import module`, "*" for
             all names
    context, eager   when it runs, see `facts.Import`
    outcome  "internal" with the file as `target` (None: a namespace package), "external" or "unresolved"
    passes   of what has no file, as a compiled module: the last file on the way there, if there is one.
             Python runs that, and before it those of the packages that it lies in
    """

    path: str
    module: str
    name: str
    context: str
    eager: bool
    outcome: str
    target: str | None = None
    passes: str | None = None


@table(
    each=project_files.column("path"),
    index=("target", "module", "passes"),
    identity=("path", "module", "name", "context"),
)
def imports(path: str) -> Iterable[Imported]:
    """What the files of the project import. `imports.where(target="lib.py")`, `imports.where(module="os")`,
    `imports.of("app.py")`."""
    for one in import_targets(path):
        statement = one.statement
        yield Imported(
            path,
            "." * statement.level + statement.module,
            statement.name or "",
            statement.context,
            statement.eager,
            one.outcome,
            one.path,
            _passes(path, statement) if one.path is None and one.outcome != EXTERNAL else None,
        )


@query
def import_targets(path: str) -> tuple[Target, ...]:
    """What the imports of a file mean, in the order of its facts.

    `from package import name` means the submodule of that name, or the package's own file where that file
    binds the name to something else, or where there is no such submodule.
    """
    return tuple(target for statement in facts(path).imports for target in _targets(path, statement))


@query
def imported_files(path: str) -> tuple[tuple[str, bool], ...]:
    """The other files that a file imports, sorted: (path, whether it does so while being imported itself)."""
    eager: dict[str, bool] = {}
    for target in import_targets(path):
        if target.path is not None and target.path != path:
            eager[target.path] = eager.get(target.path, False) or target.statement.eager
    return tuple(sorted(eager.items()))


@query
def binds(path: str, name: str) -> bool:
    """Whether a package's own file gives `name` a meaning other than the submodule of that name."""
    for row in bindings.where(symbol=f"{path}:{name}"):
        if row.kind != IMPORTED or row.member != name:
            return True
        here = (row.level == 1 and not row.module) or (row.level == 0 and row.module == module_of(path))
        if not here:
            return True
    # What a star import brings hides the submodule (lookup L3).
    return bindings.exists(symbol=f"{path}:*") and any(one.kind != MODULE for one in lookup(path, name))


def _targets(path: str, statement: Import) -> Iterator[Target]:
    found = _target(path, statement)
    yield found
    if statement.star and found.path is not None:
        for name, file in _brought(found.path):
            yield Target(evolve(statement, name=name), file, INTERNAL)


def _target(path: str, statement: Import) -> Target:
    location = _module(path, statement, statement.module)
    if location is None:
        top = statement.module.partition(".")[0]
        external = not statement.level and (top == statement.module or find_module(top) is None)
        return Target(statement, None, EXTERNAL if external else UNRESOLVED)
    if statement.name is not None and not statement.star:
        location = _member(location, statement.name)
    if location is None or (statement.star and location.path is None):
        return Target(statement, None, UNRESOLVED)
    return Target(statement, location.path, INTERNAL)


def _module(path: str, statement: Import, name: str) -> Location | None:
    """The module of that name, looked for from where the statement does it."""
    return relative(path, name, statement.level) if statement.level else find_module(name)


def _passes(path: str, statement: Import) -> str | None:
    """The last file on the way to a module that has none: of a package, or of a module that makes others."""
    names = statement.module.split(".") if statement.module else []
    for cut in range(len(names), -1 if statement.level else 0, -1):
        location = _module(path, statement, ".".join(names[:cut]))
        if location is not None and location.path is not None:
            return location.path
    return None


def _brought(package: str) -> Iterator[tuple[str, str]]:
    """The submodules that a star import of the file of a package imports: those that its `__all__` names, if
    it has nothing else under the name."""
    if package.rpartition("/")[2] not in (SOURCE, STUB):
        return
    listed = f"{package}:__all__["
    for row in bindings.starting(symbol=listed):
        name = row.symbol[len(listed) : -1]
        child = submodule(package, name)
        if child is not None and child.path is not None and not binds(package, name):
            yield name, child.path


def _member(location: Location, name: str) -> Location | None:
    """What `from location import name` means."""
    if location.directories:
        child = find_below(location.directories, name)
        if child is not None and (location.path is None or not binds(location.path, name)):
            return child
    return None if location.path is None else location
