"""RuleCode: the files that the running queries were loaded from, and which of them are others now.

Old code never runs under a new key: fingerprints are made of the code that runs. But a process cannot get rid of
loaded code for certain, so what changed here runs in a fresh interpreter only.

Invariants
    L1  Content decides: a file that is saved as it was is no change.
    L2  A file that was saved after loading began, and before it was looked at, counts as changed.
    L3  A file that is missing for a moment (editors replace files) is looked at again before it counts.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable

from attrs import define
from blake3 import blake3

from engine.code_origin import origin
from engine.rules.stat import stamp_of

LOOK_SECONDS = 0.5  # between two looks: 50 files take 0.2 ms


@define(slots=True)
class _File:
    stamp: bytes
    digest: bytes
    missing: int = 0


class RuleCode:
    """Follows the files of all loaded modules of the project, and others.

    others      more files that decide what runs: configuration, and modules that could not be loaded
    since       when loading began, nanoseconds since 1970
    """

    def __init__(
        self, others: Iterable[str | os.PathLike[str]] = (), since: int | None = None, *, modules: bool = True
    ) -> None:
        self._files: dict[str, _File] = {}
        self._modules: set[str] = set()
        self._changed: dict[str, None] = {}
        self._looked_at = time.monotonic()
        self._all_modules = modules
        for path in others:
            self._add(os.path.abspath(path), since)
        self._add_modules(since)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are followed."""
        return tuple(self._files)

    def changed(self) -> tuple[str, ...]:
        """The files whose content is not what was loaded; looks at each of them."""
        self._add_modules(None)
        for path, known in self._files.items():
            stamp = stamp_of(path)
            if stamp == known.stamp and not known.missing:
                continue
            digest = _digest(path)
            if digest == b"" and known.digest and known.missing < 2:
                known.missing += 1  # L3
                continue
            known.stamp, known.missing = stamp, 0
            if digest == known.digest:
                self._changed.pop(path, None)  # also: changed, and changed back
            else:
                self._changed[path] = None
        return tuple(self._changed)

    def follow(self, tell: Callable[[tuple[str, ...]], None]) -> Callable[[], None]:
        """A step for `Watch.steps`: tells once of each set of files that changed."""
        told: tuple[str, ...] = ()

        def step() -> None:
            nonlocal told
            if time.monotonic() - self._looked_at < LOOK_SECONDS:
                return
            self._looked_at = time.monotonic()
            found = self.changed()
            if found and found != told:
                tell(found)
            told = found

        return step

    def _add_modules(self, since: int | None) -> None:
        if not self._all_modules or len(sys.modules) == len(self._modules):
            return
        for name, module in list(sys.modules.items()):
            if name not in self._modules:
                self._modules.add(name)
                file = getattr(module, "__file__", None)
                if isinstance(file, str) and file.endswith(".py") and origin(name) == "project":
                    self._add(os.path.realpath(file), since)

    def _add(self, path: str, since: int | None) -> None:
        if path in self._files:
            return
        self._files[path] = _File(stamp_of(path), _digest(path))
        if since is not None and _saved_at(path) > since:
            self._changed[path] = None  # L2: nobody knows which content was loaded
            self._files[path].digest = b"?"


def _digest(path: str) -> bytes:
    """Of the content; b"" where there is none."""
    try:
        with open(path, "rb") as file:
            return blake3(file.read()).digest()
    except OSError:
        return b""


def _saved_at(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
