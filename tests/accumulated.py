"""Values folded from scratch, the values that are drawn for it, and accumulators of one's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from functools import reduce
from typing import Any

from hypothesis import strategies as st

from engine.store.canonical import pack
from engine.tables.accumulate import change, is_invertible

INF, NAN = math.inf, math.nan


def folded(into: Any, values: Sequence[Any]) -> Any:
    if is_invertible(into):
        return into.result(change(into, into.zero(), (), values))
    return into.result(reduce(into.merge, map(into.lift, values)) if values else into.empty())


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


def plus(left: str, right: str) -> str:
    return left + right


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
