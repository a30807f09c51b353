"""Echo: finds work that keeps itself running, because a query or a callback writes what a query reads.

A file counts as an echo when it was last written while what is watched was being refreshed, or while callbacks
ran. A person who saves all the time, and a program that writes all the time, hit that interval now and
then; only an echo hits it every time.

Invariants
    E1  After ROUNDS echoes of one file in a row it is left alone: hints at it are dropped while its last
        write is an echo. Any other write of it is seen as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

ROUNDS = 5  # a program that settles its own output (a formatter that runs twice) needs two or three
SLACK_SECONDS = 0.004  # the clock of files ticks every 4 ms on most kernels, and is behind by as much


class Echo:
    """`saved_at(path)`: when a file was last written by the wall clock, None where it is not there."""

    def __init__(self, saved_at: Callable[[str], float | None]) -> None:
        self._saved_at = saved_at
        self._began = self._ended = 0.0  # of the last refresh, with its callbacks
        self._rounds: dict[str, int] = {}

    def worked(self, began: float, ended: float) -> None:
        """Queries or callbacks ran from one moment to another. A later call that overlaps extends it."""
        if began > self._ended:
            self._began = began
        self._ended = max(self._ended, ended)

    def of(self, changed: Iterable[str]) -> list[str]:
        """Notes the files of one revision; returns those that have just become too much."""
        rounds = {path: self._rounds.get(path, 0) + 1 for path in changed if self._is_echo(path)}
        for path, count in self._rounds.items():
            if count >= ROUNDS and path not in rounds and self._is_echo(path):
                rounds[path] = count  # left alone: it is not looked at any more
        self._rounds = rounds
        return [path for path, count in rounds.items() if count == ROUNDS]

    def drops(self, path: str) -> bool:
        """Whether a hint at a path is to be dropped (E1)."""
        if self._rounds.get(path, 0) < ROUNDS:
            return False
        if self._is_echo(path):
            return True
        del self._rounds[path]
        return False

    def _is_echo(self, path: str) -> bool:
        saved = self._saved_at(path)
        return saved is not None and self._began - SLACK_SECONDS <= saved <= self._ended + SLACK_SECONDS
