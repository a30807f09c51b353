"""Where there is nothing of what Linux alone has, an engine does what it does here (see `elsewhere`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PARTS = {
    "files, and links that lead out of the root": ["test_rules_files_paths.py"],
    "a store, its lock and its readers": ["test_store.py"],
    "a watch": ["test_watch_trees.py", "-k", "events"],
    # To an address that is too long /proc alone offers a way round.
    "the socket of a watch": ["test_unix_socket.py", "-k", "not longer_than_an_address"],
    "workers that are processes": ["test_workers.py"],
}


@pytest.mark.parametrize("part", PARTS)
def test_it_works_without_what_linux_alone_has(part: str) -> None:
    name, *chosen = PARTS[part]
    done = elsewhere("-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{name}", *chosen)
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-1_000:]


def test_elsewhere_there_is_nothing_of_what_linux_alone_has() -> None:
    work = "import os, sys; print(sys.platform, hasattr(os, 'O_PATH'), os.path.exists('/proc/self'))"
    assert elsewhere("-c", work).stdout == "darwin False False\n"


def elsewhere(*arguments: str) -> subprocess.CompletedProcess[str]:
    path = f"{CHECKOUT / 'tests' / 'elsewhere'}{os.pathsep}{CHECKOUT}"
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
