"""Roles: what a definition is for, as far as names, places and project files say: tests, entry points.

Invariants
    O1  What is a test is decided as pytest and unittest do: files as `collected` says, functions test*,
        classes Test* and those that inherit from TestCase, methods test* in them; classes in a class of
        tests too.
"""

from __future__ import annotations

import tomllib
from typing import Any

from engine import query
from engine.rules.files import FileError, read_text
from engine.rules.python.collected import holds_tests, patterns_of_tests
from engine.rules.python.modules import find_module

CONFTEST = "conftest.py"


def is_test_file(path: str) -> bool:
    """Whether a file holds tests. For queries to call."""
    return holds_tests(path, patterns_of_tests())


def is_conftest(path: str) -> bool:
    """Whether pytest reads a file for all tests in its folder and below."""
    return path.rpartition("/")[2] == CONFTEST


def is_test(path: str, qualified: str) -> bool:
    """Whether a definition is a test, or a class of tests. For queries to call."""
    if not is_test_file(path):
        return False
    *around, name = qualified.split(".")
    if "<locals>" in around:
        return False
    if len(around) == 1 and name.startswith("test"):
        return True  # what its class inherits may say that it is one of tests
    return name.startswith(("test", "Test")) and all(one.startswith("Test") for one in around)


@query
def entry_points() -> tuple[str, ...]:
    """The symbols "path:qualified" that pyproject.toml names as scripts or entry points, sorted."""
    project, poetry = _settings()
    several = [project.get("scripts"), project.get("gui-scripts"), poetry.get("scripts")]
    several += _below(project, "entry-points").values()
    several += _below(poetry, "plugins").values()
    return _sorted(several)


@query
def registered(group: str) -> tuple[str, ...]:
    """The symbols that pyproject.toml names as entry points of one group, sorted."""
    project, poetry = _settings()
    return _sorted([_below(project, "entry-points").get(group), _below(poetry, "plugins").get(group)])


def _settings() -> tuple[dict[str, Any], dict[str, Any]]:
    """What pyproject.toml says of the project, and to poetry."""
    try:
        settings = tomllib.loads(read_text("pyproject.toml"))
    except (FileError, tomllib.TOMLDecodeError):
        settings = {}
    return _below(settings, "project"), _below(settings, "tool", "poetry")


def _sorted(groups: list[Any]) -> tuple[str, ...]:
    return tuple(sorted({symbol for group in groups for symbol in _symbols(group)}))


def _below(settings: Any, *names: str) -> dict[str, Any]:
    for name in names:
        settings = settings.get(name) if isinstance(settings, dict) else None
    return settings if isinstance(settings, dict) else {}


def _symbols(group: Any) -> list[str]:
    found = []
    for reference in group.values() if isinstance(group, dict) else ():
        if isinstance(reference, dict):  # as poetry has them
            reference = reference.get("reference", reference.get("callable", ""))
        module, _, qualified = str(reference).partition(":")
        location = find_module(module.strip()) if module.strip() else None
        if location is not None and location.path is not None:
            found.append(f"{location.path}:{qualified.partition('[')[0].strip()}")
    return found
