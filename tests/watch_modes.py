"""Watch modes: what a watch can rely on to hear of changes, and what goes on beside it in a test."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import Engine
from engine.watch.kernel import KernelBackend
from engine.watch.scanning import ScanningBackend
from tests.watch_world import answers, truth

HERE = Path(__file__).resolve().parent.parent


def polling(cookies: str, suggest: Any, fail: Any) -> KernelBackend:
    return KernelBackend(cookies, suggest, fail, polling=True)


def trees(cookies: str, suggest: Any, fail: Any) -> KernelBackend:
    """As on systems that watch whole trees: what inotify makes of that loses events of new directories."""
    return KernelBackend(cookies, suggest, fail, trees=True)


MODES: dict[str, dict[str, Any]] = {
    "events": {},
    "trees": {"backend": trees},
    "polling": {"backend": polling},
    "scanning": {"backend": ScanningBackend, "poll_seconds": 0.1},
}


def check(db: Engine, root: Path) -> None:
    """After a sync, everything is right."""
    db.sync()
    assert answers(db) == truth(root)


@contextmanager
def background(work: Callable[[], None]) -> Generator[None]:
    """Do something again and again in another thread."""
    ending = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            while not ending.is_set():
                work()
        except BaseException as error:  # fails the test
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
    assert not failed, failed


def child(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Another Python process that runs some code and can import what is here."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
