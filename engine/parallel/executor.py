"""Executor: where batches of units run, as a protocol of a few methods. Bytes go out, bytes come back.

`dispatch` knows no more than this of processes, and would know no more of a cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class CannotStart(Exception):
    """There is no slot, and there will be none: everything is computed here."""


class Executor(Protocol):
    """Some slots, each of which works on one batch at a time. Used by one thread at a time."""

    def open(self, setup: bytes) -> None:
        """Once, before anything else: the first message that every slot has to hear (see `serve.serve`)."""
        ...

    def slots(self, wanted: int) -> Sequence[int]:
        """The slots that there are now; starts what is missing of as many as are `wanted`.

        A slot that was lost comes back as a new one. Raises `CannotStart`.
        """
        ...

    def send(self, slot: int, message: bytes) -> None:
        """Let a slot hear a message. It may be sent a second batch while it works on the first."""
        ...

    def wait(self, slots: Sequence[int], seconds: float) -> list[tuple[int, bytes | None]]:
        """What one or more of these slots tell, or nothing in time. Raises `CannotStart`.

        None: it was lost. The lock of the engine is not held meanwhile.
        """
        ...

    def drop(self, slot: int) -> str:
        """End a slot, whatever it does. Returns how it ended, for people."""
        ...

    def close(self) -> None:
        """End all slots. May be called by another thread than the one that waits, and again."""
        ...
