"""Events: the closed set of things that happen, for progress, `why`, trace and tests.

Invariants
    V1  Every execution is announced once, after its memo is in place, with what became of it.
    V2  Listeners are called outside the engine's lock, in order; a failing listener is reported by
        the logger "engine" and never stops the work.
"""

from __future__ import annotations

from enum import Enum
from operator import sub

from attrs import astuple, frozen

from engine.key import Key


class What(Enum):
    """What happened to a key.

    EXECUTED    its function ran, and readers may have to look
    CUT_OFF     its function ran, and the value is equal: readers do not run
    VERIFIED    its memo was proven to hold without running
    RESTORED    an earlier memo of it holds again and was put back: nothing ran
    FAILED      its function ran and raised
    READ        an observed input was looked at, and its content differs or is new
    SET, RESET  the host gave an input another value; gave it back to its function
    COMMITTED   a transaction of the store ended
    """

    EXECUTED = "executed"
    CUT_OFF = "cut off"
    VERIFIED = "verified"
    RESTORED = "restored"
    FAILED = "failed"
    READ = "read"
    SET = "set"
    RESET = "reset"
    COMMITTED = "committed"


@frozen(slots=True)
class Event:
    """One thing that happened. `microseconds` is the time the function took, 0 where none ran.

    `key` is None where a transaction of the store ended (`What.COMMITTED`).
    """

    what: What
    key: Key[object] | None
    revision: int
    microseconds: int = 0

    def __str__(self) -> str:
        return f"R{self.revision} {self.what.value} {self.key if self.key is not None else ''}".rstrip()


@frozen(slots=True)
class Counts:
    """How much work was done since the engine was opened: `db.counts()`.

    executed         functions of queries that ran, reads of observed inputs excluded
    cut_off, failed  those of them whose value was equal; that raised
    verified         memos proven without running
    visited          nodes looked at by marking, probing and verifying
    read, stamped    observed inputs that were read; whose stamp was compared
    commits          transactions of the store
    restored         earlier memos that hold again and were put back, so that nothing ran
    loaded, evicted  values read from the store; that went from memory to meet `max_memory`
    """

    executed: int
    cut_off: int
    failed: int
    verified: int
    visited: int
    read: int
    stamped: int
    commits: int
    restored: int = 0
    loaded: int = 0
    evicted: int = 0

    def __sub__(self, earlier: Counts) -> Counts:
        """What happened between two counts."""
        return Counts(*map(sub, astuple(self), astuple(earlier)))
