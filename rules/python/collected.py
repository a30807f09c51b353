"""Collected: which files pytest takes tests from, and with which options, as the project's settings say.

Invariants
    T1  As for pytest, the first file with settings of it is the only one: later ones say nothing, also where
        that one leaves the default. Files of its own count when they are empty.
    T2  What a file says that cannot be read, or is not meant so, is not said.
"""

from __future__ import annotations

import configparser
import shlex
import tomllib
from fnmatch import fnmatchcase
from typing import Any

from engine import query
from engine.rules.files import FileError, read_text

USUAL = ("test_*.py", "*_test.py", "tests.py")  # the last one is that of `manage.py test`
TABLES = (("pytest",), ("tool", "pytest", "ini_options"), ("tool", "pytest"))
OWN = ("pytest.", ".pytest.")
SETTINGS = (  # in the order of pytest; of the others than TOML with the section
    ("pytest.toml", ""), (".pytest.toml", ""), ("pytest.ini", "pytest"), (".pytest.ini", "pytest"),
    ("pyproject.toml", ""), ("tox.ini", "pytest"), ("setup.cfg", "tool:pytest"),
)  # fmt: skip


@query
def patterns_of_tests() -> tuple[str, ...]:
    """The patterns of the names of files that hold tests; of one with a "/", of the end of their paths."""
    return _said("python_files") or USUAL


@query
def options_of_tests() -> tuple[str, ...]:
    """The options that pytest takes as given."""
    return _said("addopts")


def _said(setting: str) -> tuple[str, ...]:
    for file, section in SETTINGS:
        try:
            text = read_text(file)
        except FileError:
            continue
        said = _of_section(text, section, setting) if section else _of_tables(text, setting)
        if said is not None or file.startswith(OWN):
            return tuple(said or ())
    return ()


def holds_tests(path: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns is that of a file."""
    if not path.endswith(".py"):
        return False
    name = path.rpartition("/")[2]
    return any(
        fnmatchcase(f"/{path}", f"*/{one}") if "/" in one else fnmatchcase(name, one) for one in patterns
    )


def _of_section(text: str, section: str, setting: str) -> list[str] | None:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return _words(parser.get(section, setting, fallback="")) if parser.has_section(section) else None


def _of_tables(text: str, setting: str) -> list[str] | None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    for names in TABLES:
        table: Any = document
        for name in names:
            table = table.get(name) if isinstance(table, dict) else None
        if isinstance(table, dict):
            value = table.get(setting)
            if isinstance(value, str):
                value = _words(value)
            return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
    return None


def _words(text: str) -> list[str]:
    """As in a shell: quotes go."""
    try:
        return shlex.split(text)
    except ValueError:  # a quote that nobody closes
        return []
