"""Mistakes of who embeds the engine: each is told with its place and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import BadQuery, BadSettings, Engine, EngineError, WrongValue, each, input, query

PLAIN: Any = len  # Any: a checker of types would tell of these mistakes before
TWO: Any = "two"


@input
def limit() -> int:
    return 1


@query
def doubled() -> int:
    return 2 * limit()


def test_an_input_without_arguments_is_set_and_reset_by_its_name() -> None:
    with Engine(None) as db:
        db.set(limit, 5)
        assert db.get(doubled) == 10
        db.reset(limit)
        assert db.get(doubled) == 2


def test_a_value_of_another_type_is_told_with_the_input_that_it_was_meant_for() -> None:
    wrong: Any = "five"
    with Engine(None) as db, pytest.raises(WrongValue) as error:
        db.set(limit.key(), wrong)
    assert error.value.fields == {"input": "test_misuse:limit()", "expected": "int", "got": "str"}
    assert str(error.value).startswith("an input was set to something other")


@pytest.mark.parametrize(
    ("mistake", "kind", "told"),
    [
        (lambda db: each(PLAIN, [1]), BadQuery, "Decorate the function"),
        (lambda db: db.set(PLAIN, 1), BadQuery, "Decorate the function"),
        (lambda db: db.set(doubled, 1), EngineError, "Set one of the inputs that it reads"),
        (lambda db: db.gc(), BadSettings, "Engine(path)"),
        (lambda db: Engine(None, workers=TWO), BadSettings, "whole numbers"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(
    mistake: Callable[[Engine], object], kind: type[EngineError], told: str
) -> None:
    with Engine(None) as db, pytest.raises(kind) as error:
        mistake(db)
    assert told in error.value.hint


def test_reading_a_store_that_is_not_there_says_that_nothing_was_stored(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as error:
        Engine(tmp_path / "none", read_only=True)
    assert "Nothing was stored there yet" in str(error.value)
