"""Fixtures: what pytest gives to a test that names it as a parameter.

Invariants
    X1  The nearest one counts: of the class and what it inherits, of the module and the plugins that it
        names, of the conftest.py beside it with its own, of those above, of the plugins of all tests. A
        conftest.py that appears in between takes over.
    X2  A parameter that no fixture of the project gives is no row: `parametrize` may give it, or a plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from engine import query
from engine.rules.python.bindings import RENAMED, bindings
from engine.rules.python.definitions import definitions
from engine.rules.python.lookup import lookup
from engine.rules.python.meanings import INTERNAL, MODULE, Meaning, Meanings, symbol
from engine.rules.python.plugins import named_by, plugin_files
from engine.rules.python.project import project_files
from engine.rules.python.requests import is_fixture, renamed
from engine.rules.python.roles import CONFTEST
from engine.rules.python.tree import join, parent


@query
def given(directory: str, name: str) -> Meanings:
    """The fixture of that name that the conftest.py of a directory gives, or one above, or a plugin of all
    tests; () if none does."""
    path = join(directory, CONFTEST)
    if project_files.exists(path=path):
        found = fixture_of(partial(lookup, path), name) or of_plugins(named_by(path), name)
        if found:
            return found
    return given(parent(directory), name) if directory else of_plugins(plugin_files(), name)


def of_plugins(files: Iterable[str], name: str) -> Meanings:
    """The fixture of that name in plugins, or in those that these name. For queries to call."""
    waiting = list(files)
    for path in waiting:
        found = fixture_of(partial(lookup, path), name)
        if found:
            return found
        waiting += [one for one in named_by(path) if one not in waiting]
    return ()


def fixture_of(named: Callable[[str], Meanings], name: str) -> Meanings:
    """The fixture that pytest gives by a name in a class or module. For queries to call.

    named   what a name means there
    """
    return _only_fixtures(named(name)) or _only_fixtures(named(renamed("", name)))


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
