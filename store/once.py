"""Once: what can be read only once, also inside of a value. Who reads it second would find nothing in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Coroutine, Iterator
from typing import Any

from engine.errors import NO_RECORD, READ_ONCE, UnstorableValue
from engine.key import short
from engine.store.records import record_of

ONCE = (Iterator, AsyncIterator, Coroutine)  # a generator, `map(...)`, an open file

_HOLDING = frozenset((dict, tuple, list, set, frozenset))
_Way = tuple[Any, bool, Any]  # to what holds it, whether that is a record, and its name in there


def why_without_bytes(value: Any) -> str:
    """Of a value that is no builtin and no record."""
    return READ_ONCE if isinstance(value, ONCE) else NO_RECORD


def read_once(value: Any) -> UnstorableValue | None:
    """Why a value is refused where it, or anything in it, is so. Into what is no record nobody looks.

    Some 5 us for each thing that holds others.
    """
    seen: dict[int, Any] = {}  # by identity, and kept, so that no other one gets it
    dull: set[type] = set()  # there may be very many of these
    found: list[tuple[Any, _Way | None]] = [(value, None)]
    while found:
        part, way = found.pop()
        kind = type(part)
        if kind not in _HOLDING and isinstance(part, ONCE):
            inside = {"inside": _shown(way)} if way else {}
            what = "comes of" if isinstance(part, Coroutine) else "is in"
            hint = f"Return what {what} it: a tuple, say."
            return UnstorableValue(**inside, type=kind.__qualname__, reason=READ_ONCE, hint=hint)
        if id(part) in seen:
            continue
        seen[id(part)] = part
        names, below = _parts(part)
        if dull.issuperset(map(type, below)):
            continue
        for name, one in zip(names, below, strict=True):
            kind = type(one)
            if kind in dull:
                continue
            if kind in _HOLDING or issubclass(kind, ONCE) or record_of(kind) is not None:
                found.append((one, (way, type(part) not in _HOLDING, name)))
            else:
                dull.add(kind)
    return None


def _parts(value: Any) -> tuple[Collection[Any], Collection[Any]]:
    """The names of what is in a value, and what that is."""
    kind = type(value)
    if kind is dict:
        return (*value, *value), (*value.values(), *value)
    if kind in _HOLDING:
        return range(len(value)), value
    record = record_of(kind)
    names = () if record is None else record.names
    return names, [getattr(value, name, None) for name in names]


def _shown(way: _Way | None) -> str:
    steps: list[str] = []
    while way is not None:
        way, is_field, name = way
        steps.append(f".{name}" if is_field else f"[{short(name)}]")
    return "".join(reversed(steps))
