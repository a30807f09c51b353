"""A fold over members of any kind follows them: inputs, lookups, other folds, keys and values of any type."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from engine import CycleError, Engine, EngineError, Fold, fold, input, query, table
from engine.errors import BadFold
from engine.tables.accumulate import Merge, Sum
from tests.folding import FOLDS, cell, drop, keys, put, ran
from tests.watching import Watch


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


@pytest.mark.parametrize("option", ["each", "of"])
def test_a_function_that_is_no_query_is_refused_with_what_to_write(option: str) -> None:
    given: dict[str, Any] = {"each": keys, "of": cell, option: lambda *_: ()}
    with pytest.raises(EngineError, match="it is a function, and no query") as caught:
        fold(**given, into=Sum())
    assert f"give `{option}=` that" in str(caught.value)


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


def test_outside_an_engine_a_fold_is_just_its_members() -> None:
    numbers = query(name="folds:numbers")(lambda: (3, 1, 2))
    square = query(name="folds:square")(lambda n: n * n)
    assert fold(each=numbers, of=square, into=Sum())() == 14
    assert (
        fold(each=numbers, of=query(name="folds:str")(lambda n: str(n)), into=Merge(operator.add, ""))()
        == "123"
    )
