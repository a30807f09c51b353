"""What is merged and never taken out: the smallest, the largest, merges of one's own."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import EmptyFold
from engine.tables.accumulate import Max, Merge, Min
from tests.accumulated import INF, NAN, folded, plus, same


@given(st.lists(st.integers() | st.floats(allow_nan=False), min_size=1))
def test_the_smallest_and_largest_are_those_of_python_the_first_of_equal_ones(values: list[float]) -> None:
    assert same(folded(Min(), values), min(values))
    assert same(folded(Max(), values), max(values))


def test_a_nan_is_the_smallest_and_the_largest_wherever_it_stands() -> None:
    for values in ([NAN, 1.0], [1.0, NAN], [1.0, NAN, 0.0, NAN, INF]):
        assert math.isnan(folded(Min(), values))
        assert math.isnan(folded(Max(), values))


def test_of_no_members_the_smallest_is_the_default_or_a_clear_error() -> None:
    assert folded(Min(default=None), []) is None
    assert folded(Max(default=-1), []) == -1
    with pytest.raises(EmptyFold, match=r"Min\(default=\.\.\.\)"):
        folded(Min(), [])
    with pytest.raises(EmptyFold):
        folded(Max(), [])


def test_a_merge_keeps_the_order_of_members() -> None:
    assert folded(Merge(plus, ""), ["c", "a", "b"]) == "cab"
    assert folded(Merge(plus, "nothing"), []) == "nothing"
