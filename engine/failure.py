"""Failure: an exception as the value of a query.

Invariants
    U1  Its identity is the class and the arguments, not the traceback: the same failure, raised on another
        line, is an equal value, and readers do not run for it. Attributes count, for arguments that were
        given by name are nothing else, and the text where the class makes it; notes do not.
    U2  Nothing is imported, and no constructor of a user's class is run, because stored data says so. What is
        made anew are built-in exceptions, and what our own rules say of the world.
"""

from __future__ import annotations

import re
import sys
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import FunctionType, TracebackType
from typing import Final

from attrs import field, frozen

from engine.errors import ChangedInsideQuery, CycleError, DepthLimit, Transient, UnkeyableArgument
from engine.key import shown
from engine.message import EngineError
from engine.raising import own
from engine.store import canonical
from engine.store.codec import fingerprint

PLACES = 5  # innermost calls kept with a stored failure
ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")  # differs in every process
SUSPENDED: Final = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
OUTERMOST: Final = "engine.attempt"  # the module whose frames lie between a request and the host
CYCLE: Final = "cycle"  # stored in place of a class name; those have a colon


@frozen(slots=True, eq=False)
class Failure:
    """A memoized exception. `data` is None where only this process can hold it."""

    error: Exception
    identity: bytes  # of the class and its arguments
    data: bytes | None
    ring: tuple[int, ...] = ()  # nodes of the cycles that it tells of, sorted
    traceback: TracebackType | None = field(default=None, repr=False)

    @property
    def digest(self) -> bytes:
        """The fingerprint of what is stored: the identity, and the places where it was raised."""
        return fingerprint(self.data) if self.data is not None else self.identity

    @classmethod
    def of(cls, error: Exception, ring: tuple[int, ...] = (), trace: TracebackType | None = None) -> Failure:
        """Make the memo of an exception that a query raised, from `trace` if it does not say that itself."""
        trace = trace or error.__traceback__
        if isinstance(error, CycleError) and ring:
            whole = canonical.canonical((CYCLE, error.path, ring))
            return cls(error, fingerprint(whole), whole, ring, trace)
        kind = type(error)
        name = f"{kind.__module__}:{kind.__qualname__}"
        data = None
        state: tuple[object, ...] = (*sorted(_state(error).items()), *_own_text(error))
        try:
            identity = canonical.canonical((name, error.args, *state))
            if _rebuilds(kind) and (not state or _is_told_by_arguments(error)):
                places = () if state else _places(trace)  # an answer is kept without a traceback
                data = canonical.canonical((name, error.args, places))
        except UnkeyableArgument:
            texts = (ADDRESS.sub("", shown(one)) for one in error.args)
            state = tuple([ADDRESS.sub("", shown(one)) for one in state])
            identity = canonical.canonical((name, *texts, *state))
        if trace is not None:
            from traceback import clear_frames  # late: of no use where nothing fails

            clear_frames(trace)  # else the memo keeps every local alive
        return cls(error, fingerprint(identity), data, ring, trace)

    @classmethod
    def restored(cls, data: bytes) -> Failure | None:
        """The failure behind stored bytes; None when this process has to find out by itself."""
        try:
            name, args, places = canonical.restore(data)
        except (ValueError, LookupError):
            return None
        if name == CYCLE:
            return cls(CycleError(args), fingerprint(data), data, places)
        module, _, qualified = str(name).partition(":")
        # In no other module: the `__getattr__` of one may import (U2).
        kind = getattr(sys.modules.get(module), qualified, None) if _is_ours(module) else None
        if not (isinstance(kind, type) and issubclass(kind, Exception) and _rebuilds(kind)):
            return None
        try:
            error = kind(*args)
        except Exception:  # of a version of our rules that says it with other arguments
            return None
        state = sorted(_state(error).items())
        if places:
            error.add_note("raised in an earlier process at " + ", called from ".join(places))
        return cls(error, fingerprint(canonical.canonical((name, args, *state))), data)

    def raised(self) -> Exception:
        """An exception to raise to one reader, with the traceback of where it was raised first."""
        return own(self.error, self.traceback)

    def let_go(self, raised: Exception) -> None:
        """Who read it is done: let go of the frames that it went through, and of their callers' locals.

        Not of the host's, whose debugger may show them: see test_the_locals_of_a_host_are_left_alone.
        """
        BaseException.with_traceback(raised, self.traceback)
        frame = None if self.traceback is None else self.traceback.tb_frame.f_back
        while frame is not None and frame.f_globals.get("__name__") != OUTERMOST:
            if not frame.f_code.co_flags & SUSPENDED:  # to clear a generator is to close it
                try:
                    frame.clear()
                except RuntimeError:
                    return  # it runs still, and so do its callers
            frame = frame.f_back


def _state(error: Exception) -> dict[str, object]:
    return {name: value for name, value in vars(error).items() if not name.startswith("__")}


def _own_text(error: Exception) -> tuple[str, ...]:
    """What a class of the user says of an error in its own words: it may say something else by now."""
    if not isinstance(type(error).__str__, FunctionType) or isinstance(error, EngineError):
        return ()
    text = words_of(error)
    return (ADDRESS.sub("", text),) if text else ()


def _places(trace: TracebackType | None) -> tuple[str, ...]:
    """Where an exception was raised, innermost first, without paths: they differ between machines."""
    places = []
    while trace is not None:
        frame = trace.tb_frame
        module = str(frame.f_globals.get("__name__", "?"))
        if module.partition(".")[0] != "engine" or module.startswith("engine.rules."):
            places.append(f"line {trace.tb_lineno} of {module}, in {frame.f_code.co_name}")
        trace = trace.tb_next
    return tuple(places[: -PLACES - 1 : -1])


def is_transient(error: BaseException) -> bool:
    """Whether a failure is not to be kept: the world was in the way, not the function's arguments."""
    return isinstance(error, Transient | OSError | MemoryError | ChangedInsideQuery | DepthLimit)


def _rebuilds(kind: type[Exception]) -> bool:
    """Built-in exceptions that are nothing but their arguments, and what our rules say of the world."""
    if issubclass(kind, EngineError):
        return kind.is_answer and _is_ours(kind.__module__)
    return kind.__module__ == "builtins" and not issubclass(kind, OSError | UnicodeError | ImportError)


def _is_ours(module: str) -> bool:
    """Whether a module may have classes that are made anew of stored arguments."""
    return module == "builtins" or module.startswith("engine.rules.")


def _is_told_by_arguments(error: Exception) -> bool:
    """Whether an answer is what its class makes of its arguments: nobody put anything else on it."""
    if not isinstance(error, EngineError):
        return False
    try:
        return _state(type(error)(*error.args)) == _state(error)
    except Exception:  # somebody put other arguments on it
        return False


def describe(error: BaseException) -> str:
    """An error as one line, with the place and the cause that an error of the engine names."""
    text = next(iter(words_of(error).splitlines()), "")
    if isinstance(error, EngineError) and error.fields:
        named = [f"{name}: {value}" if name else value for name, value in error.fields.items()]
        text = f"{text} ({', '.join(named)})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def words_of(error: BaseException) -> str:
    """What an exception says; nothing where it fails at that, or others would fail with it."""
    try:
        return str(error)
    except Exception:  # of the user's class
        return ""
