"""Values come and go in any order and leave no trace."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.store.canonical import known, pack, unpack
from engine.tables.accumulate import Count, Set, Sum, change
from tests.accumulated import DECIMALS, NUMBERS, TIMES, VALUES, same


def check_history(into: Any, values: list[Any], draw: random.Random) -> None:
    """Values and guests come, guests go, in any order, with restarts: no trace is left, byte for byte."""
    once = change(into, into.zero(), (), values)
    steps = [*values, *values]
    draw.shuffle(steps)
    state = into.zero()
    for value in steps:
        state = into.add(state, value)
        state = unpack(pack(state), known)
    leaving = list(values)
    draw.shuffle(leaving)
    for value in leaving:
        before = pack(state)
        after = into.remove(state, value)
        assert pack(state) == before  # not in place
        state = after
    assert same(state, once)
    assert same(change(into, change(into, once, (), values), values, ()), once)
    assert same(change(into, once, values, ()), into.zero())


@given(st.lists(NUMBERS), st.randoms(use_true_random=False))
def test_a_sum_of_numbers_does_not_depend_on_who_came_and_went(
    values: list[Any], draw: random.Random
) -> None:
    check_history(Sum(), values, draw)


@given(st.lists(DECIMALS), st.randoms(use_true_random=False))
def test_a_sum_of_decimals_does_not_depend_on_who_came_and_went(
    values: list[Any], draw: random.Random
) -> None:
    check_history(Sum(), values, draw)


@given(st.lists(TIMES), st.randoms(use_true_random=False))
def test_a_sum_of_times_does_not_depend_on_who_came_and_went(values: list[Any], draw: random.Random) -> None:
    check_history(Sum(timedelta()), values, draw)


@given(st.lists(VALUES), st.randoms(use_true_random=False))
def test_sets_and_counts_do_not_depend_on_who_came_and_went(values: list[Any], draw: random.Random) -> None:
    check_history(Set(), values, draw)
    check_history(Set(flatten=True), [(value, 1, value) for value in values], draw)
    check_history(Count(), values, draw)


@pytest.mark.parametrize(
    ("into", "added", "missing"), [(Sum(), 3, 2.5), (Sum(0.0), 2, 3), (Set(), 3, 5), (Set(), 1, True)]
)
def test_taking_out_what_was_never_added_is_noticed(into: Any, added: Any, missing: Any) -> None:
    with pytest.raises(ValueError, match="never added"):
        into.remove(into.add(into.zero(), added), missing)
