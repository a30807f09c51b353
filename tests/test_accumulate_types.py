"""The type of a fold follows from its values and its accumulator: mypy and pyright check it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar, assert_type, overload

import pytest

from engine.errors import UnfoldableValue
from engine.tables.accumulate import (
    Accumulator,
    Associative,
    Count,
    Into,
    Invertible,
    Max,
    Merge,
    Min,
    Set,
    Sum,
)
from tests.accumulated import Longest, Parity, folded

V = TypeVar("V")
R = TypeVar("R")


@overload
def fold(of: Callable[[str], V], into: Accumulator[V, R], members: Sequence[str]) -> R: ...
@overload
def fold(of: Callable[[str], V], into: Invertible[V, Any, R], members: Sequence[str]) -> R: ...
@overload
def fold(of: Callable[[str], V], into: Associative[V, Any, R], members: Sequence[str]) -> R: ...
def fold(of: Callable[[str], Any], into: Any, members: Sequence[str]) -> Any:
    """From scratch, and typed as the fold of the face is."""
    return folded(into, [of(member) for member in members])


def declared(into: Into[str, R]) -> Into[str, R]:
    return into


def an_int(member: str) -> int:
    return len(member)


def a_bool(member: str) -> bool:
    return bool(member)


def a_float(member: str) -> float:
    return len(member) / 2


def a_decimal(member: str) -> Decimal:
    return Decimal(len(member))


def a_time(member: str) -> timedelta:
    return timedelta(len(member))


def a_text(member: str) -> str:
    return member


def texts(member: str) -> tuple[str, ...]:
    return tuple(member)


def longer(left: tuple[str, ...], right: tuple[str, ...]) -> tuple[str, ...]:
    return left + right


def test_the_type_of_a_fold_follows_from_the_values_and_the_accumulator() -> None:
    members = ("a", "bc")
    assert_type(fold(an_int, Sum(), members), int)
    assert_type(fold(a_bool, Sum(), members), bool | int)
    assert_type(fold(a_float, Sum(), members), float | int)
    assert_type(fold(a_float, Sum(0.0), members), float)
    assert_type(fold(a_decimal, Sum(), members), Decimal | int)
    assert_type(fold(a_time, Sum(timedelta()), members), timedelta)
    assert_type(fold(a_text, Count(), members), int)
    assert_type(fold(a_text, Set(), members), frozenset[str])
    assert_type(fold(texts, Set(flatten=True), members), frozenset[str])
    assert_type(fold(a_text, Min(), members), str)
    assert_type(fold(a_text, Max(default=None), members), str | None)
    assert_type(fold(texts, Merge[tuple[str, ...]](longer, ()), members), tuple[str, ...])
    assert_type(fold(a_text, Longest(), members), bytes)
    assert_type(fold(a_text, Parity(), members), bool)
    assert_type(declared(Longest()), Into[str, bytes])


def test_type_checkers_refuse_values_that_do_not_fit() -> None:
    """An ignore that is not needed is an error of mypy: these lines are wrong, and it says so."""
    with pytest.raises(UnfoldableValue):
        fold(a_text, Sum(), ("a",))  # type: ignore[arg-type]  # pyright: ignore
    with pytest.raises(UnfoldableValue):
        fold(an_int, Set(flatten=True), ("a",))  # type: ignore[misc]  # pyright: ignore
    with pytest.raises(TypeError):
        fold(an_int, Longest(), ("a",))  # type: ignore[arg-type]  # pyright: ignore
