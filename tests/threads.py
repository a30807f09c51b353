"""Works that run at the same time, each in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.patience import PATIENCE


def run_all(*works: Callable[[], object]) -> list[object]:
    """Run each work in a thread of its own; results or exceptions in order."""
    outcomes: list[object] = [None] * len(works)

    def run(at: int, work: Callable[[], object]) -> None:
        try:
            outcomes[at] = work()
        except Exception as error:  # an outcome
            outcomes[at] = error

    threads = [threading.Thread(target=run, args=(at, work), daemon=True) for at, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread hangs"
    return outcomes


def without_threads(patched: pytest.MonkeyPatch, name: str) -> None:
    """Have no thread start that has this name, as where the system has none left."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    patched.setattr(threading.Thread, "start", refuse)
