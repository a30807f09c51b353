"""Fixtures: what pytest gives to a test that names it as a parameter.

Invariants
    X1  The nearest one counts: of the class and what it inherits, of the module and the plugins that it
        names, of the conftest.py beside it with its own, of those above, of the plugins of all tests. A
        conftest.py that appears in between takes over.
    X2  A parameter that no fixture of the project gives is no row: `parametrize` may give it, or a plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from engine import query
from engine.rules.python.bindings import RENAMED, bindings
from engine.rules.python.definitions import definitions
from engine.rules.python.facts import Facts, facts
from engine.rules.python.lookup import lookup
from engine.rules.python.meanings import INTERNAL, MODULE, Meaning, Meanings, local, symbol
from engine.rules.python.plugins import named_by, plugin_files
from engine.rules.python.project import project_files
from engine.rules.python.requests import EVERYWHERE, is_fixture, renamed
from engine.rules.python.resolve import Member
from engine.rules.python.roles import CONFTEST, is_conftest
from engine.rules.python.tree import join, parent
from engine.rules.python.uses import OUTER, PLACE, Use

Given = tuple[tuple[str, Meaning], ...]  # by names


class Fixtures:
    """What pytest gives to the tests and fixtures of one file. For queries to call.

    of_module   what a name of the module means
    member      what a name of a class means, see `resolve.Member`
    """

    def __init__(self, path: str, found: Facts, of_module: Callable[[str], Meanings], member: Member) -> None:
        self._path = path
        self._facts = found
        self._of_module = of_module
        self._member = member
        self._imported: Given | None = None

    def of(self, use: Use) -> Meanings:
        """The fixture that one of them asks for by a name; () where none of the project is known."""
        if use.name == EVERYWHERE:
            return (local("every test around it gets it"),)
        found: Meanings = ()
        if use.origin == PLACE:
            found = _fixture_of(partial(self._member, self._path, use.scope), use.name)
        if not found and use.origin != OUTER:
            found = _fixture_of(self._of_module, use.name) or self._imported_as(use.name)
        found = found or _of_plugins(named_by(self._path), use.name)
        if found:
            return found
        directory = parent(self._path)
        if use.origin == OUTER and is_conftest(self._path):
            return _given(parent(directory), use.name) if directory else ()
        return _given(directory, use.name)

    def _imported_as(self, name: str) -> Meanings:
        if self._imported is None:
            self._imported = tuple(_renamed(self._of_module, self._facts))
        return tuple(one for given_as, one in self._imported if given_as == name)


@query
def _given(directory: str, name: str) -> Meanings:
    """The fixture of that name that the conftest.py of a directory gives, or one above, or a plugin of all
    tests; () if none does."""
    path = join(directory, CONFTEST)
    if project_files.exists(path=path):
        found = _of_file(path, name) or _of_plugins(named_by(path), name)
        if found:
            return found
    return _given(parent(directory), name) if directory else _of_plugins(plugin_files(), name)


def _of_plugins(files: Iterable[str], name: str) -> Meanings:
    """The fixture of that name in plugins, or in those that these name."""
    waiting = list(files)
    for path in waiting:
        found = _of_file(path, name)
        if found:
            return found
        waiting += [one for one in named_by(path) if one not in waiting]
    return ()


def _of_file(path: str, name: str) -> Meanings:
    found = _fixture_of(partial(lookup, path), name)
    return found or tuple(each for given_as, each in _imported_renamed(path) if given_as == name)


@query
def _imported_renamed(path: str) -> Given:
    return tuple(_renamed(partial(lookup, path), facts(path)))


def _renamed(named: Callable[[str], Meanings], found: Facts) -> Iterator[tuple[str, Meaning]]:
    """The fixtures that a module imports under names by which pytest does not give them, with those by which
    it does; `named` is what a name means there."""
    names = [one.alias or one.name for one in found.imports if not one.scope and not one.star and one.name]
    for each in dict.fromkeys(each for name in names if name for each in named(name)):
        given_as = _renamed_to(each) if each.outcome == INTERNAL else ""
        if given_as:
            yield given_as, each


def _fixture_of(named: Callable[[str], Meanings], name: str) -> Meanings:
    """The fixture that pytest gives by a name in a class or module, where `named` is what a name means."""
    found = tuple(one for one in _only_fixtures(named(name)) if _renamed_to(one) in ("", name))
    return found or _only_fixtures(named(renamed("", name)))


def _only_fixtures(found: Meanings) -> Meanings:
    several = (each for one in found if one.outcome == INTERNAL and one.kind != MODULE for each in _made(one))
    return tuple(
        one
        for one in several
        if any(is_fixture(row.decorators) for row in definitions.where(symbol=f"{one.path}:{one.qualified}"))
    )


def _made(one: Meaning) -> Iterable[Meaning]:
    """The function that makes a fixture, which may be named otherwise."""
    if one.kind != RENAMED or one.path is None:
        return (one,)
    names = [row.value for row in bindings.where(symbol=f"{one.path}:{one.qualified}")]
    rows = [row for name in names for row in definitions.where(symbol=f"{one.path}:{name}")]
    return [symbol(one.path, row.symbol.rpartition(":")[2], row.kind, row.ordinal) for row in rows]


def _renamed_to(one: Meaning) -> str:
    """The name under which alone pytest gives a fixture; "" where that is the name of its function."""
    beginning = f"{one.path}:{renamed(one.qualified.rpartition('.')[0], '')}"
    rows = bindings.starting(symbol=beginning)
    return next((row.symbol[len(beginning) :] for row in rows if row.value == one.qualified), "")
