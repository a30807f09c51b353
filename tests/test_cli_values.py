"""Values as trees and as JSON, and texts as values of an annotation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.cli.convert import convert
from engine.cli.output import plain, shown
from engine.errors import UnstorableValue


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
    with pytest.raises(UnstorableValue, match="no form in JSON"):
        plain(object())


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
