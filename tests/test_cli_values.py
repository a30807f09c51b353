"""Values as trees and as JSON, and texts as values of an annotation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Flag, auto
from pathlib import Path
from typing import Any

import pytest

from engine.cli.convert import convert
from engine.cli.output import plain, shown
from engine.errors import NoJson


def test_values_are_shown_as_trees() -> None:
    from attrs import frozen

    @frozen
    class Part:
        name: str
        sizes: tuple[int, ...]

    value = {"first": Part("x", (1, 2)), "second": (), "third": None}
    assert list(shown(value)) == [
        "first:", "  name: x", "  sizes:", "    1", "    2", "second: (none)", "third: None",
    ]  # fmt: skip
    assert list(shown(frozenset({2, 1}))) == ["1", "2"]
    assert list(shown(())) == list(shown("")) == []
    assert list(shown((("a", 1), ("b", 2)))) == ["a  1", "b  2"]
    assert list(shown(b"\xff")) == ["b'\\xff'"]


def test_json_has_one_form_for_each_value() -> None:
    assert plain({2: {3, 1}, 1: Path("a/b")}) == {"1": "a/b", "2": [1, 3]}
    assert json.dumps(plain("\udc80")) == '"\\udc80"'
    with pytest.raises(NoJson, match="object is not supported"):
        plain(object())


def test_what_is_inside_of_a_member_without_a_name_stands_below_it() -> None:
    value = {"a": (1, {"b": ({"c": 2},)})}
    assert list(shown(value)) == ["a:", "  1", "  dict:", "    b:", "      dict(c=2)"]
    assert list(shown(({"d": {"e": ()}},))) == ["dict:", "  d:", "    e: (none)"]


def test_a_number_of_any_length_is_shown_and_in_json_it_is_a_text() -> None:
    assert list(shown(10**5000)) == ["1" + "0" * 5000]
    assert list(shown({"a": (-(10**5000),)})) == ["a:", "  -1" + "0" * 5000]
    assert list(shown(({"a": 10**5000},))) == [f"dict(a=1{'0' * 5000})"]
    assert plain([10**5000, -(10**5000), 10**4299, True]) == [
        "1" + "0" * 5000, "-1" + "0" * 5000, 10**4299, True,
    ]  # fmt: skip
    assert plain((float("nan"), float("-inf"))) == ["NaN", "-Infinity"]


def test_a_value_that_cannot_say_what_it_is_is_shown_as_such() -> None:
    class Silent:
        def __repr__(self) -> str:
            raise RuntimeError

    assert list(shown((Silent(),))) == ["<Silent: repr failed with RuntimeError>"]


def test_flags_that_are_not_set_are_shown_too() -> None:
    class Way(Flag):
        IN = auto()
        OUT = auto()

    assert list(shown(Way.IN)) == ["IN"]
    assert list(shown((Way.IN | Way.OUT, Way(0)))) == ["IN|OUT", "<Way: 0>"]
    assert list(shown(Way(0))) == ["<Way: 0>"]


@pytest.mark.parametrize("levels", [150, 600, 3000])
def test_a_value_without_end_is_shown_as_far_as_a_store_keeps_one(levels: int) -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = ()
    for _ in range(levels):
        deep = [deep]
    for value in (endless, deep):
        found = list(shown(value))
        assert (len(found), found[-1].strip()) == (102, "…")
    with pytest.raises(NoJson):
        plain(endless)


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("1e3", float, 1000.0),
        ("yes", bool, True),
        ("x", bytes, b"x"),
        ("a/b", Path, Path("a/b")),
        ("2026-11-22", __import__("datetime").date, __import__("datetime").date(2026, 11, 22)),
        ("3", int | str, 3),
        ("x", int | str, "x"),
        ("null", str | None, None),
        ('["a"]', frozenset[str], frozenset({"a"})),
        ('{"a": [1]}', dict[str, list[int]], {"a": [1]}),
        ('["a/b"]', tuple[Path, ...], (Path("a/b"),)),
    ],
)
def test_texts_become_values_of_the_annotation(text: str, hint: Any, value: object) -> None:
    found = convert(text, hint)
    assert (found, type(found)) == (value, type(value))


@dataclass(frozen=True)
class Known:
    """What looks itself up when it is made."""

    number: int

    def __post_init__(self) -> None:
        {0: "nothing"}[self.number]


def test_a_class_that_refuses_a_value_by_any_error_is_told_as_an_argument_that_does_not_fit() -> None:
    assert convert('{"number": 0}', Known) == Known(0)
    with pytest.raises(ValueError, match=r"^KeyError: 1$"):
        convert('{"number": 1}', Known)
