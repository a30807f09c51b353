"""Echo: finds work that keeps itself running, because a query or a callback writes what a query reads.

A file counts as an echo when it was last written while what is watched was being refreshed, or while
callbacks ran. A person who saves all the time, and a program that writes all the time, hit that interval now
and then; only an echo hits it every time.

Invariants
    E1  Nothing is lost: after ROUNDS echoes of one file in a row it is looked at less and less often, and at
        once by whoever asks (`sync`, a crawl). So what was taken for an echo and is none is right later.
    E2  One write that is no echo, and the file is like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

ROUNDS = 5  # a program that settles its own output (a formatter that runs twice) needs two or three
FIRST_WAIT = 0.5  # seconds; doubled with each further round
LONGEST_WAIT = 30.0  # seconds
LATE_SECONDS = 1.0  # of who tells what it did after others; what is older shows that the clock was set back


class Echo:
    """`saved_at(path)`: when a file was last written by the wall clock, None where it is not there."""

    def __init__(self, saved_at: Callable[[str], float | None]) -> None:
        self._saved_at = saved_at
        self._began = self._ended = 0.0  # of the last refresh, with its callbacks
        self._rounds: dict[str, int] = {}

    def worked(self, began: float, ended: float) -> None:
        """Queries or callbacks ran from one moment to another. What overlaps, or touches, is one interval."""
        set_back = ended < self._began - LATE_SECONDS
        if began > self._ended or set_back:
            self._began = began
        self._ended = ended if set_back else max(self._ended, ended)

    def of(self, changed: Iterable[str]) -> dict[str, float]:
        """Take note of the files of one revision. Returns those to wait with, and for how many seconds."""
        self._rounds = {path: self._rounds.get(path, 0) + 1 for path in changed if self._is_echo(path)}
        return {
            path: min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (count - ROUNDS))
            for path, count in self._rounds.items()
            if count >= ROUNDS
        }

    def is_new(self, path: str) -> bool:
        """Whether a file was found to be an echo just now, and nobody was told."""
        return self._rounds.get(path) == ROUNDS

    def _is_echo(self, path: str) -> bool:
        saved = self._saved_at(path)
        return saved is not None and self._began <= saved <= self._ended
