"""Queries over a small watched tree that fail or wait as long as a test wants."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from engine import query
from engine.rules.files import read_bytes, read_text
from tests.patience import PATIENCE
from tests.watch_world import planted

TROUBLE: dict[str, int] = {}  # path -> how often reading it fails
GATES: dict[str, threading.Event] = {}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    TROUBLE.clear()
    GATES.clear()
    return planted(tmp_path / "root")


@query
def code(path: str) -> tuple[str, ...]:
    """The lines of a file that are no comments."""
    return tuple(line for line in read_text(path).splitlines() if not line.startswith("#"))


@query
def codes() -> int:
    return sum(len(code(path)) for path in ("a/one.txt", "top.txt"))


@query
def shaky(path: str) -> str:
    """Fails as often as the test wants."""
    found = read_text(path)
    if TROUBLE.get(path, 0) > 0:
        TROUBLE[path] -= 1
        raise OSError("the disk did not answer")
    return found


@query
def slow(path: str) -> str:
    """Takes until its gate is opened."""
    found = read_text(path)
    GATES["reached"].set()
    GATES["open"].wait(PATIENCE)
    read_bytes(path)
    return found
