"""Values that come back exactly under their annotation, and how that is checked."""

from __future__ import annotations

import enum
import inspect
import math
import typing
from collections import abc
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Final, Literal, Optional, Union
from uuid import UUID

from engine.store.codec import ValueCodec
from tests.values import (
    Access,
    B,
    BadEq,
    Color,
    Data,
    Entry,
    Hashed,
    Hidden,
    Hooked,
    Limited,
    Loose,
    Mess,
    Mixed,
    Mutable,
    MutableData,
    MutableStruct,
    NoEq,
    Number,
    Options,
    Other,
    Pair,
    Private,
    Struct,
    Tree,
    UserId,
    WithList,
    Word,
    same,
)


def check(annotation: Any, value: Any, expected: Any = inspect.Parameter.empty) -> bytes:
    """`value` settles as `expected` (itself by default), and a new process would see the same."""
    expected = value if expected is inspect.Parameter.empty else expected
    codec = ValueCodec(annotation)
    assert codec.storable, codec.why_not
    data, seen = codec.freeze(value)
    assert same(seen, expected), (seen, expected)
    assert same(ValueCodec(annotation).decode(data), seen)
    assert codec.encode(seen) == data
    assert codec.encode(value) == data
    return data


BERLIN = timezone(timedelta(hours=2))
EXACT: list[tuple[Any, Any]] = [
    *(
        (int, 0),
        (int, -5),
        (int, 2**63 - 1),
        (int, 2**64),
        (int, -(2**200)),
        (bool, True),
        (type(None), None),
    ),
    *(
        (None, None),
        (float, 1.5),
        (float, -0.0),
        (float, math.nan),
        (float, -math.inf),
        (complex, complex(-0.0, 2)),
    ),
    *(
        (complex, complex(math.nan, 1)),
        (str, ""),
        (str, "é"),
        (str, "\udcff"),
        (bytes, b"\x00"),
        (bytearray, bytearray(b"x")),
    ),
    *(
        (str | None, "a"),
        (str | None, None),
        (int | float, 1),
        (int | float, 1.0),
        (int | str, "1"),
        (bytes | str, b""),
        (int | abc.Callable[[], int], 1),  # the other has no bytes
    ),
    *((Optional[int], 3), (Union[int, str], 2**70), (Decimal, Decimal("1.0")), (Decimal, Decimal("NaN"))),  # noqa: UP007, UP045  # both spellings
    *((Decimal, Decimal("sNaN3")), (UUID, UUID(int=3)), (date, date(1, 1, 1)), (timedelta, timedelta.min)),
    *(
        (datetime, datetime(2020, 1, 1)),
        (datetime, datetime(2020, 1, 1, 9, tzinfo=UTC)),
        (time, time(1, fold=1)),
    ),
    *(
        (datetime, datetime(2020, 1, 1, 9, tzinfo=BERLIN)),
        (tuple[datetime, ...], (datetime(2020, 1, 1, 9, fold=1),)),
    ),
    *(
        (Path, Path("a/b")),
        (PurePosixPath, PurePosixPath("a")),
        (Path, Path("\udcff")),
        (tuple[Path, ...], (Path("a"),)),
    ),
    *(
        (Color, Color.RED),
        (Word, Word.A),
        (Number, Number.ONE),
        (Access, Access.READ | Access.WRITE),
        (Mixed, Mixed.PAIR),
    ),
    *(
        (Mixed, Mixed.INT),
        (Color | str, "red"),
        (Color | str, Color.RED),
        (Literal[1, "a"], 1),
        (Literal[1, "a"], "a"),
    ),
    *(
        (Literal[True, 0], True),
        (Literal[Color.RED], Color.RED),
        (tuple[()], ()),
        (tuple[int, str], (1, "a")),
    ),
    *(
        (tuple[int, ...], ()),
        (tuple[float, ...], (1.0, math.nan, -0.0)),
        (tuple[str, ...], ("a", "\udcff", "b")),
    ),
    *((tuple[int, ...], (1, 2**100)), (list[int], [1]), (list[list[str]], [["a"], []]), (set[int], {1, 2})),
    *(
        (set[float], {1.0, math.inf}),
        (frozenset[str], frozenset("abc")),
        (frozenset[int | None], frozenset({None, 1})),
    ),
    *(
        (frozenset[frozenset[str]], frozenset({frozenset("ab"), frozenset("a")})),
        (set[Entry], {Entry("a"), Entry("b")}),
    ),
    *(
        (dict[str, int], {"a": 1, "b": 2}),
        (dict[int, str], {1: "a", 2: "b"}),
        (dict[tuple[int, str], Entry], {(1, "a"): Entry("a")}),
    ),
    *(
        (dict[str | None, int], {None: 1, "a": 2}),
        (dict[str, list[Entry]], {"a": [Entry("x")]}),
        (dict[Color, int], {Color.RED: 1}),
    ),
    *(
        (abc.Sequence[int], [1]),
        (abc.Mapping[str, int], {"a": 1}),
        (abc.Set[int], {1}),
    ),
    (typing.List[int], [1]),  # noqa: UP006  # both spellings
    *(
        (Entry, Entry("a", True, ("x", "y"))),
        (tuple[Entry, ...], (Entry("a"), Entry("\udce9"))),
        (Mutable, Mutable(1)),
    ),
    *(
        (WithList, WithList([1, 2])),
        (Loose, Loose(1)),
        (Hashed, Hashed(1)),
        (Private, Private(1)),
        (Hooked, Hooked(1)),
    ),
    *(
        (NoEq, NoEq(1)),
        (BadEq, BadEq(1)),
        (Data, Data(1.5, date(2020, 1, 1))),
        (Data, Data(math.nan)),
        (MutableData, MutableData(1)),
    ),
    *(
        (Struct, Struct(1)),
        (MutableStruct, MutableStruct(2)),
        (Limited, Limited(1)),
        (Pair, Pair(1, "a")),
        (Pair | Entry, Pair(1)),
    ),
    *(
        (Options, {"depth": 1}),
        (Options, {"depth": 1, "name": "a"}),
        (Tree[int], Tree(1, (Tree(2),))),
        (Tree, Tree("a")),
    ),
    *(
        (Tree[Entry | Other], Tree[Entry | Other](Entry("a"), (Tree(Other("b")),))),
        (Mess, Mess(Other("a"), (Entry("b"), Other("c")))),
    ),
    *(
        (Entry | Other, Entry("a")),
        (Entry | Other | None, None),
        (Entry | Struct | Data | Pair, Struct(1)),
        (Entry | int | str, 3),
    ),
    *((tuple[Entry | Other, ...], (Entry("a"), Other("b"))), (dict[str, Entry | Other], {"a": Other("b")})),
    *(
        (tuple[int, ...] | frozenset[int], frozenset({1})),
        (list[int] | list[str], ["a"]),
        (datetime | str, "2020-01-01"),
    ),
    *(
        (datetime | date, date(2020, 1, 1)),
        (UUID | str, str(UUID(int=3))),
        (bytes | bytearray, bytearray(b"a")),
    ),
    *(
        (Annotated[int, "doc"], 1),
        (Final[int], 1),
        (UserId, UserId(1)),
        (B, 3),
        (typing.LiteralString, "a"),
        (tuple, (1, "a")),
    ),
    *(
        (list, [1, (2,)]),
        (dict, {1: "a", (2,): None}),
        (Hidden, Hidden(3)),
        (enum.Enum, Color.RED),
        (abc.Hashable, (1,)),
    ),
    *(
        (abc.Iterable[int], (1, 2)),
        (tuple[Any, ...], (1, True, 1.0, (2,), [3])),
        (dict[str, object], {"a": (1, [Entry("x")])}),
    ),
]


ANY_VALUES: list[Any] = [value for _, value in EXACT]
