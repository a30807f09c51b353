"""Framing: messages between two processes, each with its length before it."""

from __future__ import annotations

import os
from typing import Final

READY: Final = b"ready"  # the first message of a worker
OUT_OF_MEMORY: Final = 77  # the exit code of a worker in which a query met a MemoryError


def framed(message: bytes) -> bytes:
    """A message with its length before it."""
    return len(message).to_bytes(8, "little") + message


def read_message(descriptor: int) -> bytes | None:
    """The next message; None at the end. Reads no byte beyond it: who waits for the next one must see it."""
    head = _read(descriptor, 8)
    return None if head is None else _read(descriptor, int.from_bytes(head, "little"))


def _read(descriptor: int, size: int) -> bytes | None:
    data = os.read(descriptor, size)
    if len(data) == size:
        return data
    parts = [data]
    while data and size > len(data):
        size -= len(data)
        data = os.read(descriptor, min(size, 1 << 20))
        parts.append(data)
    return b"".join(parts) if data else None
