"""Executor: where batches of units run, as a protocol of a few methods. Bytes go out, bytes come back.

The core knows no more than this of processes, and would know no more of a cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Executor(Protocol):
    """Some slots, each of which takes one batch at a time. Used by one thread at a time."""

    def slots(self) -> Sequence[int]:
        """The slots that there are now; starts what is missing. A slot that was lost comes back as a new one."""
        ...

    def send(self, slot: int, message: bytes) -> None:
        """Give an idle slot a batch (`units.Batch`, encoded)."""
        ...

    def wait(self, slots: Sequence[int], seconds: float | None) -> list[tuple[int, bytes | None]]:
        """Answers (`units.Answer`, encoded) of one or more of these slots, or none in time; None: it was lost."""
        ...

    def drop(self, slot: int) -> str:
        """End a slot, whatever it does. Returns how it ended, for people."""
        ...

    def close(self) -> None:
        """End all slots."""
        ...
