"""A project of three files, rules.py, a.txt and b.txt, for commands that are run in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

RULES = """\
import enum, os, sys, time
from attrs import frozen
from engine import each, query
from engine.rules.files import read_text

@frozen
class Row:
    name: str
    lines: int

class Color(enum.Enum):
    RED = 1
    BLUE = 2

@query
def lines(path: str) -> int:
    return len(read_text(path).splitlines())

@query
def report() -> tuple[Row, ...]:
    return tuple(Row(path, lines(path)) for path in ("a.txt", "b.txt"))

@query
def echo(text: str, number: int = 0, *, color: Color = Color.RED) -> str:
    return f"{text} {number} {color.name}"

@query
def leaves() -> int:
    sys.exit(7)

@query
def opaque() -> object:
    return object()
"""


def write_project(place: Path, more: str) -> None:
    """`more`: queries beside those that are always there."""
    (place / "rules.py").write_text(RULES + more)
    (place / "a.txt").write_text("1\n2\n")
    (place / "b.txt").write_text("3\n")


@contextmanager
def working_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Inside, a directory is where commands work, with no settings but its own.

    What was loaded from there is forgotten afterwards.
    """
    monkeypatch.chdir(place)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for name in [name for name in os.environ if name.startswith("ENGINE_")]:
        monkeypatch.delenv(name)
    path = list(sys.path)
    yield
    forget_modules(place, path)


def forget_modules(place: Path, path: list[str]) -> None:
    """Let what lies in a directory be loaded anew, by way of this path."""
    for name, module in list(sys.modules.items()):
        if str(place) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]
    sys.path[:] = path
