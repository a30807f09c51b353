"""Bytes that nobody wrote are a ValueError or a value."""

from __future__ import annotations

import contextlib
import random
import sys

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.store.canonical import canonical, restore
from tests.canonical_cases import DIFFERENT


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


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_error_or_a_value(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        restore(data)
