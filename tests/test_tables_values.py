"""Source keys and columns of any type: one claim a test."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import msgspec
import pytest
from attrs import astuple, frozen

from engine import Engine, input, query, table

ODD_KEYS: list[Any] = [
    1, True, 1.0, 0, -0.0, 0.0, "1", "\ud800", "é", "", None, (1, "a"), (), b"x", 1 << 70, -(1 << 63),
]  # fmt: skip


@input
def odd_keys() -> tuple[Any, ...]:
    return ()


@frozen
class Shown:
    kind: str
    text: str


@table(each=odd_keys, index=("kind",))
def shown(key: Any) -> Iterable[Shown]:
    yield Shown(type(key).__name__, repr(key))


@pytest.mark.parametrize("stored", [False, True])
def test_source_keys_of_any_type_are_members_of_their_own(store: Path, stored: bool) -> None:
    with Engine(store if stored else None) as db:
        db.set(odd_keys.key(), tuple(ODD_KEYS))
        for key in ODD_KEYS:
            assert [one.text for one in db.get(shown.of, key)] == [repr(key)]
        assert db.get(shown.count) == len(ODD_KEYS)
        assert db.get(shown.count, kind="float") == 3
        assert sorted(map(repr, db.get(shown.where))) == sorted(
            repr(Shown(type(key).__name__, repr(key))) for key in ODD_KEYS
        )
        db.set(odd_keys.key(), tuple(ODD_KEYS[1::2]))
        assert db.get(shown.count) == len(ODD_KEYS[1::2])
        for at, key in enumerate(ODD_KEYS):
            assert len(db.get(shown.of, key)) == at % 2, key
    if stored:
        with Engine(store) as db:
            db.set(odd_keys.key(), tuple(ODD_KEYS))
            assert db.get(shown.count) == len(ODD_KEYS)
            for key in ODD_KEYS:
                assert [one.text for one in db.get(shown.of, key)] == [repr(key)]


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2


@frozen
class Odd:
    at: int
    anything: Any
    real: float
    whole: int
    text: str
    raw: bytes
    size: Size
    flag: bool
    maybe: str | None
    pair: tuple[int, str]
    mixed: str | int


NAN = float("nan")
ODD_ROWS: list[tuple[Any, ...]] = [
    (None, 0.0, 0, "", b"", Size.SMALL, False, None, (0, "")),
    (True, -0.0, 1, "é", b"\x00\xff", Size.LARGE, True, "", (1, "a")),
    (1, 1.0, -1, "\ud800", b"\xc1", Size.SMALL, True, "\udfff", (-1, "\ud800")),
    (1.0, NAN, 1 << 80, "x\x00y", b"x", Size.LARGE, False, "None", (1 << 80, "b")),
    (-0.0, float("inf"), -(1 << 63), "'\"%_*?[", b"%", Size.SMALL, False, "%", (0, "%")),
    (("a", (1, None)), float("-inf"), (1 << 63) - 1, "X", b"X", Size.SMALL, True, "x", (1, "x")),
    (Size.LARGE, 5e-324, 1 << 63, "x", b"x\x00", Size.LARGE, True, "X", (2, "")),
    (frozenset({1, 2}), 1e308, -(1 << 64), "𝒳", b"", Size.LARGE, True, "𝒳", (3, "")),
]


@input
def odd_count() -> int:
    return len(ODD_ROWS)


@query
def places() -> tuple[int, ...]:
    return tuple(range(odd_count()))


COLUMNS = ("at", "anything", "real", "whole", "text", "raw", "size", "flag", "maybe", "pair", "mixed")


@table(each=places, index=COLUMNS)
def odd_rows(at: int) -> Iterable[Odd]:
    yield Odd(at, *ODD_ROWS[at], f"m{at}" if at % 2 else at)  # type: ignore[call-arg]  # that many columns


def exact(value: Any) -> str:
    return f"{type(value).__name__} {sorted(map(repr, value)) if isinstance(value, frozenset) else value!r}"


@pytest.mark.parametrize("stored", [False, True])
def test_values_of_any_type_are_found_by_themselves_alone_and_come_back_as_they_were(
    store: Path, stored: bool
) -> None:
    for _ in range(2):
        with Engine(store if stored else None) as db:
            rows = db.get(odd_rows.where)
            assert [tuple(map(exact, astuple(row, recurse=False)[1:-1])) for row in rows] == [
                tuple(map(exact, row)) for row in ODD_ROWS
            ]
            for number, name in enumerate(COLUMNS[1:-1]):
                for row in ODD_ROWS:
                    same = [one for one in ODD_ROWS if exact(one[number]) == exact(row[number])]
                    found = db.get(odd_rows.where, **{name: row[number]})
                    assert len(found) == len(same), (name, row[number], found)
                    assert db.get(odd_rows.count, **{name: row[number]}) == len(same)
            assert [row.text for row in db.get(odd_rows.starting, text="x")] == ["x\x00y", "x"]
            assert [row.text for row in db.get(odd_rows.starting, text="'\"%_")] == ["'\"%_*?["]
            assert [row.maybe for row in db.get(odd_rows.starting, maybe="\udfff")] == ["\udfff"]
            assert [row.text for row in db.get(odd_rows.starting, text="\ud800")] == ["\ud800"]
            assert [row.mixed for row in db.get(odd_rows.starting, mixed="m")] == ["m1", "m3", "m5", "m7"]
            assert len(db.get(odd_rows.starting, text="")) == len(ODD_ROWS)
            db.set(odd_count.key(), 3)
            assert db.get(odd_rows.count) == 3
            db.set(odd_count.key(), len(ODD_ROWS))
            assert db.get(odd_rows.starting, text="𝒳")[0].maybe == "𝒳"


def next_one(number: int) -> int:
    return number + 1


@frozen
class Converted:
    number: int = attrs.field(converter=next_one)
    more: int = attrs.field(init=False, default=7)


@dataclass(kw_only=True)
class Raised:
    number: int
    more: int = field(init=False, default=7)

    def __post_init__(self) -> None:
        self.number += 1


class Made(NamedTuple("Made", [("number", int), ("more", int)])):
    def __new__(cls, number: int) -> Made:
        return super().__new__(cls, number + 1, 7)


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    more: int = 7


@query
def nothing_else() -> tuple[int, ...]:
    return (1,)


@pytest.mark.parametrize("kind", [Converted, Raised, Made, Packed])
def test_rows_come_back_as_they_were_made_whatever_making_one_does(kind: Any, store: Path) -> None:
    def rows(number: int) -> Any:
        return [kind(number=number)]

    rows.__annotations__["return"] = Iterable[kind]
    made: Any = table(each=nothing_else, index=("number",), name=f"tests:{kind.__name__}")(rows)
    (row,) = made(1)
    assert row.more == 7
    for _ in range(2):
        with Engine(store) as db:
            assert db.get(made.key(1)) == db.get(made.where) == db.get(made.of, 1) == (row,)
            assert db.get(made.where, number=row.number) == (row,)
    assert made.where() == (row,)
