"""What cannot be a key is refused, with its place in the argument."""

from __future__ import annotations

import io
import math
import struct
import sys
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pytest

from engine.errors import UnkeyableArgument
from engine.store import canonical as module
from engine.store.canonical import canonical, restore
from tests.canonical_cases import Point
from tests.values import same, self_containing, stray


@attrs.define
class Changeable:
    x: int


@dataclass
class ChangeableData:
    x: int


class ChangeableStruct(msgspec.Struct):
    x: int


def too_deep() -> Any:
    value: Any = ()
    for _ in range(10**5):
        value = (value,)
    return value


class Zone(tzinfo):
    """Its offset is what its code says."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1)

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "UTC"


def nameless() -> ZoneInfo:
    """A zone of a file, which may lie anywhere: UTC."""
    counts = struct.pack(">6l", 0, 0, 0, 0, 1, 4)
    return ZoneInfo.from_file(io.BytesIO(b"TZif".ljust(20, b"\0") + counts + bytes(6) + b"UTC\0"))


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
    ("a zone of its own", datetime(2020, 1, 1, tzinfo=Zone()), ""),
    ("a zone without a name", datetime(2020, 1, 1, tzinfo=nameless()), ""),
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
