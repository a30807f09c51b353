"""Held: whether a version control system is in the middle of writing the working tree."""

from __future__ import annotations

import os
import time
from pathlib import Path

ABANDONED_SECONDS = 60.0  # age of a lock that a git left which was killed: each save would wait for it


class Held:
    """True while git holds its index lock, as it does for the whole of a checkout, stash or rebase step."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock: str | None = None

    def __call__(self) -> bool:
        self._lock = self._lock or _index_lock(self._root)  # the repository may be made later
        if self._lock is None:
            return False
        try:
            return time.time() - os.lstat(self._lock).st_mtime < ABANDONED_SECONDS
        except (OSError, ValueError):
            return False


def _index_lock(root: Path) -> str | None:
    """The lock of the repository that a root lies in; None where there is no repository."""
    for directory in (root, *root.parents):
        git = directory / ".git"
        try:
            if git.is_dir():
                return str(git / "index.lock")
            if git.is_file():  # a worktree or submodule: "gitdir: path"
                word, _, place = git.read_text("utf-8", "surrogateescape").partition(":")
                if word == "gitdir":
                    return str((directory / place.strip()) / "index.lock")
        except OSError:
            return None
    return None
