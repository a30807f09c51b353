"""What a fold reduces into: exact, order-free where values can be taken out, typed, and refused early."""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import reduce
from typing import Any, TypeVar, assert_type, cast, overload

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.accumulate import (
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
    change,
    is_invertible,
)
from engine.errors import BadFold, BadQuery, EmptyFold, UnfoldableValue
from engine.store.canonical import known, pack, unpack

V = TypeVar("V")
R = TypeVar("R")

INF, NAN = math.inf, math.nan


@overload
def fold(of: Callable[[str], V], into: Accumulator[V, R], members: Sequence[str]) -> R: ...
@overload
def fold(of: Callable[[str], V], into: Invertible[V, Any, R], members: Sequence[str]) -> R: ...
@overload
def fold(of: Callable[[str], V], into: Associative[V, Any, R], members: Sequence[str]) -> R: ...
def fold(of: Callable[[str], Any], into: Any, members: Sequence[str]) -> Any:
    """From scratch, and typed as the fold of the face is."""
    return folded(into, [of(member) for member in members])


def folded(into: Any, values: Sequence[Any]) -> Any:
    if is_invertible(into):
        return into.result(change(into, into.zero(), (), values))
    return into.result(reduce(into.merge, map(into.lift, values)) if values else into.empty())


def declared(into: Into[str, R]) -> Into[str, R]:
    return into


def same(one: object, other: object) -> bool:
    """Equal bit for bit, type for type."""
    return pack(one) == pack(other)


NUMBERS = st.one_of(
    st.integers(), st.booleans(), st.floats(), st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324, INF, NAN])
)
DECIMALS = (
    st.decimals(allow_nan=False, allow_infinity=False, places=3)
    | st.integers()
    | st.sampled_from([Decimal("1E+30"), Decimal("-0.00"), Decimal("0E+5")])
)
TIMES = st.timedeltas(timedelta(days=-9_999), timedelta(days=9_999))
VALUES = st.one_of(st.integers(-2, 2), st.booleans(), st.sampled_from([0.0, -0.0, 1.0, "a", "", None, (1,)]))


# -- what comes and goes -------------------------------------------------------------------------


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


# -- Sum -----------------------------------------------------------------------------------------


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
    with pytest.raises(UnfoldableValue, match="no exact sum"):
        Sum().add((), value)
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


@pytest.mark.parametrize(
    ("into", "added", "missing"), [(Sum(), 3, 2.5), (Sum(0.0), 2, 3), (Set(), 3, 5), (Set(), 1, True)]
)
def test_taking_out_what_was_never_added_is_noticed(into: Any, added: Any, missing: Any) -> None:
    with pytest.raises(ValueError, match="never added"):
        into.remove(into.add(into.zero(), added), missing)


# -- Set -----------------------------------------------------------------------------------------


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
    with pytest.raises(UnfoldableValue):
        into.add((), value)


def test_a_set_of_100_000_values_is_made_at_once() -> None:
    values = [f"name {number}" for number in range(100_000)]
    into = Set()
    state = change(into, into.zero(), (), values)  # one by one it would copy 5 * 10**9 entries
    assert len(into.result(change(into, state, values[:10], ["new"]))) == 99_991


# -- Min, Max, Merge -----------------------------------------------------------------------------


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


def plus(left: str, right: str) -> str:
    return left + right


def test_a_merge_keeps_the_order_of_members() -> None:
    assert folded(Merge(plus, ""), ["c", "a", "b"]) == "cab"
    assert folded(Merge(plus, "nothing"), []) == "nothing"


# -- which classes -------------------------------------------------------------------------------


class Longest:
    """Associative: the longest text, with its length."""

    def empty(self) -> tuple[int, str]:
        return 0, ""

    def lift(self, value: str) -> tuple[int, str]:
        return len(value), value

    def merge(self, left: tuple[int, str], right: tuple[int, str]) -> tuple[int, str]:
        return max(left, right)

    def result(self, state: tuple[int, str]) -> bytes:
        return state[1].encode()


class Parity:
    """Invertible: whether an odd number of texts are not empty."""

    def zero(self) -> bool:
        return False

    def add(self, state: bool, value: str) -> bool:
        return state ^ bool(value)

    remove = add

    def result(self, state: bool) -> bool:
        return state


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


# -- types: mypy and pyright check this function --------------------------------------------------


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
