"""Backend: what tells a file watcher that something may have happened somewhere.

Invariants
    K1  A backend only suggests. It may be late, repeat itself, invent paths and lose what it should tell:
        who listens asks the disk, and doubts.
    K2  When `cover` returns, everything that happens from then on in the directories is suggested.
    K3  A voice suggests things in the order in which they happened, so that a cookie comes after them all.
        Only in the mode "events": who compares files by itself may see the cookie first.
    K4  A voice suggests at least nothing, every quarter of a second: its silence shows that the process
        slept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

Suggest = Callable[
    [int, Iterable[str]], None
]  # a voice, and absolute paths where something may have happened
Fail = Callable[[str], None]  # what went wrong; everything has to be covered anew


class Backend(Protocol):
    """Suggests paths."""

    mode: str  # "events", "polling" or "scanning"

    def cover(self, directories: Iterable[str]) -> frozenset[str]:
        """Watch these directories too, by absolute path; what is below them is not included.

        Returns the directories whose watch is new, or was lost on the way: what is in them has to be looked
        at once more, and `covers` says which it is. More may be among them than were asked for. Those that
        cannot be watched are not. Raises `CannotWatch` where the system refuses more watches; what was
        covered before still is.
        """
        ...

    def uncover(self, directories: Iterable[str]) -> None:
        """Believe no longer that these are covered: they were removed, or replaced."""
        ...

    def covers(self, directory: str) -> bool:
        """Whether what happens in a directory is suggested."""
        ...

    def missing(self) -> int | None:
        """How many watches the kernel lacks, by its own account; None where it gives none."""
        ...

    def crowded(self) -> bool:
        """Whether the kernel's queue was so full, since this was asked last, that it may have overflowed."""
        ...

    def voices(self) -> frozenset[int]:
        """The sources of suggestions now (K3)."""
        ...

    def close(self) -> None:
        """End. Nothing is suggested or covered afterwards. Its owner closes one that failed, too."""
        ...


Factory = Callable[[str, Suggest, Fail], Backend]  # the first argument: the directory of cookies
