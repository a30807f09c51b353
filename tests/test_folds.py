"""A fold is what its members give, whatever happened before: one claim a test."""

from __future__ import annotations

import math
import operator
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from functools import partial, reduce
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from attrs import frozen

import engine.kept_fold
import engine.persist
from engine import (
    CycleError,
    Engine,
    EngineError,
    Fold,
    Transient,
    What,
    fold,
    input,
    query,
    table,
)
from engine.accumulate import Count, Max, Merge, Min, Set, Sum
from engine.errors import BadFold, EmptyFold
from engine.folds import from_scratch
from engine.query import QueryInfo
from engine.store import Batch
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


@query
def real(key: str) -> float:
    """Floats of very different sizes, so that adding them in another order gives another sum."""
    return math.ldexp(0.1 * whole(key), 7 * (whole(key) % 17) - 50)


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
    except Exception as error:
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

        def fetch(info: QueryInfo, args: tuple[Any, ...]) -> Any:
            return old.get(info.wrapper, *args)

        for name, value in found.items():
            scratch = outcome(partial(from_scratch, FOLDS[name][0].__collection__, fetch))
            assert (name, scratch) == (name, value)
            assert (name, outcome(partial(old.get, FOLDS[name][0]))) == (name, value)


@pytest.fixture(params=["memory", "stored", "strict", "workers"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    stored = tmp_path / "store" if request.param == "stored" else None
    with Engine(
        stored,
        root=tmp_path,
        strict=request.param == "strict",
        workers=3 if request.param == "workers" else 1,
    ) as engine:
        yield engine


@pytest.fixture
def watch(db: Engine) -> Watch:
    return Watch(db)


NUMBERS = {f"k{n:02}": n * n % 23 for n in range(40)}
STEPS: dict[str, Callable[[Engine], None]] = {
    "none": lambda db: None,
    "one": lambda db: put(db, m=5),
    "many": lambda db: put(db, **NUMBERS),
    "changed": lambda db: put(db, k07=99),
    "an extreme goes": lambda db: put(db, k07=1),
    "equal": lambda db: put(db, k07=1, k08=18),
    "first": lambda db: put(db, a=3),
    "last": lambda db: put(db, z=4),
    "removed": lambda db: drop(db, "a", "k00", "k20", "k39"),
    "failing": lambda db: put(db, k10=FAILS),
    "another fails": lambda db: put(db, k05=FAILS, k06=2),
    "one heals": lambda db: put(db, k05=7),
    "a failing one goes": lambda db: drop(db, "k10"),
    "it comes back healed": lambda db: put(db, k10=3),
    "moved": lambda db: move(db, "k11", "k11b"),
    "all others": lambda db: put(db, **{key: number + 1 for key, number in NUMBERS.items()}),
    "all gone": lambda db: drop(db, *db.get(keys)),
    "again": lambda db: put(db, b=1, a=2),
}


@pytest.mark.parametrize("asked", ["every step", "seldom"])
def test_every_accumulator_follows_members_that_change_come_go_fail_and_move(db: Engine, asked: str) -> None:
    for number, step in enumerate(STEPS.values()):
        step(db)
        if asked == "every step" or number % 4 == 3:
            check(db)
    check(db)


@pytest.mark.parametrize("crash", [False, True], ids=["closed", "killed"])
def test_every_accumulator_goes_on_after_each_restart(tmp_path: Path, crash: bool) -> None:
    place = tmp_path / "0"
    for number, step in enumerate(STEPS.values()):
        with Engine(place / "store") as db:
            step(db)
            if number % 3 != 1:
                check(db, list(FOLDS)[number % 2 :: 2])
            if crash:
                place = tmp_path / str(number + 1)
                shutil.copytree(
                    tmp_path / str(number) / "store", place / "store", ignore=shutil.ignore_patterns("*-shm")
                )
        with Engine(place / "store") as db:
            assert not db.notes()
            if number % 3:
                check(db)


def test_a_sum_of_floats_is_that_of_the_members_bit_for_bit_after_any_history(tmp_path: Path) -> None:
    total = FOLDS["floats"][0]
    with Engine(tmp_path / "one") as db, Engine(None) as other:
        for number in range(30):
            put(db, **{f"k{number % 7}": number * 3, f"k{number % 5}": number})
            db.get(total)
        put(other, **{key: db.get(cell, key) for key in db.get(keys)})
        assert db.get(total).hex() == other.get(total).hex()


# -- what runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOLDS)
def test_one_changed_member_runs_itself_and_the_fold(db: Engine, watch: Watch, name: str) -> None:
    total, _ = FOLDS[name]
    member = MEMBERS.get(name, whole)

    @query(name="folds:reader")
    def reader() -> str:
        return str(total())

    put(db, **NUMBERS)
    before = watch.get(reader)
    put(db, k07=1000)
    equal = watch.get(reader) == before
    below = ["whole(k07)"] if member is not whole else []
    own = [*below, f"{member.__name__}(k07)", f"{type(total.__collection__.into).__name__}()"]
    assert ran(watch) == [*own, *([] if equal else ["reader()"])]
    assert ran(watch, What.CUT_OFF) == (own[-1:] if equal else [])
    assert equal == (name in ("count", "min", "max", "ends"))
    watch.clear()
    put(db, k07=1000)
    watch.get(reader)
    assert watch.ran == []


def test_a_member_whose_value_is_equal_leaves_the_fold_alone(db: Engine, watch: Watch) -> None:
    @query(name="folds:sign")
    def sign(key: str) -> int:
        return int(cell(key) > 0)

    total = fold(each=keys, of=sign, into=Sum())
    put(db, a=1, b=2)
    assert watch.get(total) == 2
    put(db, a=7)
    assert watch.get(total) == 2
    assert ran(watch) == ran(watch, What.CUT_OFF) == ["sign(a)"]


def test_an_equal_result_stops_at_the_fold(db: Engine, watch: Watch) -> None:
    total = FOLDS["sum"][0]

    @query(name="folds:reader")
    def reader() -> str:
        return str(total())

    put(db, a=1, b=2)
    watch.get(reader)
    put(db, a=2, b=1)
    watch.get(reader)
    assert sorted(ran(watch)) == ["Sum()", "whole(a)", "whole(b)"]
    assert ran(watch, What.CUT_OFF) == ["Sum()"]


def test_a_key_that_comes_or_goes_runs_that_member_alone(db: Engine, watch: Watch) -> None:
    total = FOLDS["sum"][0]
    put(db, **NUMBERS)
    watch.get(total)
    put(db, zz=1)
    watch.get(total)
    assert ran(watch) == ["whole(zz)", "Sum()"]
    drop(db, "k07")
    watch.get(total)
    assert ran(watch) == ["Sum()"]
    db.set(keys.key(), tuple(reversed(db.get(keys))))
    watch.get(total)
    assert watch.ran == [], "the order of keys is nobody's concern"


def test_an_unrelated_change_runs_and_visits_nothing(db: Engine, watch: Watch) -> None:
    put(db, a=1)
    watch.get(FOLDS["sum"][0])
    db.set(cell.key("nobody"), 5)
    before = db.counts()
    assert db.get(FOLDS["sum"][0]) == 1
    more = db.counts() - before
    assert (more.executed, more.verified) == (0, 0)


# -- kinds of members ----------------------------------------------------------------------------


def test_a_fold_over_inputs_follows_what_is_set(db: Engine, watch: Watch) -> None:
    total = fold(each=keys, of=cell, into=Sum(), name="folds:inputs")
    put(db, a=1, b=2)
    assert watch.get(total) == 3
    put(db, a=5)
    assert watch.get(total) == 7
    assert ran(watch) == ["inputs()"]
    put(db, c=1)
    drop(db, "b")
    assert watch.get(total) == 6
    db.reset(cell.key("a"))
    assert watch.get(total) == 1


def test_a_query_with_defaults_is_folded_as_it_is_called_with_the_key_alone(db: Engine, watch: Watch) -> None:
    @query(name="folds:scaled")
    def scaled(key: str, factor: int = 10) -> int:
        return cell(key) * factor

    of: Any = scaled
    total: Fold[int] = fold(each=keys, of=of, into=Sum())
    put(db, a=1, b=2)
    assert watch.get(total) == 30
    assert db.get(scaled, "a") == 10
    assert db.counts().executed == 3, "the same key, however it is asked for"


@pytest.mark.parametrize("arguments", [0, 2])
def test_a_query_that_does_not_take_one_key_is_refused_when_the_fold_is_made(arguments: int) -> None:
    none: Any = query(name="folds:none")(lambda: 1)
    two: Any = query(name="folds:two")(lambda a, b: 1)
    with pytest.raises(BadFold, match="it does not take a key alone"):
        fold(each=keys, of=two if arguments else none, into=Sum())


@frozen
class Row:
    group: str
    number: int


@table(each=keys, index=("group",))
def rows(key: str) -> Iterable[Row]:
    return [Row(f"g{cell(key) % 3}", cell(key)), Row("all", cell(key))] if cell(key) else []


@query
def of_group(group: str) -> int:
    return sum(row.number for row in rows.where(group=group))


@query
def heading(group: str) -> str:
    return f"{group}:{len(rows.where(group=group))} "


by_group = fold(each=rows.column("group"), of=of_group, into=Sum())
headings = fold(each=rows.column("group"), of=heading, into=Merge(operator.add, ""))


def test_a_fold_over_a_column_and_lookups_follows_groups_that_come_and_go(db: Engine, watch: Watch) -> None:
    put(db, a=3, b=4)
    assert (watch.get(by_group), watch.get(headings)) == (14, "all:2 g0:1 g1:1 ")
    put(db, b=7)
    assert watch.get(by_group) == 20
    assert sorted(name for name in ran(watch) if not name.startswith("where")) == [
        "Sum()", "of_group(all)", "of_group(g1)", "rows(b)"
    ]  # fmt: skip
    put(db, b=5)
    assert (watch.get(by_group), watch.get(headings)) == (16, "all:2 g0:1 g2:1 ")
    drop(db, "a")
    assert (watch.get(by_group), watch.get(headings)) == (10, "all:1 g2:1 ")
    put(db, b=0)
    assert (watch.get(by_group), watch.get(headings)) == (0, "")
    put(db, b=1)
    assert (watch.get(by_group), watch.get(headings)) == (2, "all:1 g1:1 ")


def test_a_fold_over_the_reader_of_a_fold_follows_both(db: Engine, watch: Watch) -> None:
    largest = FOLDS["max"][0]

    @query(name="folds:share")
    def share(key: str) -> int:
        return cell(key) * 100 + len(largest())

    shares = fold(each=keys, of=share, into=Sum())
    put(db, a=1, b=2)
    assert watch.get(shares) == 304
    put(db, b=1000)
    assert watch.get(shares) == 100_110
    put(db, a=2)
    assert watch.get(shares) == 100_210
    assert ran(watch)[-2:] == ["share(a)", "Sum()"]


def test_a_fold_that_needs_itself_is_a_cycle_and_heals(db: Engine) -> None:
    @query(name="folds:ring")
    def ring(key: str) -> int:
        return total() if cell(key) == 7 else cell(key)

    total = fold(each=keys, of=ring, into=Sum())
    put(db, a=1, b=2)
    assert db.get(total) == 3
    put(db, a=7)
    with pytest.raises(CycleError):
        db.get(total)
    put(db, a=5)
    assert db.get(total) == 7


@pytest.mark.parametrize(
    "several",
    [
        (True, 1, "1", 1.0, None, b"1", (1,)),
        (-5, 0, 5, 2**62, -(2**63), 2**70, -(2**70)),
        ("", "\ud800", "é", "z", "\U0001f600"),
        (0.0, -0.0, 1.5, frozenset({1}), ("a", 2)),
    ],
    ids=["equal looking", "ints", "texts", "others"],
)
def test_keys_of_any_type_are_members_of_their_own(tmp_path: Path, several: tuple[Any, ...]) -> None:
    @input(name="folds:anything")
    def anything() -> tuple[Any, ...]:
        return ()

    @query(name="folds:one")
    def one(key: Any) -> int:
        return 1

    @query(name="folds:shown")
    def shown(key: Any) -> str:
        return f"{key!r};"

    count = fold(each=anything, of=one, into=Sum())
    listed = fold(each=anything, of=shown, into=Merge(operator.add, ""))
    with Engine(tmp_path / "store") as db:
        for number in range(len(several) + 1):
            db.set(anything.key(), several[:number])
            assert db.get(count) == number
            assert db.get(listed).count(";") == number
        whole = db.get(listed)
    with Engine(tmp_path / "store") as db:
        db.set(anything.key(), several[1:])
        db.get(listed)
        db.set(anything.key(), several[::-1])
        assert (db.get(listed), db.get(count)) == (whole, len(several))


@pytest.mark.parametrize(
    "value",
    [[1, 2], {"a": [2], "b": 1}, (1, (2, frozenset({3}))), 2.5, Row("g", 1), {Row("g", 1): 2}],
    ids=repr,
)
def test_values_of_any_type_come_back_as_they_were(tmp_path: Path, value: Any) -> None:
    class Keep:
        def zero(self) -> tuple[Any, ...]:
            return ()

        def add(self, state: tuple[Any, ...], given: Any) -> tuple[Any, ...]:
            return tuple(sorted((*state, repr((type(given).__name__, given)))))

        def remove(self, state: tuple[Any, ...], given: Any) -> tuple[Any, ...]:
            left = list(state)
            left.remove(repr((type(given).__name__, given)))
            return tuple(left)

        def result(self, state: tuple[Any, ...]) -> str:
            return " ".join(state)

    @query(name="folds:given")
    def given(key: str) -> Any:
        return value if cell(key) else None

    kept = fold(each=keys, of=given, into=Keep())
    with Engine(tmp_path / "store") as db:
        put(db, a=1, b=1, c=0)
        whole = db.get(kept)
        assert whole == " ".join(sorted([repr((type(value).__name__, value))] * 2 + ["('NoneType', None)"]))
        with db.snapshot() as old:
            put(db, a=0)
            assert db.get(kept).count("NoneType") == 2
            assert old.get(kept) == whole
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        assert db.get(kept) == whole


# -- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOLDS)
def test_a_failing_member_is_the_error_of_the_fold_until_it_heals(
    db: Engine, watch: Watch, name: str
) -> None:
    total, _ = FOLDS[name]
    put(db, **NUMBERS)
    before = watch.get(total)
    put(db, k07=FAILS, k03=FAILS)
    watch.clear()
    with pytest.raises(ValueError, match="k03"):
        db.get(total)
    put(db, k03=9)
    with pytest.raises(ValueError, match="k07"):
        db.get(total)
    put(db, k07=NUMBERS["k07"])
    check(db, [name])
    put(db, k03=NUMBERS["k03"])
    assert watch.get(total) == before


def test_the_reader_of_a_fold_may_catch_the_error_of_a_member(db: Engine, watch: Watch) -> None:
    total = FOLDS["sum"][0]

    @query(name="folds:reader")
    def reader() -> str:
        try:
            return str(total())
        except ValueError as error:
            return f"no {error}"

    put(db, a=1, b=2)
    assert watch.get(reader) == "3"
    put(db, a=FAILS)
    assert watch.get(reader) == "no a"
    put(db, b=FAILS)
    assert watch.get(reader) == "no a"
    drop(db, "a")
    assert watch.get(reader) == "no b"
    put(db, b=1)
    assert watch.get(reader) == "1"


def test_a_transient_failure_is_the_error_of_now_and_kept_by_nobody(tmp_path: Path) -> None:
    failing: set[str] = set()

    @query(name="folds:shaky")
    def shaky(key: str) -> int:
        value = cell(key)
        if key in failing:
            raise Transient(OSError(key))
        return value

    total = fold(each=keys, of=shaky, into=Sum())
    joined = fold(each=keys, of=shaky, into=Max(default=0))
    with Engine(tmp_path / "store") as db:
        put(db, a=1, b=2)
        assert (db.get(total), db.get(joined)) == (3, 2)
        failing.add("b")
        put(db, b=5)
        for _ in range(2):
            with pytest.raises(Transient):
                db.get(total)
        with pytest.raises(Transient):
            db.get(joined)
        put(db, a=4)
        with pytest.raises(Transient):
            db.get(total)
        failing.clear()
        assert (db.get(total), db.get(joined)) == (9, 5)
        failing.add("a")
        put(db, a=6)
        with pytest.raises(Transient):
            db.get(total)
    failing.clear()
    with Engine(tmp_path / "store") as db:
        assert (db.get(total), db.get(joined)) == (11, 6)


class Touchy:
    """Raises in one of its methods for the value 13 (or a state that holds it)."""

    def __init__(self, where: str, error: type[Exception] = RuntimeError) -> None:
        self.where = where
        self.error = error

    def _may(self, where: str, *values: Any) -> None:
        if where == self.where and any(value == 13 or value == (13,) for value in values):
            raise self.error(where)

    def result(self, state: Any) -> Any:
        self._may("result", *state)
        return state


class TouchySum(Touchy):
    def zero(self) -> tuple[int, ...]:
        return ()

    def add(self, state: tuple[int, ...], value: int) -> tuple[int, ...]:
        self._may("add", value)
        return tuple(sorted((*state, value)))

    def remove(self, state: tuple[int, ...], value: int) -> tuple[int, ...]:
        self._may("remove", value)
        left = list(state)
        left.remove(value)
        return tuple(left)


class TouchyMerge(Touchy):
    def empty(self) -> tuple[int, ...]:
        return ()

    def lift(self, value: int) -> tuple[int, ...]:
        self._may("lift", value)
        return (value,)

    def merge(self, left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
        self._may("merge", *left, *right)
        return left + right


@pytest.mark.parametrize("where", ["add", "remove", "result", "lift", "merge", "result of merge"])
@pytest.mark.parametrize("again", ["same process", "restart"])
def test_an_accumulator_that_raises_is_the_error_of_the_fold_and_the_next_change_heals(
    tmp_path: Path, where: str, again: str
) -> None:
    into: Any = TouchySum(where) if where in ("add", "remove", "result") else TouchyMerge(where.split()[0])
    total = fold(each=keys, of=whole, into=into, name=f"folds:touchy {where}")
    with Engine(tmp_path / "store") as db:
        put(db, a=1, b=2, c=3)
        assert db.get(total) == (1, 2, 3)
        put(db, b=13)
        if where == "remove":
            assert db.get(total) == (1, 3, 13)
            put(db, b=5)
        for _ in range(2):
            with pytest.raises(RuntimeError, match=where.split()[0]):
                db.get(total)
        if again == "same process":
            db.forget("folds:touchy*")
            if where == "remove":  # built anew, nothing has to be taken out
                assert db.get(total) == (1, 3, 5)
            else:
                with pytest.raises(RuntimeError):
                    db.get(total)
            put(db, b=4)
            assert sorted(db.get(total)) == [1, 3, 4]
            return
    with Engine(tmp_path / "store") as db:
        db.forget("folds:touchy*")
        if where == "remove":
            assert db.get(total) == (1, 3, 5)
        else:
            with pytest.raises(RuntimeError):
                db.get(total)
        put(db, b=4)
        assert sorted(db.get(total)) == [1, 3, 4]
        put(db, a=2)
        assert sorted(db.get(total)) == [2, 3, 4]


def test_min_and_max_of_no_members_raise_unless_they_have_a_default(db: Engine) -> None:
    least = fold(each=keys, of=whole, into=Min(), name="folds:least")
    with pytest.raises(EmptyFold):
        db.get(least)
    put(db, a=3)
    assert db.get(least) == 3
    drop(db, "a")
    with pytest.raises(EmptyFold):
        db.get(least)
    put(db, b=2)
    assert db.get(least) == 2


def test_values_that_cannot_be_compared_are_the_error_and_heal(db: Engine) -> None:
    @query(name="folds:mixed")
    def mixed(key: str) -> Any:
        return cell(key) if cell(key) < 10 else str(cell(key))

    least = fold(each=keys, of=mixed, into=Min())
    put(db, a=3, b=2)
    assert db.get(least) == 2
    put(db, a=30)
    with pytest.raises(TypeError):
        db.get(least)
    put(db, b=11)
    assert db.get(least) == "11"


def test_an_accumulator_may_read_no_query_and_says_so(db: Engine) -> None:
    class Nosy(Xor):
        def add(self, state: int, value: int) -> int:
            return state + cell("a")

    nosy = fold(each=keys, of=whole, into=Nosy(), name="folds:nosy")
    put(db, a=1)
    with pytest.raises(EngineError) as caught:
        db.get(nosy)
    assert "quer" in str(caught.value)
    assert caught.value.hint


class Opaque:
    """Has no canonical bytes."""


@pytest.mark.parametrize("into", [Count(), Merge(lambda left, right: left, None)], ids=["inverse", "merge"])
def test_values_without_canonical_bytes_are_an_error_that_names_the_member_and_heals(
    db: Engine, into: Any
) -> None:
    @query(name="folds:opaque")
    def opaque(key: str) -> Any:
        return cell(key) if cell(key) < 10 else Opaque()

    number = fold(each=keys, of=opaque, into=into)
    put(db, a=1, b=2)
    before = db.get(number)
    put(db, b=10)
    for _ in range(2):
        with pytest.raises(BadFold) as caught:
            db.get(number)
        assert caught.value.fields["member"] == "folds:opaque('b')"
    put(db, a=2)
    with pytest.raises(BadFold):
        db.get(number)
    put(db, b=3, a=1)
    assert db.get(number) == before


@pytest.mark.parametrize("kind", ["state", "summary"])
def test_a_state_without_canonical_bytes_is_an_error_that_names_the_fold(db: Engine, kind: str) -> None:
    class Bad(Xor):
        def add(self, state: Any, value: int) -> Any:
            return Opaque() if kind == "state" and value > 9 else state ^ value

    class BadEnds(Ends):
        def lift(self, value: int) -> Any:
            return Opaque() if value > 9 else super().lift(value)

    into: Any = BadEnds() if kind == "summary" else Bad()
    bad = fold(each=keys, of=whole, into=into, name="folds:bad")
    put(db, a=1, b=2)
    before = db.get(bad)
    put(db, b=10)
    with pytest.raises(BadFold) as caught:
        db.get(bad)
    assert caught.value.fields["fold"] == "folds:bad"
    put(db, b=2)
    assert db.get(bad) == before


# -- code ----------------------------------------------------------------------------------------

MODULE = """
from engine import Engine, Merge, Min, Sum, fold, input, query

@input
def keys() -> tuple[str, ...]:
    return ()

@input
def cell(key: str) -> int:
    return 0

@query
def one(key: str) -> int:
    return cell(key)

def join(left: int, right: int) -> int:
    return left {operator} right

class Mine:
    factor = {factor}
    def __init__(self, more: int) -> None:
        self.more = more
    def zero(self) -> int:
        return 0
    def add(self, state: int, value: int) -> int:
        return state + value * self.factor
    def remove(self, state: int, value: int) -> int:
        return state - value * self.factor
    def result(self, state: int) -> int:
        return state + self.more

merged = fold(each=keys, of=one, into=Merge(join, 0))
mine = fold(each=keys, of=one, into=Mine({more}))
least = fold(each=keys, of=one, into=Min(default={default}))

with Engine("store") as db:
    if {first}:
        with db.batch():
            db.set(keys.key(), ("a", "b", "c"))
            for key, value in dict(a=2, b=3, c=4).items():
                db.set(cell.key(key), value)
    values = db.get(merged), db.get(mine), db.get(least)
    ran = db.counts().executed
    with db.batch():
        db.set(cell.key("a"), {a})
    print(*values, ran, db.get(merged), db.get(mine))
"""


def test_other_code_or_arguments_of_an_accumulator_build_the_fold_anew_without_its_members(
    tmp_path: Path,
) -> None:
    def run(**changes: Any) -> list[int]:
        given = {"operator": "+", "factor": 1, "more": 0, "default": 0, "first": False, "a": 2, **changes}
        (tmp_path / "rules.py").write_text(MODULE.format(**given))
        done = subprocess.run(
            [sys.executable, "rules.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60,
            env={**os.environ, "PYTHONPATH": str(Path(engine.persist.__file__).parent.parent)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [int(word) for word in done.stdout.split()]

    assert run(first=True) == [9, 9, 2, 6, 9, 9]
    assert run() == [9, 9, 2, 0, 9, 9]
    assert run(operator="*") == [24, 9, 2, 1, 24, 9]
    assert run(operator="*", factor=2) == [24, 18, 2, 1, 24, 18]
    assert run(operator="*", factor=2, more=1, a=5) == [24, 19, 2, 1, 60, 25]
    assert run(operator="*", factor=2, more=1, a=5, default=1) == [60, 25, 3, 1, 60, 25]
    assert run() == [12, 12, 3, 3, 9, 9]


MEMBERS_ONLY = """
from engine import Engine, input, query

@input
def keys() -> tuple[str, ...]:
    return ("a", "b", "c")

@input
def cell(key: str) -> int:
    return 1

@query
def one(key: str) -> int:
    return cell(key)
"""
WITH_FOLDS = """
from engine import Engine, Max, Sum, fold
from members import cell, keys, one

total = fold(each=keys, of=one, into=Sum())
most = fold(each=keys, of=one, into=Max())
"""


def test_a_process_that_knows_the_members_alone_leaves_the_fold_right(tmp_path: Path) -> None:
    (tmp_path / "members.py").write_text(MEMBERS_ONLY)
    (tmp_path / "folds.py").write_text(WITH_FOLDS)

    def run(module: str, work: str) -> str:
        code = f"from {module} import *\nwith Engine('store') as db:\n{textwrap.indent(work, '    ')}"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60,
            env={**os.environ, "PYTHONPATH": str(Path(engine.persist.__file__).parent.parent)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert run("folds", "print(db.get(total), db.get(most))") == "3 1"
    run("members", "db.set(cell.key('b'), 5)\ndb.get(one, 'b')\ndb.set(keys.key(), ('a', 'b'))")
    run("members", "db.set(cell.key('a'), 7)")
    asked = (
        "print(db.get(total), db.get(most), db.counts().executed, db.audit(total).differences, db.notes())"
    )
    assert run("folds", asked) == "12 7 3 () ()"


# -- the store -----------------------------------------------------------------------------------


def test_a_long_build_killed_between_its_commits_goes_on_where_it_was(tmp_path: Path) -> None:
    copies: list[Path] = []

    def copy(*_: Any) -> None:
        copies.append(tmp_path / f"copy{len(copies)}")
        shutil.copytree(tmp_path / "store", copies[-1], ignore=shutil.ignore_patterns("*-shm"))

    with mock.patch.object(engine.persist, "CHUNK_NODES", 7), Engine(tmp_path / "store") as db:
        put(db, **NUMBERS)
        db.listen(lambda event: copy() if event.what.value == "committed" else None)
        check(db, ["sum", "merge", "ends"])
        put(db, **{key: number + 1 for key, number in NUMBERS.items()})
        check(db, ["sum", "merge", "ends"])
        wanted_now = [db.get(FOLDS[name][0]) for name in ("sum", "merge", "ends")]
    assert len(copies) > 20
    for place in copies[:: max(1, len(copies) // 12)]:
        with Engine(place) as db:
            assert not db.notes()
            check(db)
            put(db, **{key: number + 1 for key, number in NUMBERS.items()})
            assert [db.get(FOLDS[name][0]) for name in ("sum", "merge", "ends")] == wanted_now


def test_changes_that_wait_are_stored_and_reduced_by_the_next_process(tmp_path: Path) -> None:
    for most in (0, 3, 1000):
        place = tmp_path / str(most)
        with mock.patch.object(engine.kept_fold, "WAITING_AT_MOST", most):
            with Engine(place) as db:
                put(db, **NUMBERS)
                check(db)
                put(db, k01=50, k02=FAILS, k03=51, k04=52, k05=53)
                for key in ("k01", "k02", "k03", "k04", "k05"):
                    outcome(partial(db.get, text.key(key)))  # not the folds
            with Engine(place) as db:
                put(db, k02=5)
                outcome(lambda: db.get(text, "k02"))
            with Engine(place) as db:
                check(db)


def test_members_that_were_dropped_from_the_store_while_their_change_waited_do_no_harm(
    tmp_path: Path,
) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1, b=2, c=3)
        check(db)
        put(db, b=9)
        db.get(text, "b")  # waits
        drop(db, "b")
        db.gc()
        assert not db.notes()
        check(db)
        assert not db.notes()


def test_an_interrupted_settling_and_a_collection_of_garbage_leave_the_fold_right(tmp_path: Path) -> None:
    armed: list[str] = []

    @query(name="folds:armed")
    def risky(key: str) -> int:
        value = cell(key)
        if key in armed:
            raise KeyboardInterrupt
        return value

    total = fold(each=keys, of=risky, into=Sum())
    joined = fold(each=keys, of=risky, into=Max(default=0))
    with Engine(tmp_path / "store") as db:
        put(db, a=1, b=2, c=3)
        assert (db.get(total), db.get(joined)) == (6, 3)
        drop(db, "c")
        put(db, a=5)
        armed.append("a")
        for one in (total, joined):
            with pytest.raises(KeyboardInterrupt):
                db.get(one)
        db.gc()
        armed.clear()
        assert (db.get(total), db.get(joined)) == (7, 5)
        assert not db.notes()


def test_after_gc_folds_cost_what_they_did(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        watch = Watch(db)
        put(db, **NUMBERS)
        check(db)
        drop(db, "k00", "k01", "k02")
        check(db)
        db.gc()
        watch.get(FOLDS["merge"][0])
        assert watch.ran == []
        put(db, k07=1)
        watch.get(FOLDS["merge"][0])
        assert ran(watch) == ["whole(k07)", "text(k07)", "Merge()"]
        check(db)


def test_a_read_only_engine_answers_as_the_store_was_left_and_computes_what_is_missing(
    tmp_path: Path,
) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, **NUMBERS)
        before = {name: outcome(partial(db.get, FOLDS[name][0])) for name in FOLDS if name != "count"}
        put(db, k07=50)
        after = {name: wanted(db, name) for name in FOLDS}
    assert before["sum"] != after["sum"]
    with Engine(tmp_path / "store", read_only=True) as db:
        assert {name: outcome(partial(db.get, FOLDS[name][0])) for name in FOLDS} == after


def test_a_snapshot_keeps_a_fold_as_it_was(db: Engine) -> None:
    put(db, **NUMBERS)
    before = {name: outcome(partial(db.get, FOLDS[name][0])) for name in FOLDS}
    with db.snapshot() as old:
        put(db, k07=1000, zz=3)
        drop(db, "k01")
        check(db)
        assert {name: outcome(partial(old.get, FOLDS[name][0])) for name in FOLDS} == before
        put(db, k07=FAILS)
        assert {name: outcome(partial(old.get, FOLDS[name][0])) for name in FOLDS} == before


def test_an_overlay_counts_until_it_is_taken_back_or_the_process_ends(tmp_path: Path) -> None:
    disk = {"a": 1, "b": 2}

    @input(name="folds:disk", stamp=lambda key: b"%d" % disk[key])
    def read(key: str) -> int:
        return disk[key]

    @query(name="folds:read")
    def doubled(key: str) -> int:
        return 2 * read(key)

    total = fold(each=keys, of=doubled, into=Sum())
    most = fold(each=keys, of=read, into=Max(default=0))
    with Engine(tmp_path / "store") as db:
        db.set(keys.key(), ("a", "b"))
        assert (db.get(total), db.get(most)) == (6, 2)
        db.set(read.key("b"), 50)
        disk["b"] = 7
        db.sync()
        assert (db.get(total), db.get(most)) == (102, 50)
        db.reset(read.key("b"))
        assert (db.get(total), db.get(most)) == (16, 7)
        db.set(read.key("a"), 100)
        assert (db.get(total), db.get(most)) == (214, 100)
    with Engine(tmp_path / "store") as db:
        assert (db.get(total), db.get(most)) == (16, 7)
        disk["a"] = 3
        db.sync()
        assert (db.get(total), db.get(most)) == (20, 7)


def test_two_engines_of_one_process_keep_folds_of_their_own(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as one, Engine(None) as two:
        put(one, a=1)
        put(two, a=5, b=6)
        check(one)
        check(two)
        assert (one.get(FOLDS["sum"][0]), two.get(FOLDS["sum"][0])) == (1, 11)


def test_threads_that_edit_and_ask_get_values_that_were_right_at_some_moment(tmp_path: Path) -> None:
    total = FOLDS["sum"][0]
    with Engine(tmp_path / "store", workers=2) as db:
        put(db, a=0, b=0)
        errors: list[BaseException] = []
        seen: list[int] = []
        stop = threading.Event()

        def ask() -> None:
            try:
                while not stop.is_set():
                    seen.append(db.get(total))
            except BaseException as error:
                errors.append(error)

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        for number in range(1, 150):
            with db.batch():
                db.set(cell.key("a"), number)
                db.set(cell.key("b"), 1000 * number)
        stop.set()
        for thread in asking:
            thread.join()
        assert not errors
        assert all(value % 1001 == 0 for value in seen), "a sum of two moments"
        assert db.get(total) == 149 * 1001
        check(db)


def test_outside_an_engine_a_fold_is_just_its_members() -> None:
    numbers = query(name="folds:numbers")(lambda: (3, 1, 2))
    square = query(name="folds:square")(lambda n: n * n)
    assert fold(each=numbers, of=square, into=Sum())() == 14
    assert (
        fold(each=numbers, of=query(name="folds:str")(lambda n: str(n)), into=Merge(operator.add, ""))()
        == "123"
    )


def test_folds_over_a_damaged_store_are_made_anew(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    for table_name in ("block", "member"):
        place = tmp_path / table_name
        with Engine(place) as db:
            put(db, **NUMBERS)
            check(db)
        with closing(sqlite3.connect(place / "store.db")) as connection:
            assert connection.execute(f"UPDATE {table_name} SET data = data || x'00'").rowcount > 0
            connection.commit()
        with Engine(place) as db:
            put(db, k07=50)
            check(db)
            assert db.notes()


# -- large ---------------------------------------------------------------------------------------

MANY = 100_000


@frozen
class File:
    path: str


@input
def changed() -> tuple[int, ...]:
    """A handful of files that are another version."""
    return ()


@input
def folders() -> tuple[str, ...]:
    return tuple(f"d{n}" for n in range(MANY // 1000))


@input
def more(folder: str) -> tuple[str, ...]:
    """Files beside the thousand."""
    return ()


@table(each=folders, index=("path",))
def files(folder: str) -> Iterable[File]:
    return [*(File(f"{folder}/{n}") for n in range(1000)), *map(File, more(folder))]


@input
def version(path: str) -> int:
    return 0


@query
def lines(path: str) -> int:
    return len(path) + version(path)


large_sum = fold(each=files.column("path"), of=lines, into=Sum())
large_max = fold(each=files.column("path"), of=lines, into=Max())


class Counted:
    """What is written to the store, by kind of row, and how many rows of folds are read from it."""

    def __init__(self, db: Engine) -> None:
        assert db.store is not None
        self.written: dict[str, int] = {}
        self.read = 0
        self.bytes = 0
        self.close = ExitStack()
        write, blocks, among = db.store.write, db.store.derived.blocks, db.store.derived.members_among

        def count_written(batch: Batch) -> None:
            for name in ("nodes", "readers", "members", "members_gone", "rows", "blocks", "changes"):
                some = len(getattr(batch, name))
                self.written[name] = self.written.get(name, 0) + some
            self.bytes += sum(len(row.data) for row in batch.blocks)
            self.bytes += sum(len(row.value or b"") for row in batch.nodes)
            self.bytes += sum(len(packed) for _, packed in batch.readers)
            write(batch)

        def count_blocks(node: int, several: Any) -> Any:
            found = blocks(node, several)
            self.read += len(found)
            return found

        def count_among(node: int, several: Any) -> Any:
            found = among(node, several)
            self.read += len(found)
            return found

        self.close.enter_context(
            mock.patch.object(type(db.store), "write", lambda _, batch: count_written(batch))
        )
        derived = type(db.store.derived)
        self.close.enter_context(mock.patch.object(derived, "blocks", lambda _, *args: count_blocks(*args)))
        self.close.enter_context(
            mock.patch.object(derived, "members_among", lambda _, *args: count_among(*args))
        )

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self.close.close()

    @property
    def touched(self) -> int:
        """Rows of the fold: of the changed member, its own, blocks read and written."""
        fold_rows = ("members", "members_gone", "blocks")
        return self.read + sum(self.written.get(name, 0) for name in fold_rows)


def test_one_change_among_100_000_members_touches_a_handful_of_rows(tmp_path: Path) -> None:
    """At most 10 for an inverse, 40 for a tree; the same after a restart; no list of keys is written."""
    total = sum(len(f"d{d}/{n}") for d in range(MANY // 1000) for n in range(1000))
    store = tmp_path / "store"
    with Engine(store, synchronous="NORMAL") as db:
        assert (db.get(large_sum), db.get(large_max)) == (total, len("d99/999"))
        edit_large(db, total, "in the process that built it")
    with Engine(store) as db:
        assert (db.get(large_sum), db.get(large_max)) == (total, len("d99/999"))
        edit_large(db, total, "after a restart")


def edit_large(db: Engine, total: int, when: str) -> None:
    edits: dict[str, tuple[Callable[[], object], int, int, list[str]]] = {
        "changed": (lambda: db.set(version.key("d50/500"), 2), total + 2, 9, ["lines(d50/500)"]),
        "back": (lambda: db.set(version.key("d50/500"), 0), total, 7, ["lines(d50/500)"]),
        "came": (
            lambda: db.set(more.key("d7"), ("d7/new.py",)),
            total + 9,
            9,
            ["files(d7)", "lines(d7/new.py)"],
        ),
        "went": (lambda: db.set(more.key("d7"), ()), total, 7, ["files(d7)"]),
    }
    for name, (edit, wanted_sum, wanted_max, members) in edits.items():
        edit()
        for large, wanted_value, most in ((large_sum, wanted_sum, 10), (large_max, wanted_max, 40)):
            watch = Watch(db)
            with Counted(db) as counted:
                assert db.get(large) == wanted_value
            own = [f"{type(large.__collection__.into).__name__}()"]
            expected = [*members, *own] if large is large_sum else own
            assert set(ran(watch)) <= {*expected, "lines(d7/new.py)"}, (name, when)
            assert len(ran(watch)) <= len(members) + 1
            assert counted.touched <= most, (name, when, large, counted.written, counted.read)
            assert counted.bytes < 60_000, "no list of all members was written"
            assert counted.written.get("nodes", 0) <= 12
