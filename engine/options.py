"""Options: what queries, inputs and their values may be told besides, and how all else is refused.

Invariants
    O1  An option that is not known, or cannot be meant, is refused where it is said, with what is allowed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeGuard

from engine.durability import Durability
from engine.errors import BadArguments, BadQuery, BadSettings
from engine.key import short

if TYPE_CHECKING:
    from engine.watch.backend import Factory

PLACES: Final = ("auto", "process", "thread", "inline")  # where members of a group may run
CODE: Final = ("closure", "self", "version", "none")
OF_A_QUERY: Final = (
    *("name", "eq", "version", "code", "persist", "pickled", "untracked"),
    *("workers", "timeout", "limit", "batch"),
)
OF_AN_INPUT: Final = (
    *("name", "observed", "stamp", "settled", "stamps", "place", "as_stamped", "durability", "persist"),
)
LEVELS: Final = "Durability.LOW, MEDIUM or HIGH: from engine import Durability"


class WatchOptions(TypedDict, total=False):
    """Options of `Engine.watch`."""

    deltas: bool
    audit_seconds: float
    poll_seconds: float
    backend: Factory
    threads: int
    check_seconds: float


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is one that can be compared with another."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def is_level(value: object) -> bool:
    """Whether it is a durability; its number will do."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= Durability.HIGH


def _may_be_called(value: object) -> bool:
    return value is None or callable(value)


def _is_positive(value: object) -> bool:
    return is_number(value) and value > 0


_SECONDS: Final = (_is_positive, "more than 0 seconds")
_CALLED: Final = (_may_be_called, "a function")
_ALLOWED: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "name": (lambda value: value is None or isinstance(value, str), "a text"),
    "version": (lambda value: value is None or isinstance(value, str | int), "a text or a whole number"),
    "code": (lambda value: value in CODE, "one of " + ", ".join(CODE)),
    "workers": (lambda value: value in PLACES, "one of " + ", ".join(PLACES)),
    "timeout": (lambda value: value is None or _is_positive(value), "more than 0 seconds"),
    "limit": (lambda value: value is None or (isinstance(value, str) and value != ""), "a name, as a text"),
    "batch": (lambda value: isinstance(value, int) and value >= 0, "True or how many keys it takes at most"),
    "durability": (is_level, LEVELS),
    "eq": _CALLED,
    "stamp": _CALLED,
    "settled": _CALLED,
    "stamps": _CALLED,
    "place": _CALLED,
    "as_stamped": _CALLED,
}

_OF_A_WATCH: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "deltas": (lambda value: isinstance(value, bool), "True or False"),
    "audit_seconds": _SECONDS,
    "poll_seconds": _SECONDS,
    "backend": (callable, "a function that makes one: see engine.watch.backend"),
    "threads": (lambda value: isinstance(value, int) and value >= 1, "a whole number, at least 1"),
    "check_seconds": (lambda value: is_number(value) and value >= 0, "0 seconds (never) or more"),
}


def check_options(name: str, at: str, options: Mapping[str, Any]) -> None:
    """Raise `BadQuery` for a value that an option of a query or an input cannot have."""
    for option, (fits, allowed) in _ALLOWED.items():
        if option in options and not fits(options[option]):
            value = short(options[option])
            raise BadQuery(query=name, at=at, option=f"{option}={value}", hint=f"It is {allowed}.")


def check_names(options: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    """Raise `BadQuery` for an option of another name than these."""
    for option in options:
        if option not in allowed:
            raise BadQuery(cause=f"there is no option {option}=", hint=f"There are {', '.join(allowed)}.")


def check_level(key: object, durability: object) -> None:
    """Raise `BadSettings` for what is no durability of an input that is set."""
    if durability is not None and not is_level(durability):
        raise BadSettings(input=key, durability=short(durability), hint=f"Say {LEVELS}.")


def check_called(callback: object, name: str) -> None:
    """Raise `BadArguments` for what cannot be called back."""
    if not callable(callback):
        raise BadArguments(**{name: short(callback)}, cause="it cannot be called")
    if inspect.iscoroutinefunction(callback):
        cause = "it is async, and whoever calls it awaits nothing"
        hint = "Hand it to your loop: lambda said: asyncio.run_coroutine_threadsafe(tell(said), loop)."
        raise BadArguments(**{name: short(callback)}, cause=cause, hint=hint)


def check_sample(sample: object) -> None:
    """Raise `BadArguments` for what is no number of nodes to look at."""
    if sample is not None and not (isinstance(sample, int) and sample >= 0):
        raise BadArguments(sample=short(sample), hint="It is a whole number, or None for all.")


def check_watch(options: Mapping[str, Any]) -> None:
    """Raise `BadSettings` for what a watch cannot be told."""
    for option, value in options.items():
        if option not in _OF_A_WATCH:
            known = ", ".join(_OF_A_WATCH)
            raise BadSettings(cause=f"a watch has no option {option}=", hint=f"There are {known}.")
        fits, allowed = _OF_A_WATCH[option]
        if not fits(value):
            raise BadSettings(**{option: short(value)}, hint=f"It is {allowed}.")
