"""Once: what can be read only once, also inside of a value. Who reads it second would find nothing in it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

from engine.errors import NO_RECORD, READ_ONCE, UnstorableValue
from engine.store.records import record_of

ONCE = (Iterator, AsyncIterator, Coroutine)  # a generator, `map(...)`, an open file

_HOLDING = frozenset((dict, tuple, list, set, frozenset))


def why_without_bytes(value: Any) -> str:
    """Of a value that is no builtin and no record."""
    return READ_ONCE if isinstance(value, ONCE) else NO_RECORD


def read_once(value: Any) -> UnstorableValue | None:
    """Why a value is refused where it, or anything in it, is so. Into what is no record nobody looks."""
    seen: dict[int, Any] = {}  # by identity, and kept, so that no other one gets it
    dull: set[type] = set()  # there may be very many of these
    found: list[tuple[Any, tuple[tuple[str, object], ...]]] = [(value, ())]  # with the way there
    while found:
        part, way = found.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        kind = type(part)
        if isinstance(part, ONCE):
            inside = {"inside": "".join(step.format(name) for step, name in way)} if way else {}
            what = "comes of" if isinstance(part, Coroutine) else "is in"
            hint = f"Return what {what} it: a tuple, say."
            return UnstorableValue(**inside, type=kind.__qualname__, reason=READ_ONCE, hint=hint)
        step, below = _parts(part)
        dull.update(
            kind
            for kind in set(map(type, below.values())) - dull
            if kind not in _HOLDING and not issubclass(kind, ONCE) and record_of(kind) is None
        )
        found += ((one, (*way, (step, name))) for name, one in below.items() if type(one) not in dull)
    return None


def _parts(value: Any) -> tuple[str, dict[Any, Any]]:
    """What is in a value, by name, and how such a name is shown."""
    kind = type(value)
    if kind is dict:
        return "[{!r}]", value
    if kind in _HOLDING:
        return "[{}]", dict(enumerate(value))
    record = record_of(kind)
    return ".{}", {} if record is None else {name: getattr(value, name, None) for name in record.names}
