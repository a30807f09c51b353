"""A sum is exact, and has the type that Python's has."""

from __future__ import annotations

import enum
import math
from datetime import timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UnfoldableValue
from engine.key import short
from engine.store.canonical import pack
from engine.tables.accumulate import Sum, change
from tests.accumulated import DECIMALS, INF, NAN, TIMES, folded, same


@given(st.lists(st.floats(-1e300, 1e300) | st.floats(-1, 1), min_size=1))
def test_a_sum_of_floats_is_rounded_once_as_by_fsum(values: list[float]) -> None:
    assert same(folded(Sum(), values), math.fsum(values) + 0.0)


@given(st.lists(st.integers() | st.booleans()))
def test_a_sum_of_ints_is_an_exact_int(values: list[int]) -> None:
    assert same(folded(Sum(), values), sum(values))


@given(st.lists(st.integers(-(2**70), 2**70) | st.floats(-1e20, 1e20), min_size=1))
def test_ints_and_floats_together_are_exact_and_rounded_once(values: list[float]) -> None:
    exact = sum(map(Fraction, values))
    expected = float(exact) if any(isinstance(value, float) for value in values) else int(exact)
    assert same(folded(Sum(), values), expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], 0),
        ([True, True], 2),
        ([1, 0.0], 1.0),
        ([-0.0], 0.0),
        ([-0.0, -0.0], 0.0),
        ([1e100, 1.0, -1e100], 1.0),
        ([0.1] * 10, 1.0),
        ([5e-324, 5e-324], 1e-323),
        ([INF, 1.0], INF),
        ([-INF, 1], -INF),
        ([INF, -INF], NAN),
        ([NAN, INF], NAN),
        ([1e308, 1e308], INF),
        ([-1e308, -1e308], -INF),
        ([1e308, 1e308, -1e308], 1e308),
        ([10**400, 0.5], INF),
        ([-(10**400), 0.5], -INF),
        ([10**400, -(10**400), 0.5], 0.5),
        ([Decimal("1.10"), Decimal("2.9")], Decimal("4.00")),
        ([Decimal("1E+3")], Decimal("1000")),
        ([Decimal("-0.0")], Decimal("0.0")),
        ([Decimal("1E+40"), Decimal("1E-10"), 1], Decimal("1" + "0" * 39 + "1.0000000001")),
    ],
)
def test_a_sum_has_the_value_and_the_type_that_sum_gives_but_exact(values: list[Any], expected: Any) -> None:
    assert same(folded(Sum(), values), expected)


@given(st.lists(DECIMALS, min_size=1))
def test_a_sum_of_decimals_is_what_a_context_without_limits_gives(values: list[Any]) -> None:
    with localcontext() as context:
        context.prec = 10_000
        expected = sum(values)
    with localcontext() as context:
        context.prec = 3
        assert same(folded(Sum(), values), expected)


@given(st.lists(TIMES))
def test_a_sum_of_times_starts_from_no_time(values: list[timedelta]) -> None:
    assert same(folded(Sum(timedelta()), values), sum(values, timedelta()))


def test_a_sum_is_an_int_again_when_the_last_float_goes() -> None:
    into = Sum()
    state = reduce(into.add, [1, 2, 0.5, INF, NAN], into.zero())
    state = reduce(into.remove, [NAN, 0.5, INF], state)
    assert same(into.result(state), 3)


def test_a_start_is_added_and_gives_the_type_of_the_empty_sum() -> None:
    assert same(folded(Sum(0.0), []), 0.0)
    assert same(folded(Sum(0.0), [1, 2]), 3.0)
    assert same(folded(Sum(10), [1, 2]), 13)
    assert same(folded(Sum(Decimal()), []), Decimal())


class Size(enum.IntEnum):
    TWO = 2


class Meters(float):
    pass


def test_subclasses_of_int_and_float_are_summed_as_such() -> None:
    assert same(folded(Sum(), [Size.TWO, 1]), 3)
    assert same(folded(Sum(), [Meters(1.5)]), 1.5)


@pytest.mark.parametrize(
    "value",
    [
        "1",
        None,
        1j,
        Fraction(1, 3),
        Decimal("nan"),
        Decimal("sNaN"),
        Decimal("-inf"),
        Decimal("1E+7000"),
        [1],
    ],
)
def test_what_has_no_exact_sum_is_refused_when_it_is_added(value: Any) -> None:
    with pytest.raises(UnfoldableValue, match="no exact sum") as error:
        Sum().add((), value)
    assert error.value.fields["value"] == short(value)
    with pytest.raises(UnfoldableValue):
        Sum(value)


@pytest.mark.parametrize(
    "values",
    [
        [Decimal(1), 0.5],
        [Decimal(1), NAN],
        [Decimal(1), INF],
        [timedelta(1), 2.0],
        [timedelta(1), Decimal(1)],
    ],
)
def test_mixtures_that_python_does_not_add_are_refused_until_one_part_is_gone(values: list[Any]) -> None:
    into: Any = Sum(timedelta()) if timedelta(1) in values else Sum()
    state = reduce(into.add, values, into.zero())
    with pytest.raises(UnfoldableValue, match="cannot be summed"):
        into.result(state)
    assert same(into.result(into.remove(state, values[1])), values[0])


def test_times_that_start_from_the_number_0_are_refused_with_what_to_say() -> None:
    with pytest.raises(UnfoldableValue, match=r"Say Sum\(timedelta\(\)\)"):
        folded(Sum(), [timedelta(1)])
    with pytest.raises(UnfoldableValue, match="beyond"):
        folded(Sum(timedelta()), [timedelta.max, timedelta.max])


def test_a_sum_over_100_000_members_is_as_short_as_over_one() -> None:
    into = Sum()
    state = change(into, into.zero(), (), [number / 7 for number in range(100_000)])
    assert len(state) == 2
    assert len(pack(state)) < 400
