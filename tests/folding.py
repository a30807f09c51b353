"""Folds over the same members, one for each accumulator, and what they must be."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial, reduce
from typing import Any

from engine import Engine, Fold, fold, input, query
from engine.snapshot_frame import SnapshotFrame
from engine.tables.accumulate import Count, Max, Merge, Min, Set, Sum
from engine.tables.fold import from_scratch
from tests.watching import Watch

FAILS = -1


@input
def keys() -> tuple[str, ...]:
    return ()


@input
def cell(key: str) -> int:
    return 0


@query
def whole(key: str) -> int:
    if cell(key) == FAILS:
        raise ValueError(key)
    return cell(key)


def spread(number: int) -> float:
    """Floats of very different sizes, so that adding them in another order gives another sum."""
    return math.ldexp(0.1 * number, 7 * (number % 17) - 50)


@query
def real(key: str) -> float:
    return spread(whole(key))


@query
def text(key: str) -> str:
    return f"{key}{whole(key)}"


class Xor:
    """An inverse of a class of our own."""

    def zero(self) -> int:
        return 0

    def add(self, state: int, value: int) -> int:
        return state ^ value

    def remove(self, state: int, value: int) -> int:
        return state ^ value

    def result(self, state: int) -> str:
        return f"{state:b}"


class Ends:
    """The first and the last value, and how many: merging does not commute."""

    def empty(self) -> tuple[int, ...]:
        return ()

    def lift(self, value: int) -> tuple[int, ...]:
        return (value, value, 1)

    def merge(self, left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
        return (left[0], right[1], left[2] + right[2])

    def result(self, state: tuple[int, ...]) -> str:
        return "-".join(map(str, state))


def exact(values: list[float]) -> float:
    return float(sum(map(Fraction, values))) if values else 0


def xor(values: list[int]) -> str:
    return f"{reduce(operator.xor, values, 0):b}"


# By name: the fold, and the same from the values in the order of their keys.
FOLDS: dict[str, tuple[Fold[Any], Callable[[list[Any]], Any]]] = {
    "sum": (fold(each=keys, of=whole, into=Sum()), sum),
    "floats": (fold(each=keys, of=real, into=Sum()), exact),
    "count": (fold(each=keys, of=whole, into=Count()), len),
    "set": (fold(each=keys, of=whole, into=Set()), frozenset),
    "min": (fold(each=keys, of=whole, into=Min(default=None)), lambda several: min(several, default=None)),
    "max": (fold(each=keys, of=text, into=Max(default="")), lambda several: max(several, default="")),
    "merge": (fold(each=keys, of=text, into=Merge(operator.add, "")), "".join),
    "xor": (fold(each=keys, of=whole, into=Xor()), xor),
    "ends": (
        fold(each=keys, of=whole, into=Ends()),
        lambda several: f"{several[0]}-{several[-1]}-{len(several)}" if several else "",
    ),
}


MEMBERS = {"floats": real, "max": text, "merge": text}


def put(db: Engine, **values: int) -> None:
    with db.batch():
        db.set(keys.key(), tuple(sorted({*db.get(keys), *values}, reverse=True)))
        for key, value in values.items():
            db.set(cell.key(key), value)


def drop(db: Engine, *gone: str) -> None:
    db.set(keys.key(), tuple(one for one in db.get(keys) if one not in gone))


def move(db: Engine, old: str, new: str) -> None:
    with db.batch():
        db.set(keys.key(), tuple(new if one == old else one for one in db.get(keys)))
        db.set(cell.key(new), db.get(cell, old))


def ran(watch: Watch, *kinds: Any) -> list[str]:
    """What ran, without quotes: `whole(a)`, and `Sum()` for a fold."""
    return [name.replace("'", "") for name in (watch.keys(*kinds) if kinds else watch.ran)]


def outcome(call: Callable[[], Any]) -> Any:
    try:
        value = call()
    except Exception as error:  # any is an outcome
        return type(error).__name__, str(error)
    return value.hex() if isinstance(value, float) else value


def wanted(db: Engine, name: str) -> Any:
    member = MEMBERS.get(name, whole)
    values = [outcome(partial(db.get, member.key(key))) for key in sorted(db.get(keys))]
    failing = [value for value in values if isinstance(value, tuple)]
    if failing:
        return failing[0]
    if name == "floats":
        values = [float.fromhex(value) for value in values]
    return outcome(lambda: FOLDS[name][1](values))


def check(db: Engine, names: Iterable[str] = FOLDS) -> None:
    """Every fold is what its members give now, what its definition gives, and what a snapshot gives."""
    found = {name: outcome(partial(db.get, FOLDS[name][0])) for name in names}
    db.check_invariants()
    for name, value in found.items():
        assert (name, value) == (name, wanted(db, name))
    with db.snapshot() as old:
        frame = SnapshotFrame(old._snapshot)
        for name, value in found.items():
            scratch = outcome(partial(from_scratch, FOLDS[name][0].__collection__, frame))
            assert (name, scratch) == (name, value)
            assert (name, outcome(partial(old.get, FOLDS[name][0]))) == (name, value)


NUMBERS = {f"k{n:02}": n * n % 23 for n in range(40)}
