"""Stores that are proven later, proofs that last as long as a test wants, and calls in other threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.store import open_store, opening
from engine.store.rawfile import RawFile
from engine.store.sqlite import Store
from tests.patience import PATIENCE


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are proven later too."""
    monkeypatch.setattr(opening, "WORTH_BYTES", -1)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until it is set, no proof comes to an end, unless it is stopped."""
    opened = threading.Event()
    real = RawFile.digest

    def slow(raw: RawFile, *, beside: bool = False, stopped: Callable[[], bool] = lambda: False) -> bytes:
        while beside and not opened.wait(0.001) and not stopped():
            pass
        return real(raw, beside=beside, stopped=stopped)

    monkeypatch.setattr(RawFile, "digest", slow)
    yield opened
    opened.set()


def later(directory: Path) -> Store:
    return open_store(directory, synchronous="OFF", proves_later=True)


class Beside:
    """A call in another thread."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self.result: object = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._call()
        except Exception as error:  # told by `ended`
            self.result = error

    def waits(self) -> bool:
        self._thread.join(0.05)
        return self._thread.is_alive()

    def ended(self) -> object:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        return self.result
