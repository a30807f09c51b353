"""Observe: look at the world for inputs, guarded by stamps; find which of them changed.

Invariants
    B1  A stored stamp is never younger than the value: it was taken before the read (git's racy rule).
    B2  A stamp that is not settled is not stored: the input is read again at the next look.
    B3  Equal content refreshes the stamp and starts no revision.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.errors import BadQuery, ChangedWhileRead
from engine.failure import is_transient
from engine.frame import CURRENT, Frame
from engine.graph import ABSENT
from engine.key import display
from engine.query import QueryInfo

READS = 3  # times a moving input is read before it counts as a transient failure
UNSETTLED = b""  # the stored stamp of an input that must be read again


class InputFrame(Frame):
    """The frame in which an input looks at the world: it knows the root and may read no query."""

    __slots__ = ()

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tables = []  # every read comes to `fetch`

    def fetch(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """Refused: what an input read would not be recorded."""
        raise BadQuery(
            cause=f"an input read {info.name}", hint="Inputs may not read queries: make it a @query."
        )

    def fetch_group(self, many: list[tuple[QueryInfo, tuple[Any, ...]]]) -> tuple[Any, ...]:
        """Refused, as in `fetch`."""
        return (self.fetch(*many[0]),) if many else ()


def look(root: Path, info: QueryInfo, args: tuple[Any, ...]) -> tuple[Any, Exception | None, bytes | None]:
    """Value or lasting error of an input, and the stamp to keep with it (None: not observed).

    Transient failures are raised. Runs without the lock.
    """
    token = CURRENT.set(InputFrame(root))
    try:
        if info.stamp is None:
            return *_attempt(info, args), UNSETTLED if info.observed else None
        stamp = info.stamp_of(args)
        for _ in range(READS):
            # Asked before the read: after a long one a young stamp would look old enough (B1).
            settled = info.settled is None or info.settled(stamp)
            value, error = _attempt(info, args)
            after = info.stamp_of(args)
            if after == stamp:
                return value, error, stamp if settled else UNSETTLED
            stamp = after
        raise ChangedWhileRead(f"{display(info.name, args)} kept changing while it was read")
    except Exception as error:
        if is_transient(error):
            raise
        return ABSENT, error, UNSETTLED  # its stamp fails: that is its value until the next look
    finally:
        CURRENT.reset(token)


def _attempt(info: QueryInfo, args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return info.call(args), None
    except Exception as error:
        if is_transient(error):
            raise
        return ABSENT, error


def stamps(root: Path, asked: list[tuple[QueryInfo, tuple[Any, ...]]]) -> list[bytes | None]:
    """The stamps of many inputs now; None where one could not be taken. Runs without the lock."""
    token = CURRENT.set(InputFrame(root))
    found: list[bytes | None] = []
    try:
        for info, args in asked:
            try:
                found.append(info.stamp_of(args) if info.stamp is not None else None)
            except Exception:
                found.append(None)  # looked at by reading it, which makes what is wrong its value
    finally:
        CURRENT.reset(token)
    return found
