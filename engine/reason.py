"""Reason: why a memo was last made. Four bits of a node's flags, named."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Why a key ran last."""

    NEW = 0  # nothing was known of it
    CHANGED = 1  # a dependency changed; `cause` names it
    CODE = 2  # its own code, or a project function it calls, changed
    FORGOTTEN = 3  # `forget` asked for it
    RETRY = 4  # the last run rested on a failure that is not kept
    UNTRACKED = 5  # it is declared untracked: it runs in every revision
    SET = 6  # the host set it
    RESET = 7  # the host gave it back
    OBSERVED = 8  # the world was looked at again
    AGAIN = 9  # its value is not stored, and somebody needed it: in stores of before, now a flag of its own
    LEFT = 10  # an earlier process left word that it must run
    ROWS = 11  # rows of a table that it looks into changed
    RESTORED = 12  # it did not run: what it reads is again what it was, and so is its value
