"""Imports: from the import statements of a file to the files they mean.

Invariants
    I1  Every statement has an answer: a file, "external", or "unresolved".
    I2  An answer rests on all candidates, found or not, so that a new one can take its place.
"""

from __future__ import annotations

from attrs import frozen

from engine import query
from engine.rules.python.facts import Facts, Import, facts
from engine.rules.python.modules import Location, find_below, find_module, module_of, package_in
from engine.rules.python.tree import parent

INTERNAL, EXTERNAL, UNRESOLVED = "internal", "external", "unresolved"


@frozen
class Target:
    """What one name of an import statement means.

    outcome  "internal", "external" (no source root has its first part) or "unresolved"
    path     the file, for internal ones; None there for a namespace package, which has no file
    """

    statement: Import
    path: str | None
    outcome: str


@query
def import_targets(path: str) -> tuple[Target, ...]:
    """What the imports of a file mean, in the order of its facts.

    `from package import name` means the submodule of that name, or the package's own file where that file
    binds the name to something else, or where there is no such submodule.
    """
    return tuple(_target(path, statement) for statement in facts(path).imports)


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
    found = facts(path)
    return any(definition.qualified == name for definition in found.definitions) or _imports_other(
        path, found, name
    )


def _imports_other(path: str, found: Facts, name: str) -> bool:
    for statement in found.imports:
        if statement.context == "function" or statement.star:
            continue
        if statement.name is None:
            if (statement.alias or statement.module.partition(".")[0]) == name:
                return True
        elif (statement.alias or statement.name) == name:
            from_here = (statement.level == 1 and not statement.module) or (
                statement.level == 0 and statement.module == module_of(path)
            )
            if not (from_here and statement.name == name):
                return True
    return False


def _target(path: str, statement: Import) -> Target:
    location = _relative(path, statement) if statement.level else find_module(statement.module)
    if location is None:
        top = statement.module.partition(".")[0]
        external = not statement.level and (top == statement.module or find_module(top) is None)
        return Target(statement, None, EXTERNAL if external else UNRESOLVED)
    if statement.name is not None and not statement.star:
        location = _member(location, statement.name)
    if location is None or (statement.star and location.path is None):
        return Target(statement, None, UNRESOLVED)
    return Target(statement, location.path, INTERNAL)


def _relative(path: str, statement: Import) -> Location | None:
    directory = parent(path)
    for _ in range(statement.level - 1):
        if not directory:
            return None  # above the root
        directory = parent(directory)
    return find_below((directory,), statement.module) if statement.module else package_in(directory)


def _member(location: Location, name: str) -> Location | None:
    """What `from location import name` means."""
    if location.directories:
        child = find_below(location.directories, name)
        if child is not None and (location.path is None or not binds(location.path, name)):
            return child
    return None if location.path is None else location
