"""Annotations may name what stands further down, or is there for type checkers alone.

From Python 3.14 on without quotes and without an import from `__future__`; before that, those make it so.
"""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from engine import Engine
from engine.cli.arguments import key_of_texts
from engine.errors import BadArguments, BadQuery, BadTable
from engine.tables.row_shape import row_shape
from tests.loading import fresh, load

__all__ = ["fresh"]  # a fixture

HEADS = ["from __future__ import annotations\n", *([""] if sys.version_info >= (3, 14) else [])]
RULES = """
from typing import TYPE_CHECKING, Iterable, NamedTuple, TypedDict
import attrs
from engine import Sum, each, fold, input, query, table
if TYPE_CHECKING:
    from nowhere import Nobody

@input
def start() -> Later:
    return Later(1)

@query
def following(later: Later, steps: int = 1) -> Later:
    return Later(later.n + steps)

@query(batch=True)
def doubled(several: list[Later]) -> list[Later]:
    return [Later(2 * one.n) for one in several]

@query
def total() -> int:
    return following(start()).n + sum(one.n for one in each(doubled, [Later(1), Later(2)]))

@query
def numbers() -> tuple[int, ...]:
    return (1, 2)

@table(each=numbers, index=("half",))
def rows(number: int) -> Iterable[Row]:
    yield Row(number, number // 2)

@query
def sizes() -> Sizes:
    return {"one": Later(1), "two": 2}

@query
def unknown() -> Unknown:
    return {"one": 1, "two": 2}

@query
def nobody() -> Nobody:
    return 1

@query
def wrong(n: Odd[int]) -> int:
    return n

@input
def given() -> Nobody:
    return 1

@query(batch=True)
def nobodies(several: list[int]) -> list[Nobody]:
    return several

@table(each=numbers)
def known(number: int) -> Iterable[Known]:
    yield Known(number)

@table(each=numbers)
def unknown_rows(number: int) -> Iterable[Nobody]:
    yield number

@query
def plus(number: int, later: Later | None = None) -> int:
    return number + 1

class Later(NamedTuple):
    n: int

@attrs.frozen
class Row:
    number: int
    half: int

class Odd:
    def __class_getitem__(cls, of):
        raise ImportError("what it needs is not there")

@attrs.frozen
class Known:
    who: Nobody

class Sizes(TypedDict, total=False):
    one: Later
    two: int

class Unknown(TypedDict):
    one: Nobody
    two: int
"""


@pytest.fixture(params=HEADS, ids=lambda head: head.strip() or "plain")
def rules(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return load(tmp_path, request.param + RULES)


def test_queries_inputs_batches_and_tables_may_name_what_stands_further_down(
    rules: Any, tmp_path: Path
) -> None:
    for number in range(2):
        with Engine(tmp_path / "store") as db:
            assert db.get(rules.total) == 2 + 2 + 4
            assert db.get(rules.following, rules.Later(3), steps=2) == rules.Later(5)
            assert db.get(rules.rows.where, half=1) == (rules.Row(2, 1),)
            assert db.get(rules.sizes) == {"one": rules.Later(1), "two": 2}
            assert (db.counts().executed == 0) is (number > 0)


def test_a_refused_call_shows_such_a_parameter_as_it_is_written(rules: Any) -> None:
    with pytest.raises(BadArguments) as refused:
        rules.following.key()
    assert "Later" in str(refused.value)
    assert "ForwardRef" not in str(refused.value)


def test_arguments_of_the_command_line_are_read_by_such_annotations(rules: Any) -> None:
    assert key_of_texts(rules.plus, ["2"]) == rules.plus.key(2)


def test_a_class_with_a_field_that_is_known_to_type_checkers_alone_has_a_shape(rules: Any) -> None:
    assert "one: " in row_shape(rules.Unknown)
    assert row_shape(rules.Unknown) == row_shape(rules.Unknown)
    assert "two: " in row_shape(rules.Sizes)


def test_such_a_field_is_taken_for_anything(rules: Any) -> None:
    with Engine(None) as db:
        assert db.get(rules.unknown) == {"one": 1, "two": 2}


@pytest.mark.parametrize("name", ["nobody", "given", "nobodies", "known", "unknown_rows"])
def test_a_result_that_is_known_to_type_checkers_alone_is_refused_in_words(rules: Any, name: str) -> None:
    asked = getattr(rules, name)
    arguments = [1] if name == "nobodies" else []
    with Engine(None) as db, pytest.raises((BadQuery, BadTable)) as refused:
        db.get(getattr(asked, "where", asked), *arguments)
    assert "an annotation cannot be resolved: name 'Nobody' is not defined" in str(refused.value)
    assert name in str(refused.value)


def test_an_annotation_that_fails_is_refused_in_words_whatever_it_raises(rules: Any) -> None:
    """It may name what a `lazy import` of Python 3.15 brings."""
    with Engine(None) as db, pytest.raises(BadQuery) as refused:
        db.get(rules.wrong, 1)
    assert "an annotation cannot be resolved: what it needs is not there" in str(refused.value)


def test_rows_may_be_of_a_module_that_is_still_being_loaded_where_the_table_is_defined(
    tmp_path: Path,
) -> None:
    """As where two modules import each other with the `lazy` of Python 3.15."""
    text = """
    from collections.abc import Iterable
    from types import SimpleNamespace
    import attrs
    from engine import query, table
    other = SimpleNamespace()

    @query
    def numbers() -> tuple[int, ...]:
        return (1, 2)

    @table(each=numbers, index=("number",))
    def rows(number: int) -> Iterable[other.Row]:
        yield other.Row(number)

    @attrs.frozen
    class Row:
        number: int
    other.Row = Row
    """
    for head in HEADS:
        module = load(tmp_path, head + dedent(text))
        with Engine(None) as db:
            assert db.get(module.rows.where, number=2) == (module.Row(2),)
