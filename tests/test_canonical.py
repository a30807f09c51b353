"""Arguments have canonical bytes: exact by type, the same in every process, safe to read back."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import math
import os
import random
import struct
import subprocess
import sys
import typing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UnkeyableArgument
from engine.store import canonical as module
from engine.store.canonical import UnknownClass, canonical, canonicals, known, learn_annotation, restore
from tests.values import Access, Color, Hashed, Loose, Number, Private, Struct, Tree, same


class Word(enum.StrEnum):
    RED = "red"


class Mixed(enum.Enum):
    PAIR = (1, 2)
    ALIAS = (1, 2)  # noqa: PIE796  # an alias


@attrs.frozen
class Point:
    x: int
    y: object = None


@attrs.define
class Changeable:
    x: int


@dataclass(frozen=True)
class Data:
    x: int
    y: tuple[str, ...] = field(default=())


@dataclass
class ChangeableData:
    x: int


class Pair(NamedTuple):
    x: int
    y: int


class ChangeableStruct(msgspec.Struct):
    x: int


@attrs.frozen
class InField:
    inner: Data
    colors: tuple[Color, ...]


def check(value: Any) -> bytes:
    data = canonical((value,))
    assert same(restore(data), (value,))
    assert canonical(restore(data)) == data
    return data


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


@pytest.mark.parametrize(
    "value", DIFFERENT, ids=lambda value: "set" if isinstance(value, set | frozenset) else repr(value)[:40]
)
def test_what_goes_in_comes_out_with_every_type(value: Any) -> None:
    check(value)
    check((value, [value], {"k": value}, Point(1, value)))


@pytest.mark.parametrize(
    "several",
    [
        [],
        [(), ("a",), (1, True, 1.0, None, b"x")],
        [("a",), ("\udc80",), ("b",)],
        [("a",), (1 << 70,)],
        [("a",), (("b",),), ({1, 2},)],
        [(value,) for value in DIFFERENT],
    ],
)
def test_many_have_the_bytes_that_each_has(several: list[tuple[Any, ...]]) -> None:
    assert canonicals(several) == [canonical(one) for one in several]


def test_every_different_argument_is_another_key() -> None:
    keys: dict[bytes, Any] = {}
    for value in DIFFERENT:
        data = canonical((value,))
        assert data not in keys, (value, keys[data])
        keys[data] = value


def test_one_true_and_one_point_zero_are_three_keys() -> None:
    assert len({canonical((value,)) for value in (1, True, 1.0)}) == 3
    assert len({canonical(((value,),)) for value in (1, True, 1.0)}) == 3
    assert len({canonical((Point(1, value),)) for value in (0, False, 0.0, -0.0)}) == 4


def test_an_enum_member_is_not_its_value() -> None:
    assert canonical((Word.RED,)) != canonical(("red",))
    assert canonical((Number.ONE,)) != canonical((1,))
    assert canonical((Mixed.ALIAS,)) == canonical((Mixed.PAIR,))
    assert type(restore(canonical((Word.RED,)))[0]) is Word


def test_a_nan_is_the_key_of_its_bits() -> None:
    other: float = struct.unpack("<d", b"\x01\x00\x00\x00\x00\x00\xf8\x7f")[0]
    assert canonical((math.nan,)) == canonical((float("nan"),))
    assert canonical((math.nan,)) != canonical((other,))
    assert struct.pack("<d", restore(canonical((other,)))[0]) == struct.pack("<d", other)


def test_the_order_of_sets_and_dicts_does_not_matter() -> None:
    assert canonical(({"b": 1, "a": 2},)) == canonical(({"a": 2, "b": 1},))
    assert canonical(({1: "x", "a": 2},)) == canonical(({"a": 2, 1: "x"},))
    names = [f"name{i}" for i in range(100)]
    shuffled = random.Random(1).sample(names, 100)
    assert canonical((frozenset(names),)) == canonical((frozenset(shuffled),))
    assert canonical((dict.fromkeys(names),)) == canonical((dict.fromkeys(shuffled),))


def test_a_dict_of_texts_comes_back_in_alphabetical_order() -> None:
    assert list(restore(canonical(({"b": 1, "aa": 2, "c": 3},)))[0]) == ["aa", "b", "c"]
    assert list(restore(canonical(({300: 1, -1: 2, 5: 3},)))[0]) == [-1, 5, 300]


def test_the_general_form_of_flat_arguments_is_the_fast_one() -> None:
    for value in ((), ("a", 1, True, None, 1.5, b"x"), (2**64 - 1, -(2**63)), ("é", math.nan)):
        assert canonical(value) == module._canonical_cold(value)


def test_undecodable_file_names_survive() -> None:
    name = os.fsdecode(b"caf\xe9.py")
    assert os.fsencode(restore(canonical((name,)))[0]) == b"caf\xe9.py"
    assert os.fsencode(restore(canonical((Path(name),)))[0]) == b"caf\xe9.py"


def test_named_time_zones_survive() -> None:
    moment = datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))
    (back,) = restore(canonical((moment,)))
    assert back.tzinfo is moment.tzinfo
    assert back.fold == 1
    assert back.utcoffset() == moment.utcoffset()


def test_fields_are_taken_as_they_are_not_through_init() -> None:
    back: Any = restore(canonical((Private(1),)))[0]
    assert back._secret == -1
    assert hash(restore(canonical((Hashed(3),)))[0]) == hash(Hashed(3))


def test_a_cached_property_does_not_change_the_key() -> None:
    value = Loose(3)
    before = canonical((value,))
    assert value.double == 6
    assert canonical((value,)) == before


def too_deep() -> Any:
    value: Any = ()
    for _ in range(10**5):
        value = (value,)
    return value


def self_containing() -> Any:
    value: list[Any] = []
    value.extend((value, value))
    return value


def stray() -> Any:
    value = Loose(1)
    value.__dict__["other"] = 2
    return value


UNKEYABLE: list[tuple[str, Any, str | None]] = [
    ("attrs", Changeable(1), ""),
    ("dataclass", ChangeableData(1), ""),
    ("struct", ChangeableStruct(1), ""),
    ("function", len, ""),
    ("lambda in a list", [1, lambda: 1], "[1]"),
    ("module", math, ""),
    ("class", int, ""),
    ("object", object(), ""),
    ("memory", memoryview(b""), ""),
    ("iterator", iter([1]), ""),
    ("in a field", Point(1, {"k": (1, Changeable(1))}), ".y['k'][1]"),
    ("key of a dict", {len: 1}, "[<built-in function len>]"),
    ("in a set", {len}, "[0]"),
    ("too deep", too_deep(), None),
    ("self containing", self_containing(), None),
    ("subclass of str", type("Text", (str,), {})("a"), ""),
    ("stray attribute", stray(), ""),
    ("error", ValueError("a"), ""),
]


@pytest.mark.parametrize(
    ("value", "inside"), [case[1:] for case in UNKEYABLE], ids=[case[0] for case in UNKEYABLE]
)
def test_what_cannot_be_a_key_is_refused_with_its_place(value: Any, inside: str | None) -> None:
    with pytest.raises(UnkeyableArgument) as caught:
        canonical(("first", value))
    fields = caught.value.fields
    assert fields["argument"] == "1"
    assert fields["type"]
    assert fields["reason"]
    assert inside is None or fields.get("inside", "") == inside


def test_an_open_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as stream, pytest.raises(UnkeyableArgument):
        canonical((stream,))


def test_depth_is_that_of_the_value_not_of_the_caller() -> None:
    value: Any = 1
    for _ in range(module.MAX_DEPTH):
        value = [value]

    def far_down(levels: int) -> bytes:
        return far_down(levels - 1) if levels else canonical((value,))

    frames = sys.getrecursionlimit() - 250
    assert far_down(frames) == canonical((value,))
    assert same(restore(canonical((value,))), (value,))
    with pytest.raises(UnkeyableArgument):
        canonical(([value],))


def test_an_unknown_class_is_named_and_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    data = canonical((Point(1), Color.RED))
    for cls in (Point, Color):  # as in a process that has not loaded them
        monkeypatch.delitem(sys.modules, cls.__module__, raising=False)
        kept = known.pop(f"{cls.__module__}:{cls.__name__}")
        try:
            with pytest.raises(UnknownClass, match=cls.__name__):
                restore(data)
        finally:
            module.learn(kept)
    evil = data.replace(b"Point", b"evil0").replace(__name__.encode(), b"antigravity"[: len(__name__)])
    with pytest.raises(ValueError, match=r".*"):
        restore(evil)
    assert "antigravity" not in sys.modules


def test_learning_an_annotation_learns_what_is_inside() -> None:
    known.clear()
    learn_annotation(typing.Optional[dict[str, tuple[Tree[InField], ...]]])  # noqa: UP045  # both spellings
    learn_annotation(Point | None)
    learn_annotation(typing.Literal[Word.RED, 1])
    names = {name.partition(":")[2] for name in known}
    assert names == {"Tree", "InField", "Data", "Color", "Point", "Word"}


def test_learning_survives_what_it_cannot_resolve() -> None:
    hidden = dataclasses.make_dataclass("Hidden", [("x", "Missing")], frozen=True)
    learn_annotation([hidden, "AlsoMissing", TypeVar("U"), typing.Callable[[int], Data]])
    learn_annotation(dict[str, hidden])  # type: ignore[valid-type]  # known when it runs
    assert f"{hidden.__module__}:Hidden" in known


def test_restoring_needs_the_same_fields() -> None:
    data = canonical((Pair(1, 2),))
    shorter = msgspec.msgpack.encode([f"{__name__}:Pair", "x", 1, "y"])
    for damaged in (
        data.replace(b"\xa1x", b"\xa1z"),
        msgspec.msgpack.encode([msgspec.msgpack.Ext(17, shorter)]),
    ):
        with pytest.raises(ValueError, match="fields"):
            restore(damaged)


def test_time_zones_in_data_name_no_file() -> None:
    for zone in ("../../etc/passwd", "/etc/passwd", "os", "nowhere"):
        node = msgspec.msgpack.Ext(9, msgspec.msgpack.encode(["2020-01-01T00:00:00", 0, zone]))
        with pytest.raises(ValueError, match="time zone"):
            restore(msgspec.msgpack.encode([node]))


HOSTILE = [
    *(
        b"",
        b"\xc1",
        b"\x01",
        b"\x80",
        b"\x91",
        b"\x91\x80",
        b"\x91\x81\x01\x02",
        b"\x91\x01\x02",
        b"\x91\xa1\xff",
    ),
    *(
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 10**5 + b"\x01",
        b"\x91" * 500 + b"\x01",
        b"\xdd\x0f\xff\xff\xff" * 900,
    ),
    *(b"\x91\xc7\x00" + bytes([code]) for code in range(256)),
    *(b"\x91\xc7\x01" + bytes([code]) + b"\x91" for code in range(256)),
    *(b"\x91\xc7\x02" + bytes([code]) + b"\x91\x90" for code in range(256)),
    b"\x91\xd6\xff\x00\x00\x00\x01",
]


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: data[:12].hex())
def test_hostile_bytes_are_a_value_error_or_a_value(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert type(restore(data)) is tuple


def test_nested_extensions_do_not_overflow() -> None:
    data = b"\x90"
    for _ in range(3000):
        data = msgspec.msgpack.encode([msgspec.msgpack.Ext(3, data)])
    with pytest.raises(ValueError, match="deep"):
        restore(data)


def test_mutated_bytes_are_a_value_error_or_a_value() -> None:
    source = random.Random(20240101)
    originals = [canonical((value, [value])) for value in DIFFERENT]
    before = set(sys.modules)
    for _ in range(20_000):
        data = bytearray(source.choice(originals))
        for _ in range(source.randint(1, 4)):
            where = source.randrange(len(data))
            match source.randrange(3):
                case 0:
                    data[where] = source.randrange(256)
                case 1:
                    del data[where:]
                    data += source.randbytes(2)
                case _:
                    data[where:where] = source.randbytes(source.randint(1, 3))
        with contextlib.suppress(ValueError):
            restore(bytes(data))
    assert set(sys.modules) == before


texts = st.text(st.characters())  # surrogates included
scalars = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary(), st.complex_numbers()),
    *(st.decimals(allow_nan=False), st.datetimes(), st.dates(), st.times(), st.timedeltas(), st.uuids()),
    *(st.sampled_from([*Color, *Word, *Number, *Access]), st.datetimes(timezones=st.just(UTC))),
)
keys = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple),
        st.frozensets(inner, max_size=4),
        st.builds(Point, st.integers(), inner),
    ),
    max_leaves=8,
)
values = st.recursive(
    keys,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.builds(Point, st.integers(), inner),
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(values)
def test_any_value_comes_back_exactly(value: Any) -> None:
    data = canonical((value,))
    assert canonical(restore(data)) == data
    assert same(restore(data)[0], value)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_error_or_a_value(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        restore(data)


PROGRAM = """
from engine.store.canonical import canonical
names = [f"name{i}" for i in range(50)]
print(canonical((set(names), {(n, i) for i, n in enumerate(names)}, frozenset({None, 1, "a", 2.5}),
    {n: {n} for n in names}, {frozenset({"a", "b"}): 1, 3: 2})).hex())
"""


def test_every_process_makes_the_same_bytes() -> None:
    root = Path(__file__).resolve().parent.parent
    seen = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in "0123"
    }
    assert len(seen) == 1
