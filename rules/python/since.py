"""Since: which files differ from a commit of git. For commands and programs: a query must not ask git."""

from __future__ import annotations

import subprocess
from pathlib import Path

from engine import EngineError


class NoGitAnswer(EngineError):
    """git could not say what changed."""

    headline = "git cannot say which files changed"
    exit_code = 2


def changed_since(root: str | Path, commit: str) -> tuple[str, ...]:
    """The files below `root` that differ from a commit, new and deleted ones among them, relative to `root`.

    What git ignores is left out. Raises `NoGitAnswer`.
    """
    if commit.startswith("-"):
        raise NoGitAnswer(commit=commit, cause="the name of a commit does not begin with a dash")
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    # Second: outside of a repository it says what to do about two files, and `ls-files` what is the matter.
    changed = _git(root, "diff", "--name-only", "--no-renames", "--relative", "-z", commit, "--")
    return tuple(sorted({*changed, *new}))


def _git(root: str | Path, *arguments: str) -> list[str]:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except OSError as error:
        raise NoGitAnswer(root=root, cause=f"git does not run: {error.strerror}") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise NoGitAnswer(root=root, cause=lines[0] if lines else f"git ended with {done.returncode}")
    return [name.decode("utf-8", "surrogateescape") for name in done.stdout.split(b"\0") if name]
