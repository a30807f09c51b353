"""Plugins: modules that pytest loads for tests which do not import them.

Invariants
    P1  A module is loaded for all tests where the project registers it (`pytest11`) or its settings do
        (`-p`); else for those around the file that names it in `pytest_plugins`, which may be a plugin too.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine import query
from engine.rules.python.collected import options_of_tests
from engine.rules.python.imports import import_targets, imports
from engine.rules.python.modules import find_module
from engine.rules.python.roles import CONFTEST, is_conftest, is_test_file, registered


@query
def plugin_files() -> tuple[str, ...]:
    """The files that pytest loads whatever tests run, sorted."""
    located = map(find_module, _by_options())
    files = {one.path for one in located if one is not None and one.path is not None}
    return tuple(sorted(files | {symbol.rpartition(":")[0] for symbol in registered("pytest11")}))


def named_by(path: str) -> Iterator[str]:
    """The files of the modules that a file names in texts, as in `pytest_plugins`. For queries to call."""
    for target in import_targets(path):
        if target.path is not None and not target.statement.binds:
            yield target.path


@query
def loaded_by(path: str) -> tuple[str, ...]:
    """The files around which tests get what a file has: itself, or those that name it; where all tests get
    it, the `conftest.py` of the root stands for them.
    """
    found: list[str] = []
    waiting, seen = [path], {path}
    while waiting:
        one = waiting.pop()
        if is_conftest(one) or is_test_file(one):
            found.append(one)
            continue
        if one in plugin_files():
            found.append(CONFTEST)
        for row in imports.where(target=one):
            if not row.name and row.path not in seen and one in named_by(row.path):
                seen.add(row.path)
                waiting.append(row.path)
    return tuple(found)


def _by_options() -> Iterator[str]:
    options = iter(options_of_tests())
    for option in options:
        if option.startswith("-p"):
            name = (option[2:] or next(options, "")).strip()
            if name and not name.startswith("no:"):
                yield name
