"""Affected: what a change of some files can reach, and on which way.

Invariants
    F1  Files are reached over imports, definitions over references, overrides and what `unseen.py` adds: the
        first is sure to have all that Python itself would run again, the second is narrower and rests on what
        could be resolved.
    F2  A file that is gone reaches those who still name it.
    F3  A conftest.py reaches the tests in its directory and below, without an import, and a plugin of pytest
        all. The `__init__.py` of a package reaches who imports anything in it, and the tests in it: Python
        runs it first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from attrs import frozen

from engine import BadArguments, query
from engine.rules.python.bindings import bindings
from engine.rules.python.calls import referrers
from engine.rules.python.definitions import definitions
from engine.rules.python.importers import importing
from engine.rules.python.imports import Imported, imports
from engine.rules.python.modules import SOURCE, STUB, module_of
from engine.rules.python.overrides import overridden
from engine.rules.python.plugins import plugin_files
from engine.rules.python.project import project_files
from engine.rules.python.reach import Found, Reached, Step, reach
from engine.rules.python.roles import CONFTEST, is_conftest, is_test, is_test_file
from engine.rules.python.tree import parent, python_directories
from engine.rules.python.unseen import unseen


@frozen
class Affected:
    """What a change reaches; each with its way, nearest first. What was changed itself has no steps.

    files        files that import what changed
    definitions  definitions that refer to what the changed files define, or to what that overrides
    tests        files of tests among the files: these are to be run
    likely       tests (functions and methods) among the definitions: these are to be run first
    unknown      changed files that are no Python: who reads them is not known here
    """

    files: tuple[Reached, ...]
    definitions: tuple[Reached, ...]
    tests: tuple[Reached, ...]
    likely: tuple[Reached, ...]
    unknown: tuple[str, ...]


@frozen
class AffectedFiles:
    """The files that a change reaches, see `Affected`."""

    files: tuple[Reached, ...]
    tests: tuple[Reached, ...]
    unknown: tuple[str, ...]


@query
def affected(changed: tuple[str, ...], depth: int = 0) -> Affected:
    """What a change of these files can reach, over at most `depth` steps (0: any number)."""
    reached = affected_files(changed, depth)
    python = _python(changed)
    own = {row.symbol: row.kind for path in python for row in definitions.of(path)}
    found = _definitions(own, [f"{path}:" for path in python], depth)
    likely = tuple(_likely(found))
    return Affected(reached.files, tuple(found), reached.tests, likely, reached.unknown)


@query
def affected_files(changed: tuple[str, ...], depth: int = 0) -> AffectedFiles:
    """The files alone that a change of these can reach: without the references of the project, which cost
    most of a first build."""
    _refuse_one(changed, "lib.py")
    python = _python(changed)
    files = [Reached(path, "file", ()) for path in python]
    files += reach(python, _importing, depth).values()
    return AffectedFiles(
        files=tuple(files),
        tests=tuple(one for one in files if is_test_file(one.symbol)),
        unknown=tuple(sorted(set(changed) - set(python))),
    )


def _python(changed: Iterable[str]) -> list[str]:
    return sorted({path for path in changed if path.endswith((".py", ".pyi"))})


@frozen
class AffectedBy:
    """What a change of single definitions reaches, see `Affected`. What no name leads to is not in it."""

    definitions: tuple[Reached, ...]
    likely: tuple[Reached, ...]


@query
def affected_by(symbols: tuple[str, ...], depth: int = 0) -> AffectedBy:
    """What a change of these definitions "path:qualified" can reach, over at most `depth` steps (0: any
    number). Narrower than `affected`, which takes the whole file for changed."""
    _refuse_one(symbols, "lib.py:f")
    own = {row.symbol: row.kind for symbol in symbols for row in definitions.where(symbol=symbol)}
    found = _definitions(own, [symbol for symbol in symbols if symbol not in own], depth)
    return AffectedBy(tuple(found), tuple(_likely(found)))


def _refuse_one(several: object, example: str) -> None:
    if isinstance(several, str):  # its letters would be files that nothing rests on: an answer without tests
        raise BadArguments(given=several, cause="it is one text, not several", hint=f'Say ("{example}",).')


def _definitions(own: dict[str, str], more: Iterable[str], depth: int) -> list[Reached]:
    reached = reach([*own, *more], _referring, depth)
    found = [Reached(symbol, kind, ()) for symbol, kind in own.items()]
    return found + [one for one in reached.values() if one.kind != "module"]


def _likely(found: Iterable[Reached]) -> Iterator[Reached]:
    return (one for one in found if is_test(*_split(one.symbol)) and "class" not in one.kind)


def _importing(path: str) -> Iterator[Found]:
    yield from importing(path)
    if not project_files.exists(path=path):
        yield from _naming(path)
    directory, _, name = path.rpartition("/")
    if name in (SOURCE, STUB) and directory:
        yield from _entering(directory, path)
    else:
        yield from (_by(row, path, "import") for row in imports.where(passes=path))
    if name == CONFTEST:
        yield from _tests_below(directory, path, "conftest")
    elif path in plugin_files():
        yield from _tests_below("", path, "plugin")


def _tests_below(directory: str, path: str, usage: str) -> Iterator[Found]:
    inside = f"{directory}/" if directory else ""
    for file in project_files.starting(path=inside) if inside else project_files.where():
        if file.path != path and (is_test_file(file.path) or is_conftest(file.path)):
            yield file.path, "file", Step(file.path, path, usage)


def _entering(package: str, path: str) -> Iterator[Found]:
    """Files for which Python runs the `__init__.py` of a package on the way to something in it."""
    inside = f"{package}/"
    for row in (*imports.starting(target=inside), *imports.starting(passes=inside)):
        if row.target != path and not row.path.startswith(inside):
            yield _by(row, path, "package")
    for file in project_files.starting(path=inside):
        if is_test_file(file.path):
            yield file.path, "file", Step(file.path, path, "package")


def _naming(path: str) -> Iterator[Found]:
    """Files that name a module which is gone."""
    module = module_of(path)
    if module is None:
        return
    package, _, name = module.rpartition(".")
    for row in (*imports.where(module=module), *imports.where(module=package)):
        if row.module == module or _names(row, name):
            yield _by(row, path, "import")
    for row in _relatively(path, name):
        yield _by(row, path, "import")


def _names(row: Imported, name: str) -> bool:
    """Whether an import from a package names a submodule of it; a star names what `__all__` does."""
    return row.name == name or (row.name == "*" and bindings.exists(symbol=f"{row.target}:__all__[{name}]"))


def _by(row: Imported, path: str, usage: str) -> Found:
    return row.path, "file", Step(row.path, path, usage, f"{row.module} {row.name}".rstrip())


def _relatively(path: str, name: str) -> Iterator[Imported]:
    """The relative imports, from anywhere in the project, that name the module in a file."""
    holding = path.removesuffix(f"/{SOURCE}").removesuffix(f"/{STUB}")
    parts = [part for part in parent(holding).split("/") if part]
    deepest = max((one.count("/") + 1 for one in python_directories()), default=0)
    for cut in range(len(parts) + 1):
        base, between = "/".join(parts[:cut]), ".".join(parts[cut:])
        for dots in range(1, deepest - cut + 2):
            above = "." * dots + between
            whole = f"{above}.{name}" if between else f"{above}{name}"
            for row in (*imports.where(module=whole), *imports.where(module=above)):
                if (row.module == whole or _names(row, name)) and _above(row.path, dots) == base:
                    yield row
    if holding != path:  # a package: inside of it dots alone name it
        for dots in range(1, deepest - len(parts) + 1):
            yield from (row for row in imports.where(module="." * dots) if _above(row.path, dots) == holding)


def _above(path: str, dots: int) -> str | None:
    """The directory that so many dots mean in a file; None: there is none."""
    for _ in range(dots):
        if not path:
            return None
        path = parent(path)
    return path


def _referring(symbol: str) -> Iterable[Found]:
    yield from referrers(symbol)
    if "." in symbol.rpartition(":")[2]:
        for one in overridden(symbol):
            yield one.over.text, one.over.kind, Step(symbol, one.over.text, "overrides")
    yield from unseen(symbol)


def _split(symbol: str) -> tuple[str, str]:
    path, _, qualified = symbol.rpartition(":")
    return path, qualified
