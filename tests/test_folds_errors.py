"""A member or an accumulator that fails is the error of its fold until it heals: one claim a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from engine import Engine, EngineError, Transient, fold, query
from engine.errors import BadFold, EmptyFold
from engine.tables.accumulate import Count, Max, Merge, Min, Sum
from tests.folding import FAILS, FOLDS, NUMBERS, Ends, Xor, cell, check, drop, keys, put, whole
from tests.watching import Watch


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


def test_a_failing_member_that_is_computed_again_forces_nobody(db: Engine, watch: Watch) -> None:
    @query(persist=False)
    def unstored(key: str) -> int:
        if cell(key) == FAILS:
            raise ValueError(key)
        return cell(key)

    total = fold(each=keys, of=unstored, into=Sum())

    @query
    def reader() -> str:
        try:
            return str(total())
        except ValueError as error:
            return f"no {error}"

    put(db, a=FAILS, b=FAILS)
    assert watch.get(reader) == "no a"
    for key in "ab":
        with pytest.raises(ValueError, match=key):
            db.get(unstored, key)
    db.check_invariants()
    watch.clear()
    assert watch.get(reader) == "no a"
    assert watch.ran == []
    put(db, a=5, b=6)
    assert watch.get(reader) == "11"


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
def test_values_without_canonical_bytes_are_an_error_that_names_the_first_such_member_and_heals(
    db: Engine, into: Any
) -> None:
    @query(name="folds:opaque")
    def opaque(key: str) -> Any:
        return cell(key) if cell(key) < 10 else Opaque()

    number = fold(each=keys, of=opaque, into=into)
    put(db, a=1, b=2)
    before = db.get(number)
    for a, b, first in (1, 10, "b"), (1, 10, "b"), (2, 10, "b"), (10, 10, "a"), (10, 11, "a"), (2, 11, "b"):
        put(db, a=a, b=b)
        with pytest.raises(BadFold) as caught:
            db.get(number)
        assert caught.value.fields["member"] == f"folds:opaque({first!r})"
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


class Shy:
    """Adds numbers, unless there is something in the way."""

    in_the_way: ClassVar[list[Exception]] = []

    def zero(self) -> int:
        return 0

    def add(self, state: int, value: int, /) -> int:
        for error in self.in_the_way:
            raise error
        return state + value

    def remove(self, state: int, value: int, /) -> int:
        return state - value

    def result(self, state: int, /) -> int:
        return state


@query
def numbers() -> tuple[int, ...]:
    return (1, 2, 3)


@query
def number_of(key: int) -> int:
    return key


shy = fold(each=numbers, of=number_of, into=Shy(), name="shy", version=1)


@pytest.mark.parametrize("error", [OSError("busy"), MemoryError("full")])
def test_an_accumulator_that_raises_for_a_moment_is_tried_again(db: Engine, error: Exception) -> None:
    Shy.in_the_way.append(error)
    for _ in range(2):
        with pytest.raises(type(error)):
            db.get(shy)
    Shy.in_the_way.clear()
    assert db.get(shy) == 6
    assert not db.audit(shy).differences
