"""A value that was kept is changed by nobody who got it."""

from __future__ import annotations

from engine import Engine, query
from tests.watching import number


def test_a_reader_cannot_poison_a_memo(db: Engine) -> None:
    @query
    def items() -> list[int]:
        return [number("a"), 2, 3]

    @query
    def greedy() -> int:
        mine = items()
        mine.append(99)
        return len(mine)

    assert db.get(greedy) == 4
    mine = db.get(items)
    mine.clear()
    assert db.get(items) == [0, 2, 3]


def test_what_a_query_keeps_of_its_value_cannot_change_it(db: Engine) -> None:
    kept: list[list[int]] = []

    @query
    def items() -> list[int]:
        kept.append([1, 2])
        return kept[-1]

    assert db.get(items) == [1, 2]
    kept[-1].append(3)
    assert db.get(items) == [1, 2]
