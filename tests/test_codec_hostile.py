"""Bytes that were changed are damage or another value; they make no class and run no code."""

from __future__ import annotations

import ast
import contextlib
import pickle
import random
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UnstorableValue, WrongValue
from engine.store.canonical import UnknownClass, known
from engine.store.codec import DamagedValue, ValueCodec
from tests.codec_cases import ANY_VALUES, EXACT
from tests.values import Entry, Longer, Other, Plain, Tree, deep


def local(field: str) -> Any:
    return attrs.make_class("Local", {field: attrs.field(type=int)}, frozen=True)


def test_two_classes_of_one_name_do_not_meet() -> None:
    first, second = local("x"), local("x")
    for cls in (first, second, first):
        several = tuple[cls, ...]  # type: ignore[valid-type]  # known when it runs
        for annotation, value in ((cls, cls(2**70)), (cls | Other, cls(1)), (several, (cls(2**70),))):
            data, seen = ValueCodec(annotation).freeze(value)
            assert seen == value == ValueCodec(annotation).decode(data)


def test_only_classes_of_the_annotation_are_made() -> None:
    entries = ValueCodec(Entry | Other)
    with pytest.raises(DamagedValue) as caught:
        entries.decode(ValueCodec(Any).encode(Longer("a")))
    assert isinstance(caught.value.__cause__, UnknownClass)
    with pytest.raises(DamagedValue, match="expected"):
        entries.decode(ValueCodec(Any).encode(3))
    with pytest.raises(DamagedValue, match="name"):
        entries.decode(ValueCodec(Any).encode(Entry(3)))  # type: ignore[arg-type]  # the claim


def test_without_annotation_an_unknown_class_is_damage_with_a_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ValueCodec(Any).encode(Other("a"))
    monkeypatch.delitem(sys.modules, Other.__module__)  # as in a process that has not loaded it
    kept = known.pop(f"{Other.__module__}:Other")
    try:
        with pytest.raises(DamagedValue) as caught:
            ValueCodec(Any).decode(data)
        assert isinstance(caught.value.__cause__, UnknownClass)
    finally:
        known[f"{Other.__module__}:Other"] = kept


class Canary:
    def __reduce__(self) -> Any:
        return (setattr, (Plain, "seen", True))


def test_pickle_is_used_only_by_who_asks_for_it() -> None:
    asked = ValueCodec(Any, pickled=True)
    value = ast.parse("x = 1")
    data, seen = asked.freeze(value)
    assert ast.dump(seen) == ast.dump(value) == ast.dump(asked.decode(data))
    assert seen is not value
    with pytest.raises(UnstorableValue):
        asked.freeze(lambda: 1)
    with pytest.raises(UnstorableValue):
        asked.freeze(deep(10**5))
    assert ValueCodec(ast.AST, pickled=True).freeze(value)[0]
    with pytest.raises(WrongValue):
        ValueCodec(int, pickled=True).freeze("x")
    assert (asked.decode(asked.encode(1)), ValueCodec(int, pickled=True).freeze(1)[1]) == (1, 1)
    evil = pickle.dumps(Canary(), 5)
    for annotation in (Any, int, str, bytes, Entry, Entry | Other, list[int]):
        for payload in (evil, b"\xc1\x02" + evil, b"\xc1\x01" + evil, data):
            with pytest.raises(DamagedValue):
                ValueCodec(annotation).decode(payload)
    for payload in (b"", b"\xc1\x02", b"\xc1\x02garbage", ValueCodec(Any).encode(1)):
        with pytest.raises(DamagedValue):
            asked.decode(payload)
    assert not hasattr(Plain, "seen")


def test_mutated_bytes_are_damaged_or_another_value() -> None:
    source = random.Random(7)
    cases = [(ValueCodec(annotation), ValueCodec(annotation).encode(value)) for annotation, value in EXACT]
    cases += [(ValueCodec(Any), ValueCodec(Any).encode([value])) for value in ANY_VALUES]
    before = set(sys.modules)
    for _ in range(30_000):
        codec, original = source.choice(cases)
        data = bytearray(original)
        for _ in range(source.randint(1, 4)):
            where = source.randrange(len(data) + 1)
            match source.randrange(3):
                case 0:
                    data[where : where + 1] = source.randbytes(1)
                case 1:
                    del data[where:]
                    data += source.randbytes(2)
                case _:
                    data[where:where] = source.randbytes(source.randint(1, 3))
        with contextlib.suppress(DamagedValue):
            seen = codec.decode(bytes(data))
            codec.freeze(seen)  # what was decoded fits the annotation
    assert set(sys.modules) == before


HOSTILE = [
    *(
        b"",
        b"\xc1",
        b"\xc1\x01",
        b"\xc1\x01\xc1",
        b"\x91" * 10**5,
        b"\xc1\x01" + b"\x91" * 10**5,
        b"\xdd\xff\xff\xff\xff",
    ),
    *(
        b"\xc1\x01\xdd\xff\xff\xff\xff",
        b"\xdd\x0f\xff\xff\xff" * 900,
        b"\xc1\x01\x80",
        b"\xd6\xff\x00\x00\x00\x01",
    ),
]


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: data[:8].hex())
def test_hostile_bytes_are_damaged(data: bytes) -> None:
    for annotation in (
        Any,
        int,
        str,
        Entry,
        Entry | Other,
        list[int],
        Tree[int],
        dict[int, str],
        datetime,
        Path,
    ):
        with pytest.raises(DamagedValue):
            ValueCodec(annotation).decode(data)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([annotation for annotation, _ in EXACT]), st.binary(max_size=100), st.booleans())
def test_any_bytes_are_damaged_or_a_value(annotation: Any, data: bytes, tagged: bool) -> None:
    codec = ValueCodec(annotation)
    with contextlib.suppress(DamagedValue):
        codec.freeze(codec.decode(b"\xc1\x01" + data if tagged else data))
