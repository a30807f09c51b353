"""Imports: what a watch has to know of modules while rules are loaded, and that Python does not tell.

Invariants
    P1  A module of the project that was edited just now is compiled from its source. Python would take
        bytecode for current that has the same size and second.
    P2  What is looked for and not there is known too: its file may appear.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Final

from engine.code_origin import origin
from engine.module_files import Uncached

RACY_NANOSECONDS: Final = 2_000_000_000  # bytecode made so soon after its source may be of another version


class Finder:
    """The first finder of `sys.meta_path`. Leaves to the others what it need not find itself."""

    def __init__(self) -> None:
        self._sought: dict[tuple[str, tuple[str, ...] | None], None] = {}

    def install(self) -> None:
        """Notice imports from now on."""
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module of the project lies whose bytecode may be outdated; None for others."""
        self._sought[name, None if path is None else tuple(path)] = None
        if path is None and name in sys.stdlib_module_names:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader or spec.origin is None:
            return None
        if _is_older(spec.cached, spec.origin):
            return None
        spec.loader = Uncached(name, spec.origin)
        return spec

    def files(self) -> Iterator[str]:
        """The files of modules that were looked for; where they are missing, those that they might have."""
        for name, path in list(self._sought):
            if name in sys.modules and origin(name) != "project":
                continue
            for directory in sys.path if path is None else path:
                place = os.path.join(directory, name.rpartition(".")[2])
                yield f"{place}.py"
                yield os.path.join(place, "__init__.py")


def _is_older(source_bytecode: str | None, source: str) -> bool:
    """Whether nothing can hide between a source and its bytecode; also where there is no bytecode."""
    try:
        compiled = os.stat(source_bytecode or "").st_mtime_ns
    except OSError:
        return True
    try:
        return compiled > os.stat(source).st_mtime_ns + RACY_NANOSECONDS
    except OSError:
        return True
