"""Arguments come back from their canonical bytes exactly, with every type."""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.store import canonical as module
from engine.store.canonical import canonical, canonicals, restore
from tests.canonical_cases import DIFFERENT, Point, Word
from tests.values import Access, Color, Hashed, Number, Private, same


def check(value: Any) -> bytes:
    data = canonical((value,))
    assert same(restore(data), (value,))
    assert canonical(restore(data)) == data
    return data


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


def test_a_dict_of_texts_comes_back_in_alphabetical_order() -> None:
    assert list(restore(canonical(({"b": 1, "aa": 2, "c": 3},)))[0]) == ["aa", "b", "c"]
    assert list(restore(canonical(({300: 1, -1: 2, 5: 3},)))[0]) == [-1, 5, 300]


def test_the_general_form_of_flat_arguments_is_the_fast_one() -> None:
    for value in ((), ("a", 1, True, None, 1.5, b"x"), (2**64 - 1, -(2**63)), ("é", math.nan)):
        assert canonical(value) == module.canonical_cold(value)


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
