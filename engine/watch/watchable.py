"""Watchable: which directories a watch can be asked for, and which of them say what happens in others.

Invariants
    D1  No directory is watched by a name that leads through a link (kernel N4). What is known of names is
        handed on from one question to the next, for no longer than one list of directories takes.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator


def can_be_watched(path: str, known: dict[str, bool]) -> bool:
    """Whether there is such a directory, by a name without links that watchfiles takes. `known`: see D1."""
    try:
        path.encode()  # watchfiles takes no others
    except UnicodeEncodeError:
        return False
    return _is_real(path, known) and os.access(path, os.R_OK)


def _is_real(path: str, known: dict[str, bool]) -> bool:
    """Whether a path is a directory, and no link leads to it (D1)."""
    found = known.get(path)
    if found is None:
        above = os.path.dirname(path)
        try:
            found = (above == path or _is_real(above, known)) and stat.S_ISDIR(os.lstat(path).st_mode)
        except OSError:
            found = False
        known[path] = found
    return found


def above(path: str) -> Iterator[str]:
    """The directories that a path lies in, innermost first."""
    while (parent := os.path.dirname(path)) != path:
        yield parent
        path = parent


def topmost(directories: list[str]) -> list[str]:
    """Those that lie in no other one."""
    all_of_them = set(directories)
    return [path for path in directories if all_of_them.isdisjoint(above(path))]


def twins_among(directories: list[str]) -> list[list[str]]:
    """Those that are one directory, which is mounted in several places: lists of two names or more."""
    found: dict[tuple[int, int], list[str]] = {}
    for path in directories:
        with contextlib.suppress(OSError):  # it vanished meanwhile
            state = os.lstat(path)
            found.setdefault((state.st_dev, state.st_ino), []).append(path)
    return [names for names in found.values() if len(names) > 1]


def inode_of(path: str) -> int:
    """The number of a directory; 0 where there is none now."""
    try:
        state = os.lstat(path)
    except OSError:
        return 0
    return state.st_ino if stat.S_ISDIR(state.st_mode) else 0
