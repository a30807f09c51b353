"""Scanning: a backend that suggests nothing. What changed is found by looking at everything, again and again.

For file systems whose kernel does not tell (network mounts, some containers), for systems that have no
watches left, and for tests, which must get the same answers with it as with events.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.watch.backend import Fail, Suggest


class ScanningBackend:
    """Covers nothing, so that its owner looks at all inputs every few seconds."""

    mode = "scanning"

    def __init__(self, cookies: str, suggest: Suggest, fail: Fail) -> None:
        pass

    def cover(self, directories: Iterable[str]) -> frozenset[str]:
        """See `Backend.cover`."""
        return frozenset()

    def uncover(self, directories: Iterable[str]) -> None:
        """See `Backend.uncover`."""

    def covers(self, directory: str) -> bool:
        """See `Backend.covers`."""
        return False

    def missing(self) -> int:
        """See `Backend.missing`."""
        return 0

    def crowded(self) -> bool:
        """See `Backend.crowded`."""
        return False

    def voices(self) -> frozenset[int]:
        """See `Backend.voices`."""
        return frozenset()

    def close(self) -> None:
        """See `Backend.close`."""
