"""RuleCode: the files that the running queries were loaded from, and which of them are others now.

Old code never runs under a new key: fingerprints are made of the code that runs. But a process cannot get rid
of loaded code for certain, so what changed here runs in a fresh interpreter only.

Invariants
    L1  Content decides: a file that is saved as it was is no change. Of `pyproject.toml` our table counts.
    L2  A file that was saved after loading began, and before it was looked at, counts as changed.
    L3  A file that is missing for a moment (editors replace files) is looked at again before it counts.
    L4  Any thread may look.
    L5  What a query imports and finds missing counts when it appears, as far as `sought` knows of it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Final

from attrs import define
from blake3 import blake3

from engine.code.moment import Moment
from engine.code.origin import file_in, origin
from engine.rules.stat import settled, stamp_of

LOOK_SECONDS: Final = 0.5  # between two looks: 50 files take 0.2 ms
# How far the times of files lag behind the clock: a tick, 10 ms at most.
CLOCK_NANOSECONDS: Final = 20_000_000
PYPROJECT: Final = "pyproject.toml"
MISSED: Final = 2  # looks at a file that is not there, until it counts as gone
UNKNOWN: Final = b"?"  # the digest of a content that nobody knows


@define(slots=True)
class _File:
    stamp: bytes  # b"" where it proves nothing
    digest: bytes
    missing: int = 0


class RuleCode:
    """Follows the files of all loaded modules of the project, and others.

    others      more files that decide what runs: configuration, and modules that could not be loaded
    since       when loading began
    sought      gives the files that modules would have which were imported and are not there, whenever asked
    """

    def __init__(
        self,
        others: Iterable[str | os.PathLike[str]] = (),
        since: Moment | None = None,
        sought: Callable[[], Iterable[str]] = tuple,
        *,
        modules: bool = True,
    ) -> None:
        self._files: dict[str, _File] = {}
        self._modules: dict[str, ModuleType] = {}
        self._changed: dict[str, None] = {}
        self._looked_at = 0.0
        self._seen_at = Moment.now()  # what was not loaded then was loaded later
        self._all_modules = modules
        self._sought = sought
        self._lock = threading.Lock()
        for path in others:
            self._add(os.path.abspath(path), since)
        self._add_modules(since)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are followed."""
        return tuple(self._files)

    def changed(self) -> tuple[str, ...]:
        """The files whose content is not what was loaded; looks at each of them."""
        with self._lock:
            seen_at = Moment.now()
            self._add_modules(self._seen_at)
            self._seen_at = seen_at
            for path, known in self._files.items():
                self._look(path, known)
            return tuple(self._changed)

    def follow(self, tell: Callable[[tuple[str, ...]], None]) -> Callable[[], None]:
        """What to call often: it looks every LOOK_SECONDS, and tells once of each set of changed files."""
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

    def _look(self, path: str, known: _File) -> None:
        stamp = stamp_of(path)
        if stamp == known.stamp and not known.missing:
            return
        kept = _to_keep(stamp)
        digest = _digest(path)
        if digest == b"" and known.digest and known.missing < MISSED:
            known.missing += 1  # L3
            return
        known.stamp, known.missing = kept, 0
        if digest == known.digest:
            self._changed.pop(path, None)  # also: changed, and changed back
        else:
            self._changed[path] = None

    def _add_modules(self, since: Moment | None) -> None:
        for path in self._sought():
            self._add(os.path.abspath(path), since)
        if not self._all_modules:
            return
        for name, module in list(sys.modules.items()):
            if self._modules.get(name) is not module:
                self._modules[name] = module
                file = file_in(module)
                if file is not None and file.endswith(".py") and origin(name) == "project":
                    self._add(os.path.realpath(file), since)

    def _add(self, path: str, since: Moment | None) -> None:
        if path in self._files:
            return
        self._files[path] = known = _File(_to_keep(stamp_of(path)), _digest(path))
        if since is not None and _may_be_saved_since(path, since):
            self._changed[path] = None  # L2: nobody knows which content was loaded
            known.digest = UNKNOWN


def _to_keep(stamp: bytes) -> bytes:
    """A stamp, before what it is of is read; none where the next write may leave it as it is."""
    return stamp if settled(stamp) else b""


def _digest(path: str) -> bytes:
    """Of the content; b"" where there is none."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return b""
    if os.path.basename(path) == PYPROJECT:
        data = _our_table(data)
        if not data:
            return b""
    return blake3(data).digest()


def _our_table(data: bytes) -> bytes:
    """What a `pyproject.toml` says to us. All of it where that is not clear."""
    if b"engine" not in data:
        return b""
    import json
    import tomllib

    try:
        found = tomllib.loads(data.decode())["tool"]["engine"]
    except KeyError:
        return b""
    except (ValueError, TypeError):
        return data
    return json.dumps(found, sort_keys=True, default=repr).encode()


def _may_be_saved_since(path: str, since: Moment) -> bool:
    """Whether a file may have got its content or its place since a moment.

    A time to come is not from then (somebody set it, or set the clock back earlier). It would count in every
    interpreter anew, and each would be replaced by the next.
    """
    try:
        status = os.stat(path)
    except OSError:
        return False
    earliest, latest = since.times_since()
    return any(
        earliest - CLOCK_NANOSECONDS < at <= latest + CLOCK_NANOSECONDS
        for at in (status.st_mtime_ns, status.st_ctime_ns)
    )
