"""The tasks of a checkout: what needs no environment yet."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import make

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("task", [[], ["tset"], ["--help"]])
def test_who_names_no_task_is_told_what_there_is(task: list[str], tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, CHECKOUT / "make.py", *task], cwd=tmp_path, capture_output=True)
    assert done.returncode == 2
    for one in ("demo", "test", "check", "bench", "format", "clean"):
        assert f"make.py {one}".encode() in done.stdout


def test_a_python_that_is_too_old_is_told_which_one_to_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(make, "OLDEST", (4, 0))
    assert make.main("test") == 1
    assert "Take 3.11 or later: python3.11 make.py test" in capsys.readouterr().out


def test_every_check_is_of_the_oldest_python_whichever_one_runs_it() -> None:
    """Else what is for an older one cannot be reached, for mypy under a newer one, and the check fails."""
    told = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    major, minor = make.OLDEST
    assert told["project"]["requires-python"] == f">={major}.{minor}"
    assert told["tool"]["ruff"]["target-version"] == f"py{major}{minor}"
    assert told["tool"]["mypy"]["python_version"] == f"{major}.{minor}"
    assert told["tool"]["pyright"]["pythonVersion"] == f"{major}.{minor}"


def test_every_task_of_the_docstring_is_one_and_says_what_it_needs() -> None:
    told = {
        line.split()[2] for line in (make.__doc__ or "").splitlines() if line.startswith("python3 make.py")
    }
    assert told == {*make.GROUPS, "clean"}


def test_a_program_that_a_signal_ended_gives_the_exit_code_of_a_shell() -> None:
    assert make.run(["-c", "import os; os.kill(os.getpid(), 15)"], sys.executable) == 143
    assert make.run(["-c", "raise SystemExit(3)"], sys.executable) == 3
