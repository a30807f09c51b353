"""Packing: one value of any kind as a msgpack node, and back. One pair of functions for each kind.

Invariants
    P1  `value_of(node_of(v))` gives `v` back, type for type; `1`, `True` and `1.0` have different nodes.
    P2  The encoded node depends on the value alone: sets and mixed dicts are sorted by the bytes of their
        items, dicts of texts or of ints by their keys.
    P3  Codes of extensions are never used for anything else, for they are in every store.
    P4  Both directions stop at `MAX_DEPTH`. Only builtins and the classes given are made; neither a class
        nor a time zone is looked up by a name that the bytes chose.

What msgpack says exactly stands for itself, an array is a tuple, and all else is an extension with a code
of `_Code`. `node_of` raises `Unpackable`; `value_of`, on damaged nodes, anything: ValueError in `canonical`.
"""

from __future__ import annotations

import enum
import functools
import operator
import struct
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

from engine.key import short
from engine.store.once import why_without_bytes
from engine.store.records import (
    Record,
    UnknownClass,
    class_name,
    known,
    learn,
    loaded_class,
    record_of,
    stray_attribute,
)

MAX_DEPTH = 100  # levels; what people write has under 20, and 100 levels fit on any thread's stack
FLAT: frozenset[type] = frozenset({str, int, bool, types.NoneType, bytes, float})
"""Types that msgpack says exactly (but for lone surrogates, and ints beyond 64 bits)."""
all_flat = FLAT.issuperset  # a name of its own: a method of an imported name is called 50 ns slower

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode
decode_list: Callable[[bytes], list[Any]] = msgspec.msgpack.Decoder(list).decode


class Unpackable(Exception):
    """A value has no canonical bytes; says why, and where inside it."""

    def __init__(self, value: object, reason: str) -> None:
        super().__init__(reason)
        self.found = type(value).__qualname__
        self.steps: list[str] = []  # innermost first

    @property
    def path(self) -> str:
        return "".join(reversed(self.steps))


def node_of(value: Any, depth: int, keyed: bool) -> Any:
    """What msgspec is to encode for `value`. With `keyed`, records that can change are refused."""
    kind = type(value)
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return Ext(_Code.TEXT, value.encode("utf-8", "surrogatepass"))
        return value
    if kind is int:
        if -(1 << 63) <= value < (1 << 64):
            return value
        return Ext(_Code.INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
    if kind in FLAT:
        return value
    if depth >= MAX_DEPTH:
        raise Unpackable(value, f"it is nested more than {MAX_DEPTH} levels deep, or contains itself")
    if kind is tuple:
        return msgspec.Raw(array_of(value, depth + 1, keyed))
    pack_one = _PACKERS.get(kind)
    if pack_one is not None:
        return pack_one(value, depth + 1, keyed)
    if isinstance(value, enum.Enum):
        learn(kind)
        if isinstance(value, enum.Flag):
            return Ext(_Code.FLAG, encode([class_name(kind), node_of(value._value_, depth + 1, keyed)]))
        return Ext(_Code.ENUM, encode([class_name(kind), value._name_]))
    record = record_of(kind)
    if record is None:
        raise Unpackable(value, why_without_bytes(value))
    if keyed and not record.frozen:
        raise Unpackable(value, "its class is not frozen: a key must not change")
    return _record(value, record, depth + 1, keyed)


def value_of(node: Any, depth: int, classes: Mapping[str, type]) -> Any:
    """The value that `node_of` was given."""
    kind = type(node)
    if kind in FLAT:
        return node
    if depth >= MAX_DEPTH:
        raise ValueError("nested too deeply")
    if kind is list:
        if all_flat(map(type, node)):
            return tuple(node)
        return tuple([value_of(item, depth + 1, classes) for item in node])
    if kind is Ext:
        return _UNPACKERS[node.code](bytes(node.data), depth + 1, classes)
    raise ValueError(f"{kind.__name__} has no place in canonical bytes")


# -- one pair of functions for each kind of value -------------------------------------------------


class _Code:
    # plain ints: msgspec takes no others for an extension
    INT = 1
    TEXT = 2
    LIST = 3
    SET = 4
    FROZENSET = 5
    DICT = 6
    COMPLEX = 7
    DECIMAL = 8
    DATETIME = 9
    DATE = 10
    TIME = 11
    TIMEDELTA = 12
    UUID = 13
    PATH = 14
    ENUM = 15
    FLAG = 16
    RECORD = 17
    BYTEARRAY = 18


def array_of(values: Iterable[Any], depth: int, keyed: bool) -> bytes:
    if all_flat(map(type, values)):
        try:
            return encode(values)
        except (UnicodeEncodeError, OverflowError):
            pass  # as in `canonical`
    return encode(_nodes(values, depth, keyed))


def _nodes(values: Iterable[Any], depth: int, keyed: bool) -> list[Any]:
    nodes: list[Any] = []
    try:
        for value in values:
            nodes.append(node_of(value, depth, keyed))
    except Unpackable as error:
        error.steps.append(f"[{len(nodes)}]")
        raise
    return nodes


def _record(value: Any, record: Record, depth: int, keyed: bool) -> Ext:
    kind = type(value)
    if known.get(record.name) is not kind:
        learn(kind)
        if record.names != getattr(record_of(known[record.name]), "names", None):
            raise Unpackable(value, "its class was defined anew with other fields: make it anew")
    if (extra := stray_attribute(value, record)) is not None:
        raise Unpackable(value, f"its attribute {extra} is not a field of the class")
    try:
        return Ext(_Code.RECORD, encode(_fields(value, record, FLAT, depth, keyed)))
    except (UnicodeEncodeError, OverflowError):  # as in `canonical`
        return Ext(_Code.RECORD, encode(_fields(value, record, frozenset(), depth, keyed)))


def _fields(value: Any, record: Record, plain: frozenset[type], depth: int, keyed: bool) -> list[Any]:
    """Name and fields of a record, those of `plain` types as they are."""
    flat: list[Any] = [record.name]
    for name in record.names:
        try:
            part = getattr(value, name)
            flat += name, part if type(part) in plain else node_of(part, depth, keyed)
        except Unpackable as error:
            error.steps.append(f".{name}")
            raise
        except AttributeError as error:
            raise Unpackable(value, f"its field {name} is not set") from error
    return flat


def _record_back(data: bytes, depth: int, classes: Mapping[str, type]) -> Any:
    name, *flat = decode_list(data)
    record = record_of(_class_of(name, classes))
    if record is None or len(flat) % 2:
        raise ValueError(f"these are not the fields of {name}")
    if tuple(flat[::2]) != record.names:
        raise UnknownClass(f"{name} has other fields now")
    return record.build(
        [node if type(node) in FLAT else value_of(node, depth, classes) for node in flat[1::2]]
    )


def _class_of(name: Any, classes: Mapping[str, type]) -> Any:
    if name not in classes:
        found = loaded_class(name) if classes is known else None
        if found is None:
            raise UnknownClass(name)
        return found
    return classes[name]


def _enum_back(data: bytes, depth: int, classes: Mapping[str, type]) -> Any:
    name, member = decode_list(data)
    if (found := _class_of(name, classes).__members__.get(member)) is None:
        raise UnknownClass(f"{name} has no {member} now")
    return found


def _flag_back(data: bytes, depth: int, classes: Mapping[str, type]) -> Any:
    name, value = decode_list(data)
    return _class_of(name, classes)(value_of(value, depth, classes))


def _set(code: int, value: Iterable[Any], depth: int, keyed: bool) -> Ext:
    items = sorted([encode(node) for node in _nodes(value, depth, keyed)])
    return Ext(code, encode([msgspec.Raw(item) for item in items]))


def _dict(value: dict[Any, Any], depth: int, keyed: bool) -> Ext:
    pairs: list[tuple[bytes, bytes]] = []
    ordered = {type(key) for key in value} in ({str}, {int})  # the order that readers expect, and msgspec's
    for key, item in sorted(value.items(), key=operator.itemgetter(0)) if ordered else value.items():
        try:
            pairs.append((encode(node_of(key, depth, keyed)), encode(node_of(item, depth, keyed))))
        except Unpackable as error:
            error.steps.append(f"[{short(key)}]")
            raise
    if not ordered:
        pairs.sort()
    return Ext(_Code.DICT, encode([msgspec.Raw(part) for pair in pairs for part in pair]))


def _dict_back(data: bytes, depth: int, classes: Mapping[str, type]) -> dict[Any, Any]:
    flat = _values(data, depth, classes)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _values(data: bytes, depth: int, classes: Mapping[str, type]) -> list[Any]:
    nodes = decode_list(data)
    return nodes if all_flat(map(type, nodes)) else [value_of(node, depth, classes) for node in nodes]


def _moment(code: int, value: datetime | time) -> Ext:
    zone = _zone(value.tzinfo, value)
    return Ext(code, encode([value.replace(tzinfo=None, fold=0).isoformat(), value.fold, zone]))


def _moment_back(kind: Any, data: bytes) -> Any:
    text, fold, zone = decode_list(data)
    return kind.fromisoformat(text).replace(fold=fold, tzinfo=_zone_back(zone))


def _zone(zone: tzinfo | None, value: object) -> Any:
    if zone is None:
        return None
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        name = zone.tzname(None)
        return [offset // _MICROSECOND, None if name == timezone(offset).tzname(None) else name]
    from zoneinfo import ZoneInfo

    if type(zone) is ZoneInfo and zone.key in _zone_names():
        return zone.key
    raise Unpackable(value, f"its time zone {short(zone)} has no name in the time zone database")


def _zone_back(zone: Any) -> tzinfo | None:
    if zone is None:
        return None
    if type(zone) is str:
        from zoneinfo import ZoneInfo

        if zone not in _zone_names():  # ZoneInfo would look for files and modules of that name
            raise ValueError(f"no time zone {zone!r}")
        return ZoneInfo(zone)
    offset, name = zone
    delta = timedelta(microseconds=offset)
    return timezone(delta) if name is None else timezone(delta, name)


@functools.cache
def _zone_names() -> frozenset[str]:
    from zoneinfo import available_timezones

    return frozenset(available_timezones())


def _path(value: PurePath, depth: int, keyed: bool) -> Ext:
    name = "Path" if isinstance(value, Path) else type(value).__name__
    return Ext(_Code.PATH, encode([name, node_of(str(value), depth, keyed)]))


def _path_back(data: bytes, depth: int, classes: Mapping[str, type]) -> PurePath:
    name, node = decode_list(data)
    return _PATHS[name](value_of(node, depth, classes))


_MICROSECOND = timedelta(microseconds=1)
_PATHS: dict[str, type[PurePath]] = {one.__name__: one for one in (Path, PurePosixPath, PureWindowsPath)}

_PACKERS: dict[type, Callable[[Any, int, bool], Any]] = {
    list: lambda v, d, k: Ext(_Code.LIST, array_of(v, d, k)),
    set: lambda v, d, k: _set(_Code.SET, v, d, k),
    frozenset: lambda v, d, k: _set(_Code.FROZENSET, v, d, k),
    dict: _dict,
    complex: lambda v, d, k: Ext(_Code.COMPLEX, struct.pack(">dd", v.real, v.imag)),
    Decimal: lambda v, d, k: Ext(_Code.DECIMAL, str(v).upper().encode()),  # the context decides on e or E
    datetime: lambda v, d, k: _moment(_Code.DATETIME, v),
    date: lambda v, d, k: Ext(_Code.DATE, v.isoformat().encode()),
    time: lambda v, d, k: _moment(_Code.TIME, v),
    timedelta: lambda v, d, k: Ext(_Code.TIMEDELTA, encode([v.days, v.seconds, v.microseconds])),
    UUID: lambda v, d, k: Ext(_Code.UUID, v.bytes),
    PurePosixPath: _path,
    PureWindowsPath: _path,
    type(Path()): _path,
    bytearray: lambda v, d, k: Ext(_Code.BYTEARRAY, bytes(v)),
}

_UNPACKERS: dict[int, Callable[[bytes, int, Mapping[str, type]], Any]] = {
    _Code.INT: lambda b, d, c: int.from_bytes(b, "big", signed=True),
    _Code.TEXT: lambda b, d, c: b.decode("utf-8", "surrogatepass"),
    _Code.LIST: _values,
    _Code.SET: lambda b, d, c: set(_values(b, d, c)),
    _Code.FROZENSET: lambda b, d, c: frozenset(_values(b, d, c)),
    _Code.DICT: _dict_back,
    _Code.COMPLEX: lambda b, d, c: complex(*struct.unpack(">dd", b)),
    _Code.DECIMAL: lambda b, d, c: Decimal(b.decode()),
    _Code.DATETIME: lambda b, d, c: _moment_back(datetime, b),
    _Code.DATE: lambda b, d, c: date.fromisoformat(b.decode()),
    _Code.TIME: lambda b, d, c: _moment_back(time, b),
    _Code.TIMEDELTA: lambda b, d, c: timedelta(*_values(b, d, c)),
    _Code.UUID: lambda b, d, c: UUID(bytes=b),
    _Code.PATH: _path_back,
    _Code.ENUM: _enum_back,
    _Code.FLAG: _flag_back,
    _Code.RECORD: _record_back,
    _Code.BYTEARRAY: lambda b, d, c: bytearray(b),
}
