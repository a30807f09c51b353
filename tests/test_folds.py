"""A fold is what its members give, whatever they are and whatever happened before: one claim a test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine, What, fold, query
from engine.tables.accumulate import Sum
from tests.folding import FAILS, FOLDS, MEMBERS, NUMBERS, cell, check, drop, keys, move, put, ran, whole
from tests.watching import Watch

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
