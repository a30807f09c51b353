"""Arguments that are all different keys, of every type that a key may have."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID

import attrs

from tests.values import Access, Color, Hashed, Loose, Number, Private, Struct, Tree


class Word(enum.StrEnum):
    RED = "red"


class Mixed(enum.Enum):
    PAIR = (1, 2)
    ALIAS = (1, 2)  # noqa: PIE796  # an alias


@attrs.frozen
class Point:
    x: int
    y: object = None


@dataclass(frozen=True)
class Data:
    x: int
    y: tuple[str, ...] = field(default=())


class Pair(NamedTuple):
    x: int
    y: int


@attrs.frozen
class InField:
    inner: Data
    colors: tuple[Color, ...]


DIFFERENT: list[Any] = [
    *(None, False, True, 0, 1, -1, 0.0, -0.0, 1.0, math.nan, -math.nan, math.inf, "", "1", "a", b"", b"a"),
    *(2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 2**200, -(2**200), 1e300, 5e-324),
    *("\udc80", "\ud83d\ude00", "\U0001f600", "a\x00b", bytearray(b"a"), "x" * 300),
    *(
        (),
        [],
        set(),
        frozenset(),
        {},
        (1,),
        [1],
        {1},
        frozenset({1}),
        {1: 1},
        (True,),
        [True],
        {True},
        (1.0,),
    ),
    *({True: 1}, {1: True}, {1.0: 1}, {"a": 1}, {"a": 1, "b": 2}, {(1,): [2]}, ((),), [[]], ([],), [()]),
    *(
        0j,
        complex(-0.0, 0.0),
        1 + 0j,
        Decimal(1),
        Decimal("1.0"),
        Decimal("1E+3"),
        Decimal("-0"),
        Decimal("Infinity"),
    ),
    *(datetime(2020, 1, 1), datetime(2020, 1, 1, fold=1), datetime(2020, 1, 1, tzinfo=UTC)),
    *(datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime(2020, 1, 1, microsecond=1)),
    datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")),
    *(date(2020, 1, 1), time(), time(1), time(1, tzinfo=UTC), time(1, fold=1)),
    *(timedelta(), timedelta(1), timedelta.max, timedelta.min, UUID(int=0), UUID(int=1)),
    *(Path("a"), PurePosixPath("a"), PureWindowsPath("a"), Path("\udcff"), Path()),
    *(
        Color.RED,
        Color.BLUE,
        Word.RED,
        Number.ONE,
        Access.READ,
        Access.READ | Access.WRITE,
        Access(0),
        Mixed.PAIR,
    ),
    *(Point(1), Point(True), Point(1, (1,)), Point(1, Point(1)), Loose(1), Hashed(1), Private(1), Data(1)),
    *(Data(1, ("a",)), Pair(1, 2), (1, 2), Struct(1), Struct(1, "z"), InField(Data(1), (Color.RED,))),
    *(Tree(1, (Tree(2),)), frozenset({frozenset({1}), frozenset({2})}), frozenset({(1, None), (1, 2)})),
]
