"""Counts: by how many members of a fold each value is held, so that the last one takes it out of a `Set`.

Invariants
    K1  The state is sorted by the values' canonical bytes, and no count is below one: equal members in any
        order, with any history, give equal bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable
from operator import itemgetter
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

from engine.errors import UnfoldableValue
from engine.key import short

T = TypeVar("T")
M = TypeVar("M")  # what a member gives: a value, or an iterable of values

Counts: TypeAlias = tuple[tuple[T, int], ...]
"""State of a `Set`: a value, and by how many members it is held. Sorted by the values' canonical bytes."""


class Set(Generic[M]):
    """The members' values as a frozenset; with `flatten`, each member gives an iterable of values.

    A change costs a copy of the state, which is as large as the result. Values are told apart by canonical
    bytes; of those that Python finds equal (1, 1.0, True) the result keeps the one whose bytes sort first.
    Raises `UnfoldableValue` for values that are not hashable or have no canonical bytes.
    """

    __slots__ = ("flatten",)

    @overload
    def __init__(self: Set[Hashable], *, flatten: Literal[False] = False) -> None: ...
    @overload
    def __init__(self: Set[Iterable[Hashable]], *, flatten: Literal[True]) -> None: ...
    def __init__(self, *, flatten: bool = False) -> None:
        self.flatten = flatten

    @overload
    def of_one(self: Set[Hashable], value: T, /) -> frozenset[T]: ...
    @overload
    def of_one(self: Set[Iterable[Hashable]], value: Iterable[T], /) -> frozenset[T]: ...
    def of_one(self, value: Any, /) -> Any:
        return self.result(self.add(self.zero(), value))

    def zero(self) -> Counts[Any]:
        return ()

    def add(self, state: Counts[T], value: M, /) -> Counts[T]:
        return self.change(state, (), (value,))

    def remove(self, state: Counts[T], value: M, /) -> Counts[T]:
        return self.change(state, (value,), ())

    def result(self, state: Counts[T], /) -> frozenset[T]:
        return frozenset([value for value, _ in state])

    def change(self, state: Counts[T], removed: Iterable[M], added: Iterable[M], /) -> Counts[T]:
        """Many values at once: O(state + changes * log state)."""
        changed: dict[bytes, tuple[Any, int]] = {}
        for members, step in ((removed, -1), (added, 1)):
            for member in members:
                for value in self._values(member):
                    data = self._bytes(value)
                    changed[data] = value, changed.get(data, (value, 0))[1] + step
        new: list[tuple[T, int]] = []
        done = 0
        for data, (value, step) in sorted(changed.items(), key=itemgetter(0)):
            here = bisect_left(state, data, lo=done, key=lambda item: self._bytes(item[0]))
            new += state[done:here]
            found = here < len(state) and self._bytes(state[here][0]) == data
            count = (state[here][1] if found else 0) + step
            if count < 0:
                raise ValueError(f"{short(value)} was never added")
            if count:
                new.append((value, count))
            done = here + found
        new += state[done:]
        return tuple(new)

    def _values(self, member: Any) -> Iterable[Any]:
        if not self.flatten:
            return (member,)
        try:
            values: Iterable[Any] = iter(member)
        except TypeError as error:
            raise self._unfoldable(member, error) from error
        return values

    def _bytes(self, value: Any) -> bytes:
        from engine.store.canonical import Unpackable, pack  # late: rules are imported without a store

        try:
            hash(value)
            return pack(value)
        except (TypeError, Unpackable) as error:
            raise self._unfoldable(value, error) from error

    def _unfoldable(self, value: Any, reason: Exception) -> UnfoldableValue:
        kind = type(value).__qualname__
        return UnfoldableValue(into=self, type=kind, value=short(value), reason=reason)

    def __repr__(self) -> str:
        return f"Set({'flatten=True' if self.flatten else ''})"
