"""Different arguments are different keys, and equal ones are one key in every process."""

from __future__ import annotations

import math
import random
import struct
from typing import Any

from engine.store.canonical import canonical, restore
from tests.canonical_cases import DIFFERENT, Mixed, Point, Word
from tests.values import Loose, Number, printed_with_hash_seeds


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


def test_a_cached_property_does_not_change_the_key() -> None:
    value = Loose(3)
    before = canonical((value,))
    assert value.double == 6
    assert canonical((value,)) == before


PROGRAM = """
from engine.store.canonical import canonical
names = [f"name{i}" for i in range(50)]
print(canonical((set(names), {(n, i) for i, n in enumerate(names)}, frozenset({None, 1, "a", 2.5}),
    {n: {n} for n in names}, {frozenset({"a", "b"}): 1, 3: 2})).hex())
"""


def test_every_process_makes_the_same_bytes() -> None:
    assert len(printed_with_hash_seeds(PROGRAM)) == 1
