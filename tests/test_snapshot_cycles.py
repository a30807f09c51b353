"""Cycles by lookups and folds that somebody catches: a snapshot says of them what the engine says."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from attrs import frozen

from engine import CycleError, Engine, Key, Sum, each, fold, input, query, table
from tests.rings import FAILS, told


@input
def edges(key: int) -> tuple[int, ...]:
    return ()


@input
def catches(key: int) -> bool:
    return False


@query
def three() -> tuple[int, ...]:
    return (0, 1, 2)


@frozen
class Row:
    n: int


def read(edge: int) -> int:
    if edge < 4:
        return node(edge)
    if edge == 4:
        return rows.count()
    if edge == 5:
        return total()
    if edge == 6:
        return len(rows.of(1))
    if edge == 7:
        return int(rows.exists(n=1))
    if edge == 8:
        return len(rows.failures())
    return sum(each(node, three()))


@query
def node(key: int) -> int:
    try:
        return 1 + sum(read(edge) for edge in edges(key))
    except CycleError:
        if catches(key):
            return 50
        raise


@table(each=three, index=("n",))
def rows(key: int) -> Iterable[Row]:
    yield Row(sum(read(edge) for edge in edges(10 + key)))


@query
def part(key: int) -> int:
    return sum(read(edge) for edge in edges(20 + key))


total = fold(each=three, of=part, into=Sum())

KEYS: list[Key[object]] = [
    *(node.key(key) for key in range(4)),
    rows.count.key(),
    total.key(),
    rows.of.key(1),
    rows.exists.key(n=1),
    rows.key(1),
    part.key(2),
]


def test_what_the_engine_knows_of_a_cycle_does_not_tell_a_snapshot_who_stands_on_it() -> None:
    """Who was asked for in the snapshot first, and caught the error that was held, had a value there."""
    cycles = 0
    for seed in range(150):
        chance = Random(seed)
        with Engine(None) as db:
            for key in (0, 1, 2, 3, 10, 11, 12, 20, 21, 22):
                size = chance.choice([0, 0, 1, 1, 2])
                db.set(edges.key(key), tuple(chance.randrange(10) for _ in range(size)))
            for key in range(4):
                db.set(catches.key(key), chance.random() < 0.3)
            order = chance.sample(KEYS, len(KEYS))
            for asked in chance.sample(KEYS, chance.choice([0, 0, 2])):
                told(db, asked)
            with db.snapshot() as view:
                found = [told(view, key) for key in order]
            assert found == [told(db, key) for key in order], (seed, order)
            cycles += found.count(FAILS)
    assert cycles > 100
