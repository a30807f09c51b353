"""Shown: programs as README, docs and examples show them, run in a folder as their readers do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
LIMIT_S = 600


def run(command: list[str | Path], place: Path, where: str = "", *, check: bool = True) -> str:
    """Run a program with `python` and `engine` on the path; what it says."""
    answer = subprocess.run(
        command,
        cwd=place,
        env=environment(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=LIMIT_S,
    )
    assert not check or answer.returncode == 0, f"{where}\n{answer.stdout}"
    return answer.stdout


def environment(place: Path) -> dict[str, str]:
    """With `python` and `engine` on the path, and nothing of this test run."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "ENGINE_"))},
        "PATH": f"{tools_for(place)}:{os.environ['PATH']}",
        "PYTHONPATH": f"{tools_for(place) / 'lib'}{os.pathsep}{place}",  # as for a program in that folder
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }


def tools_for(place: Path) -> Path:
    """A folder beside `place` with the programs that pages call."""
    tools = place.parent / f"{place.name}-tools"
    if not tools.exists():
        tools.mkdir()
        for name, rest in (("python", ""), ("engine", "-m engine")):
            (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {rest} "$@"\n', encoding="utf-8")
            (tools / name).chmod(0o755)
        (tools / "lib").mkdir()  # only `engine`: the checkout also has folders `rules` and `store`
        (tools / "lib" / "engine").symlink_to(CHECKOUT / "engine")
    return tools
