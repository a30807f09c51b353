"""Canonical bytes of arguments: equal bytes exactly when two calls ask for the same thing.

Invariants
    C1  `restore(canonical(args))` gives `args` back, every type included; `1`, `True`, `1.0` differ.
    C2  The bytes depend on the value alone: not on the process, the hash seed, or the order of a set or dict.
    C3  Restoring imports nothing that the bytes name. It makes builtins, and instances of `known` classes.
    C4  Damaged bytes raise ValueError, whatever they say; depth is limited, so no stack overflows.

The form is a msgpack array of the arguments; `packing` says how each value stands in it, and `records` which
classes can be part of it. A class is known by its name "module:qualname" (see records R3).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

from engine.errors import UnkeyableArgument
from engine.store.packing import (
    MAX_DEPTH,
    Unpackable,
    all_flat,
    array_of,
    decode,
    decode_list,
    encode,
    node_of,
    value_of,
)
from engine.store.records import Record, UnknownClass, known, learn, learn_annotation, record_of, renew

__all__ = [
    "MAX_DEPTH",
    "Record",
    "UnknownClass",
    "Unpackable",
    "canonical",
    "canonicals",
    "first_of",
    "known",
    "learn",
    "learn_annotation",
    "on_fresh_stack",
    "pack",
    "record_of",
    "renew",
    "restore",
    "unpack",
]

T = TypeVar("T")


def canonical(args: tuple[Any, ...]) -> bytes:
    """The identity of `args`. Raises `UnkeyableArgument` where something in them cannot be part of a key."""
    if all_flat(map(type, args)):
        try:
            return encode(args)
        except (UnicodeEncodeError, OverflowError):
            pass  # a lone surrogate or an int beyond 64 bits: the general form below says it
    return canonical_cold(args)


def canonicals(found: Sequence[tuple[Any, ...]]) -> list[bytes]:
    """`canonical` of many: where all of them are made of plain values, in a tenth of the time."""
    if all_flat(map(type, chain.from_iterable(found))):
        try:
            return list(map(encode, found))
        except (UnicodeEncodeError, OverflowError):
            pass  # as above
    return list(map(canonical, found))


def restore(data: bytes) -> tuple[Any, ...]:
    """The arguments that `canonical` was given. Raises `UnknownClass`, or another ValueError on damage."""
    try:
        nodes = decode_list(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"these bytes are not arguments: {error}") from error
    if all_flat(map(type, nodes)):
        return tuple(nodes)
    return tuple(_guarded(lambda: [value_of(node, 0, known) for node in nodes]))


def first_of(data: bytes) -> bytes:
    """`pack` of the first of the arguments that `canonical` was given; its class need not be known."""
    return encode(decode_list(data)[0])


def pack(value: Any) -> bytes:
    """Canonical bytes of one value, mutable records included. Raises `Unpackable`."""
    return encode(node_of(value, 0, False))


def unpack(data: bytes | memoryview, classes: Mapping[str, type]) -> Any:
    """The value of `pack`, made of builtins and `classes` only. Raises ValueError on anything else."""
    return _guarded(lambda: value_of(decode(data), 0, classes))


def on_fresh_stack(call: Callable[[], T]) -> T:
    """Run `call` in a new thread: the depth of a value must not depend on how deep its caller stands."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # handed to the caller, who waits for it
            errors.append(error)

    thread = threading.Thread(target=run, name="engine-fresh-stack")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def canonical_cold(args: tuple[Any, ...]) -> bytes:
    try:
        try:
            return array_of(args, 0, True)
        except RecursionError:
            return on_fresh_stack(lambda: array_of(args, 0, True))
    except Unpackable as error:
        position = error.steps.pop()
        where = {"inside": error.path} if error.path else {}
        raise UnkeyableArgument(
            argument=position.strip("[]"), **where, type=error.found, reason=error.args[0]
        ) from None
    except (OverflowError, RecursionError) as error:  # over 4 GiB in one item; a tiny recursion limit
        raise UnkeyableArgument(reason=error) from error


def _guarded(call: Callable[[], T]) -> T:
    try:
        try:
            return call()
        except RecursionError:
            return on_fresh_stack(call)
    except (UnknownClass, MemoryError):
        raise
    except Exception as error:  # hostile data can make a class's own __hash__ or __post_init__ raise anything
        raise ValueError(f"damaged value: {type(error).__name__}: {error}") from error
