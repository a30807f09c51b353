"""Columns: rows of a table as plain values that SQLite keeps as they are, and back.

Invariants
    B1  `decode(encode(row)) == row`, type for type.
    B2  Equal rows have equal columns, and different rows have different ones: rows are compared by them.
    B3  `order` sorts columns of any kind, the same in every process.

Texts, numbers and bytes stand for themselves, so that people can read a table with their own tools. What
SQLite would not give back exactly (a lone surrogate, an int beyond 64 bits, NaN, -0.0) and values of any
other type are canonical bytes.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

from engine.alias import alias_of, meaning
from engine.errors import BadTable, UnstorableValue, WrongColumn, WrongValue
from engine.parameters import hints_of
from engine.store.canonical import (
    Record,
    Unpackable,
    first_of,
    known,
    learn_annotation,
    pack,
    record_of,
    unpack,
)
from engine.store.codec import ValueCodec, fingerprint
from engine.tables.row_shape import row_shape

Plain = str | int | float | bytes | None
"""What SQLite keeps as it is."""
Found = tuple[Plain, tuple[Plain, ...]]
"""Source and columns of a row."""

ODD: Final = b"\xc1"  # before the bytes of a value that its own type cannot say; no msgpack starts with it
PLAIN: Final = (str, int, float, bytes)
ENCODING: Final = 2  # which columns stand for themselves; rows of another number are made anew
MOST_COLUMNS: Final = 1_500  # SQLite takes 2,000, and 32,766 values in a statement, which inserts 20 rows


def plain(value: Any) -> Plain:
    """A key of any type as one column: itself where SQLite keeps it exactly, else canonical bytes."""
    kind = type(value)
    if value is None:
        return None
    if kind is str:
        return _text(value)
    if kind is int:
        return _integer(value)
    return ODD + pack(value)


def plain_packed(args: bytes) -> Plain:
    """`plain` of the first of some arguments that cannot be made: of a class that is another one by now."""
    return ODD + first_of(args)


def order(columns: Sequence[Plain]) -> tuple[tuple[int, Any], ...]:
    """What rows are sorted by: nothing before numbers before texts before bytes."""
    return tuple([_rank(value) for value in columns])


def in_order(rows: Iterable[Found]) -> list[Found]:
    """Rows as answers and deltas give them: by source, then by columns."""
    return sorted(rows, key=lambda row: (order((row[0],)), order(row[1])))


class Encoded(tuple[tuple[Plain, ...], ...]):
    """Rows of a member that are columns already."""

    __slots__ = ()


class Columns:
    """The columns of one class of rows; made once per table."""

    __slots__ = (
        "_annotations",
        "_codecs",
        "_decoders",
        "_encoders",
        "_get",
        "_make",
        "is_plain",
        "names",
        "row",
        "shape",
        "table",
    )

    def __init__(self, table: str, row: type) -> None:
        self.table = table
        self.row = row
        record = record_of_rows(table, row)
        self.names = record.names
        # What columns were written for, they read; of old stores those of `Literal` and `NewType` are bytes.
        self.shape = fingerprint(f"{ENCODING} {row_shape(row)}".encode()).hex()
        hints = hints_of(row, BadTable, extras=False, table=table, rows=row.__qualname__)
        self._annotations = {name: hints.get(name, Any) for name in self.names}
        for annotation in self._annotations.values():
            learn_annotation(annotation)
        self._codecs: dict[str, ValueCodec] = {}
        several = [_coding(self._annotations[name]) for name in self.names]
        self._encoders = [(is_plain, encode) for is_plain, encode, _ in several]
        self._decoders = [decode for _, _, decode in several]
        self.is_plain = _unpack not in self._decoders  # no column holds objects, whose class may be gone
        getter = attrgetter(*self.names)
        self._get: Callable[[Any], tuple[Any, ...]] = (
            getter if len(self.names) > 1 else lambda row: (getter(row),)
        )
        self._make = record.build  # as values of queries are made again: not through `__init__`

    def encode(self, rows: Iterable[Any]) -> list[tuple[Plain, ...]]:
        """Rows as columns, about 0.1 us each. Raises `UnstorableValue`."""
        columns: list[Iterable[Plain]] = []
        try:  # a column at a time: in most of them, all values stand for themselves
            for values, (is_plain, encode) in zip(
                zip(*map(self._get, rows), strict=True), self._encoders, strict=False
            ):
                as_they_are = is_plain is not None and all(map(is_plain, filter(None, values)))
                columns.append(values if as_they_are else map(encode, values))
            return list(zip(*columns, strict=True))
        except Unpackable as error:
            raise UnstorableValue(table=self.table, inside=error.path, reason=error) from error

    def decode(self, columns: Sequence[Plain]) -> Any:
        """The row that was encoded."""
        return self._make([
            decode(value) for decode, value in zip(self._decoders, columns, strict=True)
        ])  # fmt: skip

    def encode_one(self, name: str, value: Any) -> Plain:
        """The column of a value that somebody looks for. Raises `WrongColumn` where no row can have it."""
        codec = self._codecs.get(name)
        if codec is None:
            codec = self._codecs[name] = ValueCodec(self._annotations[name])
        try:
            _, seen = codec.freeze(value)
        except WrongValue as error:
            raise WrongColumn(**{"table": self.table, "column": name, **error.fields}) from None
        return self._encoders[self.names.index(name)][1](seen)

    def value(self, name: str, column: Plain) -> Any:
        """The value of one column."""
        return self._decoders[self.names.index(name)](column)

    def is_text(self, name: str) -> bool:
        """Whether a column can be looked up by the beginning of its values."""
        return str in _members(self._annotations[name])


def record_of_rows(table: str, row: Any) -> Record:
    """The fields of a class of rows, and how one is made of them. Raises `BadTable` for other classes."""
    record = record_of(row) if isinstance(row, type) else None
    if record is None:
        raise BadTable(
            table=table,
            rows=getattr(row, "__qualname__", row),
            cause="rows are of an attrs class, a dataclass, a NamedTuple or a Struct, and hold nothing else",
            hint="Annotate what the function returns: -> Iterable[Definition].",
        )
    names = record.names
    if len(names) > MOST_COLUMNS:
        raise BadTable(
            table=table,
            rows=row.__qualname__,
            cause=f"{len(names)} columns",
            hint=f"SQLite takes {MOST_COLUMNS}: keep several in one, as a tuple or a dict.",
        )
    odd = [name for name in names if name.startswith("_")]
    if odd or not names or len({name.lower() for name in names}) < len(names):
        cause = "it has no fields" if not names else f"column {odd[0]!r}" if odd else "two columns alike"
        raise BadTable(
            table=table,
            rows=row.__qualname__,
            cause=cause,
            hint="Names of columns differ by more than case and do not start with an underscore.",
        )
    return record


def _coding(annotation: Any) -> Coding:
    kinds = _members(annotation)
    some = kinds - {types.NoneType}
    if len(some) != 1 or not some <= {*PLAIN, bool}:
        return None, pack, _unpack
    is_plain, encode, decode = _CODINGS[some.pop()]
    if types.NoneType not in kinds:
        return is_plain, encode, decode
    return (
        is_plain,
        (lambda value: None if value is None else encode(value)),
        (lambda value: None if value is None else decode(value)),
    )


def _members(annotation: Any) -> set[Any]:
    if alias_of(annotation) is not None:  # which has the shape of what it stands for
        return _members(meaning(annotation))
    if isinstance(annotation, typing.NewType):
        return _members(annotation.__supertype__)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return set[Any]().union(*map(_members, arguments))
    if origin is typing.Literal:
        return set(map(type, arguments))
    return {annotation}


def _text(value: str) -> Plain:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return ODD + pack(value)
    return value


def _integer(value: int) -> Plain:
    return value if _fits(value) else ODD + pack(value)


def _fits(value: int) -> bool:
    return -(1 << 63) <= value < (1 << 63)


def _real(value: float) -> Plain:
    odd = math.isnan(value) or (value == 0 and math.copysign(1, value) < 0)
    return ODD + pack(value) if odd else value


def _natural(value: Plain) -> Any:
    return _unpack(value[1:]) if type(value) is bytes else value


def _unpack(value: Any) -> Any:
    return unpack(value, known)


def _same(value: Any) -> Any:
    return value


Coding = tuple[Callable[[Any], bool] | None, Callable[[Any], Plain], Callable[[Any], Any]]
"""Of one type: what is true only of values that stand for themselves, if there is such a test (of values
that are not empty, 0 or None, which do); how a value becomes a column; and how it comes back."""

_CODINGS: dict[Any, Coding] = {
    str: (str.isascii, _text, _natural),
    int: (_fits, _integer, _natural),
    float: (None, _real, _natural),
    bool: (None, int, bool),
    bytes: (bool, _same, _same),
}


def _rank(value: Plain) -> tuple[int, Any]:
    if value is None:
        return 0, 0
    return (2, value) if type(value) is str else (3, value) if type(value) is bytes else (1, value)
