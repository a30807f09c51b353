"""A table that needs itself is a cycle, reported by its path, and heals."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from attrs import frozen

from engine import CycleError, Engine, input, query, table


@input
def closed() -> tuple[str, ...]:
    """How the loop is closed, if it is."""
    return ()


@input
def numbers() -> tuple[int, ...]:
    return (1, 2)


@frozen
class Row:
    n: int


@table(each=numbers, index=("n",))
def low(n: int) -> Iterable[Row]:
    how = closed()
    if "directly" in how:
        low.count()
    if "query" in how:
        through_a_query()
    if "table" in how:
        high.exists(n=1)
    yield Row(n)


@query
def through_a_query() -> int:
    return low.count(n=2)


@table(each=numbers, index=("n",))
def high(n: int) -> Iterable[Row]:
    yield Row(low.count(n=n))


@query
def top() -> int:
    return high.count(n=1)


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ("directly", ["low", "low.count()"]),
        ("query", ["low", "through_a_query()", "low.count(n=2)"]),
        ("table", ["low", "high", "high.exists(n=1)"]),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_table_that_needs_itself_is_a_cycle_with_its_path_also_by_an_edit_and_heals(
    db: Engine, how: str, path: list[str], first: bool
) -> None:
    if not first:
        assert db.get(top) == 2
        db.get(through_a_query)
    for _ in range(2):
        db.set(closed.key(), (how,))
        for key in (top.key(), low.where.key(), low.count.key(n=1)):
            with pytest.raises(CycleError) as error:
                db.get(key)
            names = {name.rpartition(":")[2] for name in error.value.path}
            assert set(path) <= names
            assert any(name.startswith("low(") for name in names)
        db.check_invariants()
        db.set(closed.key(), ())
        assert db.get(top) == 2
        assert len(db.get(low.where)) == 2
        assert db.get(through_a_query) == 1
        db.check_invariants()
