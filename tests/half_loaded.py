"""Modules that are half loaded: what happens where they say `amid()`."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

HAPPENS: list[Callable[[], object]] = []


def amid() -> None:
    for what in HAPPENS:
        what()


def load_again(module: ModuleType) -> None:
    """What `importlib.reload` does: the names of before stand until they are bound anew."""
    loader = getattr(module.__spec__, "loader", None)
    assert loader is not None
    loader.exec_module(module)
