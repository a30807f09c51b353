"""What a `type` statement stands for counts like what it is short for. Before Python 3.12 there is none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, WrongValue
from engine.cli.convert import convert
from engine.store.codec import ValueCodec
from engine.tables.row_shape import row_shape
from tests.loading import fresh, load

__all__ = ["fresh"]  # a fixture

RULES = """
from collections.abc import Iterable
from typing import TYPE_CHECKING
import attrs
from engine import query, table
if TYPE_CHECKING:
    from nowhere import Nobody

type Number = int
type Pair[T] = tuple[T, T]
type Turned[A, B] = dict[B, A]
type Json = dict[str, Json] | list[Json] | int | str | None
type Nested[T] = list[Nested[T]] | T
type Unknown = tuple[Nobody, ...]
type Endless = Endless

@query
def pair() -> Pair[int]:
    return (1, 2)

@query
def json() -> Json:
    return {"b": [1, {"a": None}], "a": "x"}

@query
def unknown() -> Unknown:
    return (1,)

@query
def numbers() -> tuple[int, ...]:
    return (1, 2)

@attrs.frozen
class Row:
    number: Number
    half: Number | None
    pair: Pair[int]
    json: Json
    unknown: Unknown

@table(each=numbers, index=("half",))
def rows(number: int) -> Iterable[Row]:
    yield Row(number, number // 2 or None, (1, 2), {"a": [number]}, ())
"""


@pytest.fixture
def rules(tmp_path: Path) -> Any:
    """The module, or None where Python does not know the statement."""
    if sys.version_info >= (3, 12):
        return load(tmp_path, RULES)
    with pytest.raises(SyntaxError):
        load(tmp_path, RULES)
    return None


def test_values_under_an_alias_are_kept_and_come_back(rules: Any, tmp_path: Path) -> None:
    for number in range(2 if rules else 0):
        with Engine(tmp_path / "store") as db:
            assert db.get(rules.pair) == (1, 2)
            assert db.get(rules.json) == {"b": [1, {"a": None}], "a": "x"}
            assert db.get(rules.unknown) == (1,)
            assert [row.number for row in db.get(rules.rows.where, half=1)] == [2]
            assert [row.json for row in db.get(rules.rows.where)] == [{"a": [1]}, {"a": [2]}]
            assert (db.counts().executed == 0) is (number > 0)


def test_a_value_must_fit_what_the_alias_stands_for(rules: Any) -> None:
    def codec(text: str) -> ValueCodec:
        return ValueCodec(eval(text, vars(rules)))

    for text, right, wrong in (
        [
            ("Number", 1, "x"),
            ("Pair[int]", (1, 2), (1, "x")),
            ("Turned[int, str]", {"a": 1}, {1: "a"}),
            ("Json", {"a": [1, None, {"b": "x"}]}, {"a": [1, {"b": 1.5}]}),
            ("Nested[int]", [1, [2, [3]]], [1, ["x"]]),
            ("Unknown", (1,), None),
            ("Endless", None, None),
        ]
        if rules
        else []
    ):
        made = codec(text)
        if text != "Endless":  # which nothing is
            assert made.decode(made.encode(right)) == right
        if wrong is not None:
            with pytest.raises(WrongValue):
                made.encode(wrong)


def test_what_an_alias_stands_for_is_part_of_the_shape_of_rows(rules: Any) -> None:
    def shape(text: str) -> str:
        return row_shape(eval(text, vars(rules)))

    if rules:
        assert shape("Pair[int]") == shape("tuple[int, int]") != shape("Pair[str]")
        assert shape("Turned[int, str]") == shape("dict[str, int]")
        assert shape("Json") == shape("Json") != shape("Nested[int]") != shape("Nested[str]")
        assert shape("Unknown") == shape("Unknown")
        assert "half: " in shape("Row")


def test_a_column_under_an_alias_is_kept_like_what_it_is_short_for(rules: Any, tmp_path: Path) -> None:
    """Both have one shape, so what was written for one is read for the other."""
    if rules:
        from engine.tables.columns import Columns

        columns = Columns("rows", rules.Row).encode([rules.Row(2, 1, (1, 2), None, ())])[0]
        assert columns[:2] == (2, 1)


def test_arguments_of_the_command_line_are_read_by_what_the_alias_stands_for(rules: Any) -> None:
    for given, text, value in (
        [
            ("1", "Number", 1),
            ("[1, 2]", "Pair[int]", (1, 2)),
            ('{"a": 1}', "Json", {"a": 1}),
            ("[1]", "Unknown", (1,)),
        ]
        if rules
        else []
    ):
        assert convert(given, eval(text, vars(rules))) == value
