"""Moment: when something was, for those who ask files whether they are what was loaded from them.

Files get their times from a clock that can be set. So a moment is kept by a steady one as well, which shows
later by how much the other was set back meanwhile.
"""

from __future__ import annotations

import time

from attrs import frozen


@frozen(slots=True)
class Moment:
    """A moment of this process, in nanoseconds: `wall` since 1970, `steady` by a clock that nobody sets."""

    wall: int
    steady: int

    @classmethod
    def now(cls) -> Moment:
        """This moment."""
        return cls(time.time_ns(), time.monotonic_ns())

    def set_back(self) -> int:
        """By how many nanoseconds the clock was set back since then; 0 where it was not."""
        now = Moment.now()
        return max(0, self.wall - self.steady - (now.wall - now.steady))

    def times_since(self) -> tuple[int, int]:
        """The earliest and the latest time that a file may have got since then.

        That is so where the clock was set once at most. The clock of files is behind ours by up to a tick.
        """
        back, wall = self.set_back(), time.time_ns()
        return self.wall - back, wall + back


BEGAN = Moment.now()  # as early as modules of a project can be loaded
