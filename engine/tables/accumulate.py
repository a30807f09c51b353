"""Accumulators: what the members of a fold are reduced into, and how one member comes and goes.

Two protocols. An `Invertible` can take a value out again, so a changed member costs O(1). An `Associative`
can only merge neighbours, so a changed member costs O(log n), by the tree of `blocks`.

Invariants
    A1  The state of an `Invertible` depends on the members alone, not on the order in which they came and
        went: removing what was added gives the state from before, byte for byte.
    A2  A state is a value with canonical bytes, and is never changed in place.
    A3  The result depends on the state alone, so equal states are equal results in every process.

Source of the idea: `unordered_array_fold` of Jane Street's Incremental, which asks for an inverse too, but
whose sums of floats drift. Ours do not: see `total`, where `Sum` is. `Set` is in `counts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, Generic, Never, Protocol, TypeAlias, TypeVar, overload

from engine.errors import BadFold, EmptyFold
from engine.key import short
from engine.tables.counts import Set
from engine.tables.total import Sum

__all__ = [
    "Accumulator",
    "Associative",
    "Count",
    "Into",
    "Invertible",
    "Max",
    "Merge",
    "Min",
    "Set",
    "Sum",
    "change",
    "is_invertible",
]

V_contra = TypeVar("V_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)
V = TypeVar("V")
S = TypeVar("S")
C = TypeVar("C")  # not bound to classes with `<`: pyright then leaves it unsolved
D = TypeVar("D")

# -- the protocols -------------------------------------------------------------------------------


class Invertible(Protocol[V_contra, S, R_co]):
    """Can take a value out again. All methods are pure; a state is a value with canonical bytes (A1, A2).

    Optional, for states that are costly to copy: `change(state, removed, added) -> state`, many at once.
    """

    def zero(self) -> S:
        """The state of no members."""
        ...

    def add(self, state: S, value: V_contra, /) -> S:
        """The state with one more value. It must not matter in which order values are added."""
        ...

    def remove(self, state: S, value: V_contra, /) -> S:
        """The state without a value that was added: exactly the state as if it had never been there."""
        ...

    def result(self, state: S, /) -> R_co:
        """What readers of the fold see."""
        ...


class Associative(Protocol[V_contra, S, R_co]):
    """Can merge summaries of neighbours, in the order of the members' keys. All methods are pure.

    Where `merge` is only nearly associative (floats), answers still do not depend on history: which
    neighbours meet is decided by their keys (`blocks`).
    """

    def empty(self) -> S:
        """The summary of no members. It is asked for only where there are none."""
        ...

    def lift(self, value: V_contra, /) -> S:
        """The summary of one member."""
        ...

    def merge(self, left: S, right: S, /) -> S:
        """The summary of two neighbouring runs of members."""
        ...

    def result(self, state: S, /) -> R_co:
        """What readers of the fold see."""
        ...


class Accumulator(Protocol[V_contra, R_co]):
    """Says which results come of which values, where that takes a generic method to say (as for `Sum`).

    Type checkers look for it first; a class of your own needs it only if it is generic itself.
    """

    def of_one(self, value: V_contra, /) -> R_co:
        """The result for a single member."""
        ...


Into: TypeAlias = (
    Accumulator[V_contra, R_co] | Invertible[V_contra, Any, R_co] | Associative[V_contra, Any, R_co]
)
"""What a fold takes: values in, results out. A function that infers results from it takes the three as
overloads, in this order: the accumulators here are two of them at once, and the first says more."""

_INVERTIBLE = ("zero", "add", "remove", "result")
_ASSOCIATIVE = ("empty", "lift", "merge", "result")


def is_invertible(into: object) -> bool:
    """Which protocol an accumulator follows: `Invertible` (True) or `Associative` (False).

    One that follows both counts as invertible, which costs less. Raises `BadFold` where methods are missing
    (or are not callable), and names them.
    """
    if isinstance(into, type):
        raise BadFold(into=into.__name__, hint=f"It takes an instance: write {into.__name__}().")
    lacks = [
        [name for name in names if not callable(getattr(into, name, None))]
        for names in (_INVERTIBLE, _ASSOCIATIVE)
    ]
    if not all(lacks):
        return not lacks[0]
    least = min(map(len, lacks))  # what was meant is what lacks less; both are named where that is a guess
    missing = "; or ".join(", ".join(names) for names in lacks if len(names) == least)
    raise BadFold(into=short(into), missing=missing)


def change(into: Invertible[V, S, Any], state: S, removed: Iterable[V], added: Iterable[V]) -> S:
    """The state after many members changed: old values out, new values in.

    O(1) for each value with `Sum` and `Count`; `Set` copies its state once, however many values there are.
    Raises what the accumulator raises; `state` still holds then.
    """
    at_once: Callable[[S, Iterable[V], Iterable[V]], S] | None = getattr(into, "change", None)
    if at_once is not None:
        return at_once(state, removed, added)
    for value in removed:
        state = into.remove(state, value)
    for value in added:
        state = into.add(state, value)
    return state


# -- with an inverse -----------------------------------------------------------------------------


class Count:
    """How many members there are, whatever their values. O(1) for each change."""

    __slots__ = ()

    def zero(self) -> int:
        return 0

    def add(self, state: int, value: object, /) -> int:
        return state + 1

    def remove(self, state: int, value: object, /) -> int:
        return state - 1

    def result(self, state: int, /) -> int:
        return state

    def __repr__(self) -> str:
        return "Count()"


# -- without one ---------------------------------------------------------------------------------


class _Default(Enum):
    NONE = "no default"


class _Extreme(Generic[D]):
    """What `Min` and `Max` share. A summary holds one value, or none."""

    __slots__ = ("default",)

    default: Any

    def of_one(self, value: C, /) -> C | D:
        return self.result(self.lift(value))

    def empty(self) -> tuple[()]:
        return ()

    def lift(self, value: C, /) -> tuple[C, ...]:
        return (value,)

    def merge(self, left: tuple[C, ...], right: tuple[C, ...], /) -> tuple[C, ...]:
        if not left or not right:
            return left or right
        first, second = left[0], right[0]
        if first != first or second != second:
            return left if first != first else right
        return right if self._beats(second, first) else left

    def result(self, state: tuple[C, ...], /) -> C | D:
        if state:
            return state[0]
        if isinstance(self.default, _Default):
            raise EmptyFold(into=self)
        default: D = self.default
        return default

    def _beats(self, second: Any, first: Any) -> bool:
        raise NotImplementedError  # Min and Max each have their own

    def __repr__(self) -> str:
        given = "" if self.default is _Default.NONE else f"default={short(self.default)}"
        return f"{type(self).__name__}({given})"


class Min(_Extreme[D]):
    """The smallest value; of equal ones that of the first key. O(log n) comparisons for each change.

    A NaN among the members is the result, as with IEEE's `minimum`; one inside a tuple is not looked for.
    Without members the result is `default`, or the error `EmptyFold`. Comparing may raise TypeError.
    """

    __slots__ = ()

    @overload
    def __init__(self: Min[Never]) -> None: ...
    @overload
    def __init__(self, *, default: D) -> None: ...
    def __init__(self, *, default: Any = _Default.NONE) -> None:
        self.default = default

    def _beats(self, second: Any, first: Any) -> bool:
        return bool(second < first)


class Max(_Extreme[D]):
    """The largest value; of equal ones that of the first key. All else is as with `Min`."""

    __slots__ = ()

    @overload
    def __init__(self: Max[Never]) -> None: ...
    @overload
    def __init__(self, *, default: D) -> None: ...
    def __init__(self, *, default: Any = _Default.NONE) -> None:
        self.default = default

    def _beats(self, second: Any, first: Any) -> bool:
        return bool(first < second)


class Merge(Generic[S]):
    """`merge(left, right)` over the members' values, in the order of their keys; `empty` if there are none.

    O(log n) calls for each change. `merge` must be associative and pure: it returns a new value. Where mypy
    takes `()` for a tuple that stays empty, write `Merge[tuple[str, ...]](join, ())`.
    """

    __slots__ = ("_empty", "_merge")

    def __init__(self, merge: Callable[[S, S], S], empty: S) -> None:
        if not callable(merge):
            raise BadFold(into="Merge", merge=short(merge), hint="Say Merge(function, empty).")
        self._merge = merge
        self._empty = empty

    def of_one(self, value: S, /) -> S:
        return value

    def empty(self) -> S:
        return self._empty

    def lift(self, value: S, /) -> S:
        return value

    def merge(self, left: S, right: S, /) -> S:
        return self._merge(left, right)

    def result(self, state: S, /) -> S:
        return state

    def __repr__(self) -> str:
        return f"Merge({getattr(self._merge, '__name__', short(self._merge))}, {short(self._empty)})"
