"""An executor whose worker is a thread: what is said both ways can be seen, and patches hold there."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

from engine.parallel.serve import serve
from engine.parallel.units import Answer, Ask, decode_told


class Threads:
    """An executor whose only worker is a thread of this process."""

    def __init__(self) -> None:
        self.told: list[Answer | Ask] = []
        self._inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def open(self, setup: bytes) -> None:
        self._inbox.put(setup)
        threading.Thread(target=serve, args=(self._inbox.get, self._tell), daemon=True).start()

    def slots(self, wanted: int) -> Sequence[int]:
        return (1,)

    def send(self, slot: int, message: bytes) -> None:
        self._inbox.put(message)

    def wait(self, slots: Sequence[int], seconds: float) -> list[tuple[int, bytes | None]]:
        try:
            return [(1, self._outbox.get(timeout=max(seconds, 0.001)))]
        except queue.Empty:
            return []

    def drop(self, slot: int) -> str:
        return "it was ended"

    def close(self) -> None:
        self._inbox.put(None)

    def _tell(self, message: bytes) -> None:
        if message:
            self.told.append(decode_told(message))
        self._outbox.put(message)
