"""Held: whether a version control system is in the middle of writing the working tree."""

from __future__ import annotations

import os
from pathlib import Path


class Held:
    """True while git holds its index lock, as it does for the whole of a checkout, stash or rebase step."""

    def __init__(self, root: Path) -> None:
        self._lock = _index_lock(root)

    def __call__(self) -> bool:
        return self._lock is not None and os.path.lexists(self._lock)


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
