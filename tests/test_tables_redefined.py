"""Tables that are defined otherwise than the store knows them: other keys, other columns, other kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from engine import Count, Engine, Fold, Sum, fold, input, query, table
from engine.errors import BadQuery
from engine.query import REGISTRY, Query


@frozen
class Row:
    a: int
    b: str


@frozen
class Wide:
    a: int
    b: str
    c: int


@input(name="redefined:listed")
def listed(which: int) -> tuple[int, ...]:
    return tuple(range(which + 1))


def keys_of(which: int, name: str = "") -> Query[[], tuple[int, ...]]:
    @query(name=f"redefined:keys{which}{name}")
    def keys() -> tuple[int, ...]:
        return listed(which)

    return keys


def rows_of(each: Any, name: str = "rows", index: tuple[str, ...] = ("a",), first: int = 0) -> Any:
    @table(each=each, name=f"redefined:{name}", index=index)
    def rows(key: int) -> Iterable[Row]:
        yield Row(key + first, str(key))

    return rows


def wide_rows_of(each: Any, index: tuple[str, ...], least: int = 0) -> Any:
    @table(each=each, name="redefined:rows", index=index)
    def rows(key: int) -> Iterable[Wide]:
        yield Wide(max(key, least), str(key), max(key, least))

    return rows


def above(column: Any) -> Any:
    @table(each=column, name="redefined:above", index=("a",))
    def fed(key: int) -> Iterable[Row]:
        yield Row(key, "above")

    return fed


Reopen = Callable[[], Engine]


@pytest.fixture(params=["reopened", "at once"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The engine after the definitions changed: that of before, or another one over its store."""
    engines = [Engine(tmp_path / "store")]

    def again() -> Engine:
        if request.param == "reopened":
            engines[-1].close()
            engines.append(Engine(tmp_path / "store"))
        return engines[-1]

    yield again
    engines[-1].close()


def found(db: Engine, rows: Any) -> list[int]:
    db.check_invariants()
    assert not db.audit(rows).differences
    return [row.a for row in db.get(rows.where)]


def test_another_query_that_gives_the_keys_of_a_table_is_asked_although_it_did_not_change(
    reopen: Reopen,
) -> None:
    few, many = keys_of(0), keys_of(2)
    db = reopen()
    assert db.get(many) == (0, 1, 2)  # older than what the table made of the others
    db.set(listed.key(0), (7,))
    assert found(db, rows_of(few)) == [7]
    db = reopen()
    assert found(db, rows_of(many)) == [0, 1, 2]


def test_another_query_that_gives_the_keys_of_a_fold_is_asked_although_it_did_not_change(
    reopen: Reopen,
) -> None:
    few, many = keys_of(0), keys_of(2)

    @query(name="redefined:member")
    def member(key: int) -> int:
        return key

    db = reopen()
    assert db.get(many) == (0, 1, 2)
    db.set(listed.key(0), (7,))
    assert db.get(fold(each=few, of=member, into=Count(), name="redefined:fold")) == 1
    db = reopen()
    assert db.get(fold(each=many, of=member, into=Count(), name="redefined:fold")) == 3


def test_another_query_that_a_fold_is_over_is_asked(reopen: Reopen) -> None:
    """Nothing else changed, and its value was that of before for ever."""
    keys = keys_of(2)

    @query(name="redefined:none")
    def none(key: int) -> int:
        return 0

    @query(name="redefined:key")
    def key(key: int) -> int:
        return key

    for of, total in ((none, 0), (key, 3), (none, 0)):
        db = reopen()
        assert db.get(fold(each=keys, of=of, into=Sum(), name="redefined:sum")) == total
        db.check_invariants()


def test_that_a_name_was_taken_over_is_not_kept(reopen: Reopen) -> None:
    """A reload took the fold away, and another one brings it back: its code is that of before."""

    @query(name="redefined:member")
    def member(key: int) -> int:
        return key

    def total(keys: Query[[], tuple[int, ...]]) -> Fold[int]:
        return fold(each=keys, of=member, into=Sum(), name="redefined:sum")

    left = total(keys_of(2))
    db = reopen()
    assert db.get(left) == 3
    keys = keys_of(2)
    db.set(listed.key(2), (4, 5))
    with pytest.raises(BadQuery):
        db.get(left)
    assert db.get(keys) == (4, 5)
    found_again = total(keys)
    db = reopen()
    assert db.get(found_again) == 9
    db.check_invariants()


def test_a_table_that_gets_its_keys_from_another_table_from_now_on_follows_that(reopen: Reopen) -> None:
    rows = rows_of(keys_of(2))
    db = reopen()
    assert found(db, rows) == [0, 1, 2]
    assert found(db, above(keys_of(0))) == [0]
    db = reopen()
    fed = above(rows.column("a"))
    assert found(db, fed) == [0, 1, 2]
    db.set(listed.key(2), (1, 5))
    assert found(db, fed) == [1, 5]


def test_a_column_that_no_table_gets_its_keys_from_any_more_may_go(reopen: Reopen) -> None:
    keys = keys_of(2)
    rows = wide_rows_of(keys, ("a", "c"))
    db = reopen()
    assert found(db, above(rows.column("c"))) == [0, 1, 2]
    db = reopen()
    rows = rows_of(keys)
    assert found(db, rows) == [0, 1, 2]
    fed = above(rows.column("a"))
    db.set(listed.key(2), (1, 5))
    assert found(db, fed) == [1, 5]


def test_keys_from_a_column_leave_with_the_rows_of_a_table_that_is_built_anew(reopen: Reopen) -> None:
    keys = keys_of(2)
    db = reopen()
    assert found(db, above(rows_of(keys).column("a"))) == [0, 1, 2]
    db = reopen()
    assert found(db, above(wide_rows_of(keys, ("a",), least=1).column("a"))) == [1, 2]


@pytest.mark.parametrize("reopen", ["reopened"], indirect=True)  # at once it is still defined
def test_a_query_that_gave_the_keys_of_a_table_may_be_removed(reopen: Reopen) -> None:
    gone, keys = keys_of(2, "gone"), keys_of(1)

    @query(name="redefined:beside")
    def beside() -> int:
        return len(gone())

    db = reopen()
    assert found(db, rows_of(gone)) == [0, 1, 2]
    del REGISTRY["redefined:keys2gone"]
    db = reopen()
    rows = rows_of(keys, first=10)  # it runs, and so do its members
    db.forget("*gone*")
    assert found(db, rows) == [10, 11]


def test_the_name_of_a_table_may_become_that_of_a_query_which_gives_keys(reopen: Reopen) -> None:
    keys = keys_of(2)
    db = reopen()
    assert found(db, rows_of(keys)) == [0, 1, 2]
    assert found(db, above(keys)) == [0, 1, 2]

    @query(name="redefined:rows")
    def rows() -> tuple[int, ...]:
        return tuple(keys()[1:])

    db = reopen()
    fed = above(rows)
    assert found(db, fed) == [1, 2]
    db.set(listed.key(2), (1, 5))
    assert found(db, fed) == [5]


def test_the_name_of_a_table_may_become_that_of_a_query_of_the_same_keys(reopen: Reopen) -> None:
    keys = keys_of(2)
    db = reopen()
    rows = rows_of(keys)
    assert db.get(rows, 1) == (Row(1, "1"),)
    assert found(db, rows) == [0, 1, 2]

    @query(name="redefined:rows")
    def plain(key: int) -> int:
        return key * 10 + len(listed(2))

    db = reopen()
    assert [db.get(plain, key) for key in range(3)] == [3, 13, 23]
    db.set(listed.key(2), ())
    assert [db.get(plain, key) for key in range(3)] == [0, 10, 20]
    db.check_invariants()
    again = rows_of(keys, first=1)
    db = reopen()
    assert found(db, again) == []
    db.set(listed.key(2), (4,))
    assert found(db, again) == [5]


def test_an_audit_ends_although_the_table_once_rested_on_one_that_is_no_more(reopen: Reopen) -> None:
    keys = keys_of(2)
    rows = rows_of(keys)
    db = reopen()
    assert found(db, above(rows.column("a"))) == [0, 1, 2]

    @query(name="redefined:rows")
    def plain(key: int) -> int:
        return key

    for name in [name for name in REGISTRY if name.startswith("redefined:rows.")]:
        del REGISTRY[name]
    db = reopen()
    db.set(listed.key(2), (1, 5))  # what was a table may have other rows: nobody will know
    assert found(db, above(keys)) == [1, 5]
    assert db.get(plain, 3) == 3


def test_the_name_of_a_fold_may_become_that_of_a_table_and_back(reopen: Reopen) -> None:
    keys = keys_of(2)

    @query(name="redefined:rows member")
    def member(key: int) -> int:
        return key

    def reduced() -> Any:
        return fold(each=keys, of=member, into=Count(), name="redefined:rows")

    db = reopen()
    assert db.get(reduced()) == 3
    rows = rows_of(keys)
    db = reopen()
    assert found(db, rows) == [0, 1, 2]
    db.set(listed.key(2), (1, 5))
    assert (found(db, rows), db.get(rows.failures)) == ([1, 5], ())
    again = reduced()
    db = reopen()
    assert db.get(again) == 2
    db.set(listed.key(2), (1, 5, 6))
    assert db.get(again) == 3
    db.check_invariants()
