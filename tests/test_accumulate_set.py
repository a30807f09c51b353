"""A set holds a value until its last member goes."""

from __future__ import annotations

from functools import reduce
from typing import Any

import pytest

from engine.errors import UnfoldableValue
from engine.key import short
from engine.tables.accumulate import Set, change
from tests.accumulated import folded


def test_a_set_keeps_a_value_until_its_last_member_goes() -> None:
    into = Set()
    state = reduce(into.add, ["a", "b", "a"], into.zero())
    assert into.result(state) == {"a", "b"}
    state = into.remove(state, "a")
    assert into.result(state) == {"a", "b"}
    assert into.result(into.remove(state, "a")) == {"b"}


def test_a_set_tells_apart_what_python_finds_equal() -> None:
    into = Set()
    state = reduce(into.add, [1.0, True, 1], into.zero())
    assert [type(value) for value in into.result(state)] == [int]  # the bytes of 1 sort first
    assert [type(value) for value in into.result(into.remove(state, 1))] == [bool]
    assert state == reduce(into.add, [1, 1.0, True], into.zero())


def test_a_flat_set_takes_the_values_out_of_each_member() -> None:
    assert folded(Set(flatten=True), [("a", "b"), (), ("b", "b", "c")]) == {"a", "b", "c"}


@pytest.mark.parametrize(("into", "value"), [(Set(), [1]), (Set(), object()), (Set(flatten=True), 5)])
def test_a_set_refuses_values_that_it_cannot_hold(into: Any, value: Any) -> None:
    with pytest.raises(UnfoldableValue) as error:
        into.add((), value)
    assert error.value.fields["value"] == short(value)


def test_a_set_of_100_000_values_is_made_at_once() -> None:
    values = [f"name {number}" for number in range(100_000)]
    into = Set()
    state = change(into, into.zero(), (), values)  # one by one it would copy 5 * 10**9 entries
    assert len(into.result(change(into, state, values[:10], ["new"]))) == 99_991
