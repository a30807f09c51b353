"""Which files differ from a commit, as git says it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from engine import EngineError
from engine.rules.python.since import changed_since


def test_files_that_differ_from_a_commit(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        command = ["git", "-c", "user.name=n", "-c", "user.email=e", *arguments]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    for name in ("kept.py", "changed.py", "gone.py", "sub/moved.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"# {name}\n" * 9)
    git("add", ".")
    git("commit", "-qm", "one")
    (tmp_path / "changed.py").write_text("x = 1\n")
    (tmp_path / "gone.py").unlink()
    (tmp_path / "sub/moved.py").rename(tmp_path / "sub/new name.py")
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    (tmp_path / "ignored.py").write_text("")
    assert changed_since(tmp_path, "HEAD") == (
        ".gitignore", "changed.py", "gone.py", "sub/moved.py", "sub/new name.py",
    )  # fmt: skip
    assert changed_since(tmp_path / "sub", "HEAD") == ("moved.py", "new name.py")
    for commit in ("no-such-commit", "--output=x"):
        with pytest.raises(EngineError, match="git cannot say"):
            changed_since(tmp_path, commit)
    with pytest.raises(EngineError, match="git cannot say"):
        changed_since(tmp_path / "nowhere", "HEAD")


def test_outside_of_a_repository_git_says_that_there_is_none_and_nothing_of_other_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(EngineError, match="not a git repository") as error:
        changed_since(tmp_path, "main")
    assert "--no-index" not in str(error.value)
