"""Framing: messages between two processes, each with its length before it."""

from __future__ import annotations

import os
from typing import Final

READY: Final = b"ready"  # the first message of a worker
HEAD_BYTES: Final = 8  # the length of a message
PIECE_BYTES: Final = 1 << 20  # what is read at once
OUT_OF_MEMORY: Final = 77  # the exit code of a worker in which a query met a MemoryError


def framed(message: bytes) -> bytes:
    """A message with its length before it."""
    return len(message).to_bytes(HEAD_BYTES, "little") + message


class Incoming:
    """The messages that come out of a descriptor, each perhaps bit by bit."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_head = True
        self._parts: list[bytes] = []
        self._missing = HEAD_BYTES

    def read(self) -> bytes | None:
        """The next message; None at the end. Reads no byte beyond it: who waits for the next one must see it.

        Raises BlockingIOError where the descriptor does not block and the rest is not there yet: call again.
        """
        while True:
            while self._missing:
                data = os.read(self._descriptor, min(self._missing, PIECE_BYTES))
                if not data:
                    return None
                self._parts.append(data)
                self._missing -= len(data)
            whole = b"".join(self._parts)
            self._parts.clear()
            self._is_head = not self._is_head
            if self._is_head:
                self._missing = HEAD_BYTES
                return whole
            self._missing = int.from_bytes(whole, "little")
