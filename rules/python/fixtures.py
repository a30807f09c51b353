"""Fixtures: what pytest gives to a test that names it as a parameter.

Invariants
    X1  The nearest one counts: of the class and what it inherits, of the module, of the conftest.py beside
        it, of those above. A conftest.py that appears in between takes over.
    X2  A parameter that no fixture of the project gives is no row: `parametrize` may give it, or a plugin.
"""

from __future__ import annotations

from engine import query
from engine.rules.python.definitions import definitions
from engine.rules.python.lookup import lookup
from engine.rules.python.meanings import INTERNAL, MODULE, Meanings
from engine.rules.python.project import project_files
from engine.rules.python.requests import is_fixture
from engine.rules.python.roles import CONFTEST
from engine.rules.python.tree import join, parent


@query
def given(directory: str, name: str) -> Meanings:
    """The fixture of that name that the conftest.py of a directory gives, or one above; () if none does."""
    path = join(directory, CONFTEST)
    if project_files.exists(path=path):
        found = only_fixtures(lookup(path, name))
        if found:
            return found
    return given(parent(directory), name) if directory else ()


def only_fixtures(found: Meanings) -> Meanings:
    """Those of the meanings of a name that are fixtures. For queries to call."""
    return tuple(
        one
        for one in found
        if one.outcome == INTERNAL
        and one.kind != MODULE
        and any(is_fixture(row.decorators) for row in definitions.where(symbol=f"{one.path}:{one.qualified}"))
    )
