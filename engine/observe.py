"""Observe: look at the world for inputs, guarded by stamps; find which of them changed.

Invariants
    B1  A stored stamp is never younger than the value: it was taken before the read (git's racy rule).
    B2  A stamp that is not settled is not stored: the input is read again at the next look.
    B3  Equal content refreshes the stamp and starts no revision.
    B4  Stamps taken together are those that would be taken one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from engine.errors import BadQuery, ChangedWhileRead
from engine.failure import is_transient
from engine.frame import CURRENT, SealedFrame
from engine.graph import ABSENT
from engine.key import display, short
from engine.query import QueryInfo

CHUNK = 4096  # stamps taken in one call: 10 ms for files, so that an interrupt is not kept waiting
READS = 3  # times a moving input is read before it counts as a transient failure
PLAIN = (str, int, bytes, bool)  # classes whose equal values are one argument
RACY = b""  # the stored stamp of an input that must be read again


class InputFrame(SealedFrame):
    """The frame in which an input looks at the world."""

    __slots__ = ()

    def fetch(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """Refused: what an input read would not be recorded."""
        raise BadQuery(
            cause=f"an input read {info.name}", hint="Inputs may not read queries: make it a @query."
        )


@define(eq=False, repr=False)
class Batch:
    """Arguments of one class that are stamped in one call, and where their stamps belong."""

    info: QueryInfo  # the first of those that share the function
    positions: list[int] = field(factory=list)
    arguments: list[Any] = field(factory=list)


Batches = dict[type, Batch]


def look(
    outside: InputFrame, info: QueryInfo, args: tuple[Any, ...], stamp: bytes | None = None
) -> tuple[Any, Exception | None, bytes | None]:
    """Value or lasting error of an input, and the stamp to keep with it (None: not observed).

    `stamp`: the one that it had a moment ago, where that is known; it may have another one by now.
    Transient failures are raised. Runs without the lock.
    """
    token = CURRENT.set(outside)
    try:
        if info.stamp is None:
            return *_attempt(info, args), RACY if info.observed else None
        if stamp is None:
            stamp = _taken(info, args)
        for _ in range(READS):
            # Asked before the read: after a long one a young stamp would look old enough (B1).
            settled = info.settled is None or info.settled(stamp)
            read = info.read_as_stamped(stamp, args)
            if read is not None:
                return _only(info, read), None, stamp if settled else RACY
            try:
                value, error = _attempt(info, args)
            except ChangedWhileRead:  # it saw that itself: as good as another stamp
                stamp = _taken(info, args)
                continue
            after = _taken(info, args)
            if after == stamp:
                return value, error, stamp if settled else RACY
            stamp = after
        raise ChangedWhileRead(f"{display(info.name, args)} kept changing while it was read")
    except Exception as error:  # of `stamp=`
        if is_transient(error):
            raise
        return ABSENT, error, RACY  # its stamp fails: that is its value until the next look
    finally:
        CURRENT.reset(token)


def _only(info: QueryInfo, read: object) -> Any:
    if isinstance(read, tuple) and len(read) == 1:
        return read[0]
    cause = f"its as_stamped= gave {short(read)}, and not a tuple of one value"
    raise BadQuery(query=info.name, cause=cause, hint="Give (value,), or None where it did not hold.")


def _attempt(info: QueryInfo, args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return info.call(args), None
    except Exception as error:  # of the input: its value
        if is_transient(error):
            raise
        return ABSENT, error


def stamps(root: Path, asked: Iterable[tuple[QueryInfo, tuple[Any, ...]]]) -> list[bytes | None]:
    """The stamps of many inputs now; None where one could not be taken. Runs without the lock.

    Inputs that share a `stamps=` function share its calls: what several of them look at is stamped once.
    """
    found: list[bytes | None] = []
    together: dict[Callable[..., Any], Batches] = {}
    latest: QueryInfo | None = None
    batches: Batches = {}
    token = CURRENT.set(InputFrame(root))
    try:
        for at, (info, args) in enumerate(asked):
            if info is not latest:
                latest = info
                batches = {}
                if info.stamp is not None and info.stamps is not None:
                    batches = together.setdefault(info.stamps, {kind: Batch(info) for kind in PLAIN})
            batch = batches.get(args[0].__class__) if len(args) == 1 else None
            if batch is None:
                found.append(None if info.stamp is None else _stamp(info, args))
            else:
                found.append(None)
                batch.positions.append(at)
                batch.arguments.append(args[0])
        for batches in together.values():
            for batch in batches.values():
                _stamp_together(batch, found)
    finally:
        CURRENT.reset(token)
    return found


def _stamp_together(batch: Batch, found: list[bytes | None]) -> None:
    info = batch.info
    different = list(dict.fromkeys(batch.arguments))
    known: dict[Any, bytes | None] = {}
    for start in range(0, len(different), CHUNK):
        chunk = different[start : start + CHUNK]
        known.update(zip(chunk, taken_together(info, chunk), strict=True))
    for at, argument in zip(batch.positions, batch.arguments, strict=True):
        found[at] = known[argument]


def taken_together(info: QueryInfo, chunk: list[Any]) -> Sequence[bytes | None]:
    """The stamps of at most `CHUNK` inputs that are called with one argument each, by one call."""
    assert info.stamps is not None
    taken: Sequence[bytes | None]
    try:
        taken = [*info.stamps(chunk)]  # of a generator, too
    except Exception:
        taken = [_stamp(info, (argument,)) for argument in chunk]  # those that can be taken are
    if len(taken) != len(chunk):
        raise BadQuery(
            query=info.name,
            cause=f"its stamps= gave {len(taken)} stamps for {len(chunk)} arguments",
            hint="Give one stamp for each argument, in their order.",
        )
    return taken


def _stamp(info: QueryInfo, args: tuple[Any, ...]) -> bytes | None:
    try:
        return _taken(info, args)
    except Exception:
        return None  # looked at by reading it, which makes what is wrong its value


def _taken(info: QueryInfo, args: tuple[Any, ...]) -> bytes:
    stamp: object = info.stamp_of(args)
    if isinstance(stamp, bytes):
        return stamp
    raise BadQuery(
        query=info.name,
        cause=f"its stamp= gave {short(stamp)}, and a stamp is bytes",
        hint="Make bytes of what tells a change: str(when).encode().",
    )
