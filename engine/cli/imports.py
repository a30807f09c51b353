"""Imports: what a watch has to know of modules while rules are loaded, and that Python does not tell.

Invariants
    P1  What is looked for and not there is known too: its file may appear.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from engine.code.origin import origin
from engine.modules.bytecode import Current


class Finder(Current):
    """Remembers what was looked for."""

    def __init__(self) -> None:
        self._sought: dict[tuple[str, tuple[str, ...] | None], None] = {}

    def install(self) -> None:
        """Notice imports from now on."""
        sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `Current.find_spec`."""
        self._sought[name, None if path is None else tuple(path)] = None
        return super().find_spec(name, path, target)

    def files(self) -> Iterator[str]:
        """The files of modules that were looked for; where they are missing, those that they might have."""
        for name, path in list(self._sought):
            if name not in sys.modules or origin(name) == "project":
                yield from _files_of(name, path)

    def missing(self) -> Iterator[str]:
        """The files that modules might have which were looked for and are not there."""
        for name, path in list(self._sought):
            if name not in sys.modules:
                yield from _files_of(name, path)


def _files_of(name: str, path: Sequence[str] | None) -> Iterator[str]:
    for directory in sys.path if path is None else path:
        place = os.path.join(directory, name.rpartition(".")[2])
        yield f"{place}.py"
        yield os.path.join(place, "__init__.py")
