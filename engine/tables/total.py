"""Total: the exact sum of numbers, which does not depend on the order in which they come and go.

Invariants
    T1  Removing what was added gives the state from before, byte for byte.
    T2  Nothing is rounded before the result is made, and then once.
    T3  What has no exact sum is refused when it is added; mixtures that Python does not add are refused when
        the result is made, so a state can always follow its members.

A float is a whole multiple of the smallest one above zero, so sums of floats are sums of ints. The partial
sums of `math.fsum` (Shewchuk) are exact too, but depend on the order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

from engine.errors import UnfoldableValue
from engine.key import short

if TYPE_CHECKING:
    from datetime import timedelta
    from decimal import Decimal

N = TypeVar("N", bound="int | float | Decimal | timedelta")
Z = TypeVar("Z", bound="int | float | Decimal | timedelta")

Totals: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""State of a `Sum`, sorted: kind of number, decimal exponent, how many there are, exact total of them."""

FLOAT_BITS = 1_074  # every finite float is a whole multiple of 2**-1074, the smallest one above zero
FLOAT_UNITS = 1 << FLOAT_BITS
DECIMAL_EXPONENT = 6_144  # digits; the range of IEEE decimal128: 1E+999999 + 1 would have a million of them
_INF, _MINUS_INF, _NAN = "float inf", "float -inf", "float nan"  # the kinds without a total
_FLOATS = {"float", _INF, _MINUS_INF, _NAN}


class Sum(Generic[Z]):
    """The exact sum of the members and `start`, typed as the builtin `sum` types it. O(1) for each change.

    int, bool    exact; an int
    float        exact inside and rounded once, so the same in any order: equal to `math.fsum`, but that sums
                 beyond the largest float are inf, and inf - inf is nan, as with `sum`. A zero is 0.0
    Decimal      exact: all digits are kept, whatever the context says
    timedelta    exact; say `Sum(timedelta())`, for the 0 to start from has to be one

    ints go with floats and with Decimals. Raises `UnfoldableValue` for other mixtures (when the result is
    made), and for values that have no exact sum: Decimals that are not finite or have an exponent beyond
    6144, and values of other types.
    """

    __slots__ = ("start",)

    @overload
    def __init__(self: Sum[int]) -> None: ...
    @overload
    def __init__(self, start: Z) -> None: ...
    def __init__(self, start: Any = 0) -> None:
        self.start = start
        self.zero()  # raises here, where it is defined, when the start cannot be summed

    def of_one(self, value: N, /) -> N | Z:
        total: N | Z = self.result(self.add(self.zero(), value))
        return total

    def zero(self) -> Totals:
        return _shifted((), self.start, 1)

    def add(self, state: Totals, value: int | float | Decimal | timedelta, /) -> Totals:
        return _shifted(state, value, 1)

    def remove(self, state: Totals, value: int | float | Decimal | timedelta, /) -> Totals:
        return _shifted(state, value, -1)

    def result(self, state: Totals, /) -> Any:
        kinds = {kind for kind, _, _, _ in state}
        if ("timedelta" in kinds and len(kinds) > 1) or ("Decimal" in kinds and kinds & _FLOATS):
            mixture = " with ".join(sorted({kind.partition(" ")[0] for kind in kinds}))
            hint = "Say Sum(timedelta()), to start from no time." if kinds == {"int", "timedelta"} else None
            raise UnfoldableValue(into=self, reason=f"{mixture} cannot be summed", hint=hint)
        if "timedelta" in kinds:
            return self._duration(state)
        if "Decimal" in kinds:
            return _decimal(state)
        if kinds & _FLOATS:
            return _float(state, kinds)
        return sum(total for _, _, _, total in state)

    def _duration(self, state: Totals) -> timedelta:
        from datetime import timedelta

        try:
            return timedelta(microseconds=state[0][3])
        except OverflowError as error:
            raise UnfoldableValue(into=self, reason="the sum is beyond the largest timedelta") from error

    def __repr__(self) -> str:
        return f"Sum({'' if self.start == 0 and type(self.start) is int else short(self.start)})"


def _shifted(state: Totals, value: object, sign: int) -> Totals:
    """One value more (sign 1) or less (-1)."""
    kind, exponent, amount = _term(value)
    place = (kind, exponent)
    for index, (other, power, count, total) in enumerate(state):
        if (other, power) == place:
            count += sign
            total += sign * amount
            if count:
                return (*state[:index], (kind, exponent, count, total), *state[index + 1 :])
            if not total:
                return state[:index] + state[index + 1 :]  # as if this kind had never been there (T1)
            break
    else:
        if sign > 0:
            return tuple(sorted((*state, (kind, exponent, 1, amount))))
    raise ValueError(f"{short(value)} was never added")


def _term(value: object) -> tuple[str, int, int]:
    """Kind, decimal exponent and exact amount of one value."""
    if isinstance(value, int):
        return "int", 0, int(value)
    if isinstance(value, float):
        number = float(value)
        if math.isfinite(number):
            numerator, denominator = number.as_integer_ratio()
            return "float", 0, numerator * (FLOAT_UNITS // denominator)
        return _NAN if number != number else _INF if number > 0 else _MINUS_INF, 0, 0
    from datetime import timedelta  # late: most sums never see one
    from decimal import Decimal

    if isinstance(value, timedelta):
        return "timedelta", 0, value // timedelta(microseconds=1)
    if not isinstance(value, Decimal):
        kind, reason = type(value).__qualname__, "it has no exact sum"
        raise UnfoldableValue(into="Sum", type=kind, value=short(value), reason=reason)
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or abs(exponent) > DECIMAL_EXPONENT:
        raise UnfoldableValue(into="Sum", value=short(value), reason="it has no exact sum")
    amount = int(Decimal((sign, digits, 0)))
    return "Decimal", exponent, amount


def _float(state: Totals, kinds: set[str]) -> float:
    if _NAN in kinds or {_INF, _MINUS_INF} <= kinds:
        return math.nan
    if _INF in kinds or _MINUS_INF in kinds:
        return math.inf if _INF in kinds else -math.inf
    units = sum(total if kind == "float" else total << FLOAT_BITS for kind, _, _, total in state)
    try:
        return units / FLOAT_UNITS  # Python rounds the quotient of two ints correctly
    except OverflowError:
        return math.inf if units > 0 else -math.inf


def _decimal(state: Totals) -> Decimal:
    from decimal import Decimal

    lowest = min(exponent for _, exponent, _, _ in state)
    total = sum(total * 10 ** (exponent - lowest) for _, exponent, _, total in state)
    sign, digits, _ = Decimal(total).as_tuple()
    return Decimal((sign, digits, lowest))  # no context takes part, so none rounds
