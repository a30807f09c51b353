"""What a fold can reduce into is told by its methods; anything else is refused early."""

from __future__ import annotations

from typing import Any, cast

import pytest

from engine.errors import BadFold, BadQuery
from engine.tables.accumulate import Count, Max, Merge, Min, Set, Sum, is_invertible
from tests.accumulated import Longest, Parity, folded, plus


class OnlyAdds:
    zero = add = result = len


class OnlyRemoves:
    zero = remove = result = len


class NoLift:
    empty = merge = result = len


class NotCallable(Parity):
    remove = None  # type: ignore[assignment]  # the claim


class Both(Longest, Parity):  # type: ignore[misc]  # the claim
    pass


def test_classes_of_ones_own_are_told_apart_by_their_methods() -> None:
    assert [is_invertible(into) for into in (Sum(), Count(), Set(), Parity(), Both())] == [True] * 5
    assert [is_invertible(into) for into in (Min(), Max(), Merge(plus, ""), Longest())] == [False] * 4
    assert folded(Longest(), ["a", "abc", "ab"]) == b"abc"
    assert folded(Parity(), ["a", "", "b"]) is False


@pytest.mark.parametrize(
    ("into", "missing"),
    [
        (OnlyAdds(), "remove"),
        (OnlyRemoves(), "add"),
        (NotCallable(), "remove"),
        (NoLift(), "lift"),
        (len, "zero, add, remove, result; or empty, lift, merge, result"),
        (0, "zero, add, remove, result; or empty, lift, merge, result"),
    ],
)
def test_what_is_no_accumulator_is_refused_with_what_is_missing(into: object, missing: str) -> None:
    with pytest.raises(BadFold) as caught:
        is_invertible(into)
    assert caught.value.fields["missing"] == missing
    assert isinstance(caught.value, BadQuery)


def test_a_class_in_place_of_an_instance_is_refused_with_what_to_write() -> None:
    with pytest.raises(BadFold, match=r"write Sum\(\)"):
        is_invertible(Sum)
    with pytest.raises(BadFold, match="Merge"):
        Merge(cast(Any, ""), "")


def test_accumulators_show_what_was_said() -> None:
    shown = [Sum(), Sum(0.0), Count(), Set(), Set(flatten=True), Min(), Max(default=None), Merge(plus, "")]
    assert [repr(into) for into in shown] == [
        "Sum()",
        "Sum(0.0)",
        "Count()",
        "Set()",
        "Set(flatten=True)",
        "Min()",
        "Max(default=None)",
        "Merge(plus, '')",
    ]
