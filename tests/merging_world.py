"""Merges of small logs by a thread that stands still where a test wants it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.store import ongoing, open_store, seal, tidying
from engine.store.rawfile import RawFile
from engine.store.sqlite import Store
from tests.stores import dump, graph

LIMIT = 400_000
SLICE = 100_000


def make_logs_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, a thread merges whatever is larger than LIMIT."""
    monkeypatch.setattr(ongoing, "WORTH_BYTES", 0)
    monkeypatch.setattr(tidying, "WAL_LIMIT_BYTES", LIMIT)
    monkeypatch.setattr(tidying, "SLICE_BYTES", SLICE)


class Halt:
    """The merging thread stands still before a step, until `goes_on` or the end of the test."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, step: str) -> None:
        self.reached, self._goes_on = threading.Event(), threading.Event()
        real = getattr(owner, step)

        def halting(*given: Any, **named: Any) -> Any:
            if threading.current_thread().name == "engine-merge":
                self.reached.set()
                assert self._goes_on.wait(120)
            return real(*given, **named)

        patch.setattr(owner, step, halting)

    def goes_on(self) -> None:
        self._goes_on.set()


STEPS: list[tuple[Any, str]] = [
    (tidying, "copy_log"), (tidying, "shorten_log"), (RawFile, "digest"), (seal, "write_seal"),
]  # fmt: skip


def fill(store: Store, revision: int = 1) -> int:
    """Commit until a thread merges; the next revision."""
    while not store.is_merging:
        store.write(graph(100, revision=revision))
        revision += 1
    return revision


@contextmanager
def merged_beside(directory: Path) -> Iterator[Store]:
    with open_store(directory) as store:
        yield store
        store.check_invariants()
        expected = dump(store)
    with open_store(directory) as store:
        assert (store.notes, store.audited, dump(store)) == ([], False, expected)
        store.check_invariants()
