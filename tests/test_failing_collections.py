"""Source keys of tables and folds that fail: members may run meanwhile; when they heal, all are told."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from attrs import frozen

from engine import Engine, Sum, fold, input, query, table
from tests.watching import Watch


@input
def fails() -> bool:
    return False


@input
def cell() -> int:
    return 1


@query
def numbers() -> tuple[int, ...]:
    if fails():
        raise ValueError("no keys")
    return (1, 2)


@frozen
class Row:
    n: int


@query
def plus(n: int) -> int:
    return n + cell()


@table(each=numbers, index=("n",))
def sums(n: int) -> Iterable[Row]:
    yield Row(plus(n))


total = fold(each=numbers, of=plus, into=Sum())


@query
def top() -> int | str:
    try:
        return sums.count(n=3)
    except ValueError:
        return "no keys"


@query
def over_total() -> int | str:
    try:
        return total()
    except ValueError:
        return "no keys"


@pytest.mark.parametrize(
    ("reader", "member", "values"), [(top, sums, (1, 1, 0)), (over_total, plus, (5, 7, 3))]
)
def test_a_member_that_runs_while_the_source_keys_fail_leaves_nobody_behind_when_they_heal(
    db: Engine, watch: Watch, reader: object, member: object, values: tuple[int, ...]
) -> None:
    """It forced who had the error of the whole already, in that revision: marks never came to them again."""
    assert db.get(reader) == values[0]  # type: ignore[call-overload]  # either kind of query
    for number, healed in ((2, values[1]), (0, values[2])):
        with db.batch():
            db.set(fails, True)
            db.set(cell, number)
        assert db.get(reader) == "no keys"  # type: ignore[call-overload]  # as above
        for n in (1, 2):
            db.get(member, n)  # type: ignore[call-overload]  # as above
        watch.ran.clear()
        assert watch.get(reader) == "no keys"
        assert watch.ran == [], "in vain: the error is that of the source keys still"
        db.check_invariants()
        db.set(fails, False)
        assert db.get(reader) == healed  # type: ignore[call-overload]  # as above
        db.check_invariants()
