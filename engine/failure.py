"""Failure: an exception as the value of a query.

Invariants
    U1  The fingerprint covers the class and the arguments, not the traceback: the same failure is an
        equal value, and readers do not run for it.
    U2  Nothing is imported, and no constructor of a user's class is run, because stored data says so.
"""

from __future__ import annotations

import builtins
import traceback
from types import TracebackType
from typing import Final

from attrs import field, frozen

from engine.errors import ChangedInsideQuery, CycleError, Transient, UnkeyableArgument
from engine.store import canonical
from engine.store.codec import fingerprint

CYCLE: Final = "cycle"  # stored in place of a class name; those have a colon


@frozen(slots=True, eq=False)
class Failure:
    """A memoized exception. `data` is None where only this process can hold it."""

    error: Exception
    digest: bytes
    data: bytes | None
    ring: tuple[int, ...] = ()  # nodes of the cycle that it reports, in order
    traceback: TracebackType | None = field(default=None, repr=False)

    @classmethod
    def of(cls, error: Exception, ring: tuple[int, ...]) -> Failure:
        """Make the memo of an exception that a query raised."""
        if isinstance(error, CycleError) and ring:
            whole = canonical.canonical((CYCLE, error.path, ring))
            return cls(error, fingerprint(whole), whole, ring, error.__traceback__)
        kind = type(error)
        name = f"{kind.__module__}:{kind.__qualname__}"
        try:
            whole = canonical.canonical((name, *error.args))
            simple = True
        except UnkeyableArgument:
            whole = canonical.canonical((name, *(repr(argument) for argument in error.args)))
            simple = False
        data = whole if simple and _rebuilds(kind) else None
        if error.__traceback__ is not None:
            traceback.clear_frames(error.__traceback__)  # else the memo keeps every local alive
        return cls(error, fingerprint(whole), data, ring, error.__traceback__)

    @classmethod
    def restored(cls, data: bytes) -> Failure | None:
        """The failure behind stored bytes; None when this process has to find out by itself."""
        try:
            name, *args = canonical.restore(data)
        except (ValueError, LookupError):
            return None
        if name == CYCLE:
            path, ring = args
            return cls(CycleError(path), fingerprint(data), data, ring)
        kind = getattr(builtins, str(name).removeprefix("builtins:"), None)
        if not (isinstance(kind, type) and issubclass(kind, Exception) and _rebuilds(kind)):
            return None
        return cls(kind(*args), fingerprint(data), data)

    def raised(self) -> Exception:
        """The exception to raise, with the traceback of where it was raised first."""
        return self.error.with_traceback(self.traceback)


def is_transient(error: BaseException) -> bool:
    """Whether a failure is not to be kept: the world was in the way, not the function's arguments."""
    return isinstance(error, Transient | OSError | MemoryError | ChangedInsideQuery)


def _rebuilds(kind: type[Exception]) -> bool:
    """Built-in exceptions that are nothing but their arguments."""
    return kind.__module__ == "builtins" and not issubclass(kind, OSError | UnicodeError | ImportError)
