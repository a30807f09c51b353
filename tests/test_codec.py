"""Values come back as readers would see them after a restart, and have canonical bytes: one claim a test."""

from __future__ import annotations

import collections
import inspect
import math
import os
import sys
from collections import abc
from datetime import datetime
from decimal import Decimal
from pathlib import Path, PurePath, PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.store import codec as module
from engine.store.codec import ValueCodec, fingerprint
from tests.codec_cases import ANY_VALUES, EXACT, check
from tests.values import (
    Data,
    Entry,
    Loose,
    Number,
    Other,
    Pair,
    T,
    Tree,
    Word,
    chain,
    exact,
    printed_with_hash_seeds,
    stable,
)


@pytest.mark.parametrize(("annotation", "value"), EXACT, ids=stable)
def test_a_value_comes_back_exactly(annotation: Any, value: Any) -> None:
    check(annotation, value)


@pytest.mark.parametrize("annotation", [Any, object, inspect.Parameter.empty, T], ids=stable)
@pytest.mark.parametrize("value", ANY_VALUES, ids=stable)
def test_without_an_annotation_every_type_is_kept(annotation: Any, value: Any) -> None:
    check(annotation, value)
    check(annotation, (value, [value]))


class Text(str):
    pass


MOMENT: Any = datetime(2020, 1, 1)  # an `int` for the type checker

NORMALISED: list[tuple[Any, Any, Any]] = [
    *(
        (float, 1, 1.0),
        (float, 2**63, 2.0**63),
        (complex, 1, 1 + 0j),
        (tuple[float, ...], (1, 2.5), (1.0, 2.5)),
    ),
    *(
        (str, Text("a"), "a"),
        (str, Word.A, "a"),
        (int, Number.ONE, 1),
        (tuple[str, ...], (Text("a"), Word.A), ("a", "a")),
    ),
    *(
        (float | None, 3, 3.0),
        (Data, Data(1), Data(1.0)),
        (frozenset[float], frozenset({1, 2.5}), frozenset({1.0, 2.5})),
    ),
    *(
        (abc.Sequence[int], (1, 2), [1, 2]),
        (abc.Sequence[int], range(2), [0, 1]),
        (abc.Set[int], frozenset({1}), {1}),
    ),
    *(
        (abc.Mapping[str, int], MappingProxyType({"a": 1}), {"a": 1}),
        (dict[str, int], collections.Counter("a"), {"a": 1}),
    ),
    *((dict[str, int], collections.OrderedDict(a=1), {"a": 1}), (tuple[int, str], Pair(1, "a"), (1, "a"))),
    *(
        (Pair, (1, "a"), Pair(1, "a")),
        (Word, "a", Word.A),
        (Number, 1, Number.ONE),
        (frozenset[int], {1}, frozenset({1})),
    ),
    *((bytes, bytearray(b"a"), b"a"), (bytes, memoryview(b"a"), b"a"), (Path, PurePosixPath("a"), Path("a"))),
    *(
        (PurePath, Path("a"), PurePosixPath("a")),
        (abc.Mapping[int, float], MappingProxyType({1: 2}), {1: 2.0}),
    ),
    (abc.Sequence[Entry | Other], (Entry("a"),), [Entry("a")]),
    (tuple[str, ...] | abc.Sequence[int], (1,), [1]),
    (tuple[int, str], Pair(1, "a"), (1, "a")),
    (tuple[datetime, str], Pair(MOMENT, "a"), (MOMENT, "a")),
    (set[str] | abc.Set[int], {1}, {1}),
    (frozenset[str] | abc.Set[int], frozenset({1}), {1}),
]


@pytest.mark.parametrize(("annotation", "value", "seen"), NORMALISED, ids=stable)
def test_readers_see_the_annotated_type(annotation: Any, value: Any, seen: Any) -> None:
    data = check(annotation, value, seen)
    assert ValueCodec(annotation).encode(seen) == data


def test_what_a_reader_or_the_query_changes_later_reaches_nobody() -> None:
    kept = {"b": [1], "a": [2]}
    codec = ValueCodec(dict[str, list[int]])
    data, seen = codec.freeze(kept)
    kept["b"].append(5)
    assert seen == {"a": [2], "b": [1]}
    seen["a"].append(6)
    assert codec.decode(data) == {"a": [2], "b": [1]}


@pytest.mark.parametrize(
    "annotation", [dict[str, int], abc.Mapping[str, int], dict[str, Any], Any, dict[str | None, int]]
)
def test_readers_see_dicts_in_sorted_order(annotation: Any) -> None:
    codec = ValueCodec(annotation)
    data, seen = codec.freeze({"b": 1, "aa": 2, "c": 3})
    assert codec.encode({"c": 3, "aa": 2, "b": 1}) == data
    assert list(seen) == list(codec.decode(data))
    assert annotation == dict[str | None, int] or list(seen) == ["aa", "b", "c"]


def test_values_that_differ_have_other_bytes() -> None:
    codec = ValueCodec(Any)
    seen: dict[bytes, str] = {}
    for value in ANY_VALUES:
        assert seen.setdefault(codec.encode(value), exact(value)) == exact(value)
    assert len({ValueCodec(float).encode(value) for value in (0.0, -0.0, 1.0, math.nan)}) == 4
    assert ValueCodec(float).encode(math.nan) == ValueCodec(float).encode(float("nan"))
    assert ValueCodec(tuple[float, ...]).encode((math.nan,)) == ValueCodec(tuple[float, ...]).encode(
        (float("nan"),)
    )
    assert len({codec.encode(value) for value in (1, True, 1.0, "1", (1,), [1], {1}, frozenset({1}))}) == 8


def test_a_cached_property_does_not_change_the_bytes() -> None:
    codec, value = ValueCodec(tuple[Loose, ...]), Loose(3)
    before = codec.encode((value,))
    assert value.double == 6
    assert codec.encode((value,)) == before


def test_a_directory_with_undecodable_names_survives() -> None:
    names = [os.fsdecode(name) for name in (b"a.py", b"caf\xe9.py", "é".encode())]
    check(tuple[Entry, ...], tuple(Entry(name) for name in names))
    check(dict[str, Entry], {name: Entry(name) for name in names})


def test_a_value_settles_alike_however_deep_its_caller_stands() -> None:
    codec, value = ValueCodec(Tree[int]), chain(250)
    data, _ = codec.freeze(value)

    def far_down(levels: int) -> None:
        if levels:
            return far_down(levels - 1)
        assert codec.encode(value) == data
        assert codec.decode(data).children
        return None

    far_down(sys.getrecursionlimit() - 250)


def test_fingerprints_are_128_bits_of_blake3() -> None:
    assert fingerprint(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc949"
    assert len(fingerprint(b"x" * 10**6)) == module.FINGERPRINT_BYTES == 16


texts = st.text(st.characters())
entries = st.builds(Entry, texts, st.booleans(), st.lists(texts, max_size=3).map(tuple))
CASES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, st.floats()),
    (str, texts),
    (tuple[Entry, ...], st.lists(entries, max_size=4).map(tuple)),
    (
        dict[str, tuple[int, ...]],
        st.dictionaries(texts, st.lists(st.integers(), max_size=3).map(tuple), max_size=4),
    ),
    (frozenset[str], st.frozensets(texts)),
    (list[Entry | Other | int], st.lists(st.one_of(entries, st.builds(Other, texts), st.integers()))),
    (
        tuple[datetime | None, Decimal, Path],
        st.tuples(st.one_of(st.none(), st.datetimes()), st.decimals(), st.just(Path("a"))),
    ),
    (Data, st.builds(Data, st.floats(), st.one_of(st.none(), st.dates()))),
    (set[tuple[int, float]], st.sets(st.tuples(st.integers(), st.floats()))),
]


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(CASES).flatmap(lambda case: st.tuples(st.just(case[0]), case[1])))
def test_any_value_of_an_annotation_comes_back(case: tuple[Any, Any]) -> None:
    annotation, value = case
    check(annotation, value)
    check(Any, value)


PROGRAM = """
from typing import Any
from engine.store.codec import ValueCodec
names = [f"name{i}" for i in range(50)]
values = [
    (set[str], set(names)),
    (frozenset[str | None], frozenset([*names, None])),
    (Any, {n: {n} for n in set(names)}),
    (set[frozenset[str]], {frozenset(names[i:i+3]) for i in range(40)}),
    (dict[str, set[str]], {n: set(names) for n in set(names)}),
    (frozenset[tuple[str, int]], frozenset((n, 1) for n in names)),
    (set[float], {i / 3 for i in range(40)}),
]
print([ValueCodec(annotation).encode(value).hex() for annotation, value in values])
print([list(ValueCodec(annotation).freeze(value)[1]) for annotation, value in values[2:5:2]])
"""


def test_every_process_makes_the_same_bytes() -> None:
    assert len(printed_with_hash_seeds(PROGRAM)) == 1
