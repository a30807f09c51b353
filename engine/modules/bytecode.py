"""Module bytecode: what Python keeps of a module, and when that may be of an earlier source.

Python takes bytecode for current whose source has the same size and the same second. A file that is saved
twice in a second, or is put in place with the times it had, would run as it was before.

Invariants
    Y1  Of the project, bytecode runs only if it was made later than anything that happened to its source.
        Else the source is compiled, and its bytecode made anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import BYTECODE_SUFFIXES, ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any, Final

RACY_NANOSECONDS: Final = 2_000_000_000  # bytecode made so soon after its source may be of another version
INSTALLED: Final = ("site-packages", "dist-packages")  # whoever puts files there makes their bytecode too


class Uncached(SourceFileLoader):
    """Compiles the source every time, and keeps nothing of it."""

    def path_stats(self, path: str) -> Any:
        raise OSError


class Recompiled(SourceFileLoader):
    """Compiles the source, and lets Python keep the bytecode."""

    def get_data(self, path: str) -> bytes:
        if path.endswith(tuple(BYTECODE_SUFFIXES)):
            raise OSError
        return super().get_data(path)


class Current:
    """The first finder of `sys.meta_path`. Leaves to the others what it need not find itself."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module lies whose bytecode may be outdated; None for others."""
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names or top == "engine":
            return None
        spec = current_spec(name, path, target)
        return spec if spec is not None and type(spec.loader) is Recompiled else None


def install() -> None:
    """Let what is imported from now on be current. Once is enough."""
    if not any(isinstance(finder, Current) for finder in sys.meta_path):
        sys.meta_path.insert(0, Current())


def current_spec(
    name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
) -> ModuleSpec | None:
    """What Python finds, with a loader that compiles where the bytecode may be outdated (Y1)."""
    spec = PathFinder.find_spec(name, path, target)
    if spec is None or type(spec.loader) is not SourceFileLoader or spec.origin is None:
        return spec
    if not any(part in spec.origin for part in INSTALLED) and _may_be_outdated(spec.cached, spec.origin):
        spec.loader = Recompiled(name, spec.origin)
    return spec


def _may_be_outdated(bytecode: str | None, source: str) -> bool:
    try:
        made = os.stat(bytecode or "").st_mtime_ns
        changed = os.stat(source)
    except OSError:
        return False  # there is none, or soon no source: Python does what there is to be done
    # Who puts a file in place sets the one time to any value, often the old one, and not the change time.
    return made <= max(changed.st_mtime_ns, changed.st_ctime_ns) + RACY_NANOSECONDS
