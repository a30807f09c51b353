"""A cycle that was interrupted is no answer, and leaves a usable store."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from engine import Count, CycleError, Engine, fold, input, query
from tests.interrupts import cell, db, ten
from tests.rings import burn, reads_left, told

__all__ = ["db"]  # a fixture


def test_an_interrupted_ring_leaves_a_usable_store(store: Path) -> None:
    interrupts = [True]

    @query
    def first() -> int:
        with suppress(CycleError):
            second()
        if interrupts:
            raise KeyboardInterrupt
        return 1

    @query
    def second() -> int:
        return first()

    with Engine(store) as db:
        db.set(cell.key(0), 5)
        with pytest.raises(KeyboardInterrupt):
            db.get(first)
    interrupts.clear()
    with Engine(store) as db:
        for member in (second, first, second):
            with pytest.raises(CycleError):
                db.get(member)
        assert db.get(ten, 0) == 50
        assert db.notes() == ()


@pytest.mark.parametrize("switch", [1, 2])
def test_a_memo_that_a_cycle_replaced_is_not_believed_after_an_interrupt(tmp_path: Path, switch: int) -> None:
    """Nothing is left of the cycle: the half that was computed goes, and what the store had goes too."""
    struck: list[Exception] = []

    @query(name="recover:first")
    def first() -> int:
        return 7 if cell(9) == 2 else second() + 1 if cell(9) == 1 else 3

    @query(name="recover:second")
    def second() -> int:
        try:
            return first()
        except CycleError as error:
            if not struck:
                struck.append(error)
                raise KeyboardInterrupt from None
            raise

    with Engine(tmp_path / "store") as db:
        db.set(cell.key(9), 0)
        assert db.get(first) == 3
        db.set(cell.key(9), 1)
        with pytest.raises(KeyboardInterrupt):
            db.get(second)
        db.check_invariants()
        if switch == 2:
            db.set(cell.key(9), 2)
    with Engine(tmp_path / "store") as db:
        assert db.store is not None
        db.store.check_invariants()
        if switch == 2:
            assert (db.get(first), db.get(second)) == (7, 7)
        else:
            with pytest.raises(CycleError):
                db.get(first)
        db.check_invariants()


def test_a_cycle_that_was_interrupted_is_no_answer(db: Engine) -> None:
    """One member had its error already, and the one that was interrupted is now what it was before."""
    strikes = [KeyboardInterrupt()]

    @query(name="recover:upper")
    def upper() -> int:
        try:
            return lower() if cell(9) else 3
        except CycleError:
            if strikes:
                raise strikes.pop() from None
            raise

    @query(name="recover:lower")
    def lower() -> int:
        return upper()

    db.set(cell.key(9), 0)
    assert db.get(lower) == 3
    db.set(cell.key(9), 1)
    with pytest.raises(KeyboardInterrupt):
        db.get(upper)
    db.set(cell.key(9), 0)
    assert (db.get(lower), db.get(upper)) == (3, 3)
    db.check_invariants()


KEYS = 3


@input(name="recover:edges")
def edges(key: int) -> tuple[int, ...]:
    return ()


@query(name="recover:above")
def above(key: int) -> str:
    found = []
    for below in edges(key):
        try:
            found.append(above(below))
        finally:
            burn()
    return f"{key}({', '.join(found)})"


@pytest.mark.parametrize("stored", [False, True])
def test_random_cycles_that_are_interrupted_come_to_what_they_are_from_scratch(
    tmp_path: Path, stored: bool
) -> None:
    for seed in range(60):
        chance, world = Random(seed), dict[int, tuple[int, ...]]()
        place = tmp_path / f"{seed}" if stored else None
        db = Engine(place)
        for _ in range(30):
            if chance.random() < 0.7:
                changed = chance.randrange(KEYS)
                world[changed] = chance.choice([(), ((changed + 1) % KEYS,), (0, 1)])
                db.set(edges.key(changed), world[changed])
            key = chance.randrange(KEYS)
            reads_left[0] = chance.choice([0, chance.randrange(1, 6)])
            with suppress(KeyboardInterrupt):
                found = told(db, above, key)
                reads_left[0] = 0
                with Engine(None) as scratch:
                    for one, several in world.items():
                        scratch.set(edges.key(one), several)
                    assert found == told(scratch, above, key), seed
            reads_left[0] = 0
            db.check_invariants()
            if place is not None and chance.random() < 0.3:
                db.close()
                db = Engine(place)
                assert db.store is not None
                db.store.check_invariants()
        db.close()


def test_a_key_of_a_ring_that_is_made_twice_is_stored_as_it_is_in_the_end(store: Path) -> None:
    """The bytes of one error stayed beside the fingerprint of another: the store was taken for damaged."""

    @query(name="twice:keys")
    def keys() -> tuple[int, ...]:
        return (0, 1)

    @query(name="twice:member")
    def member(number: int) -> int:
        return counted()

    counted = fold(each=keys, of=member, into=Count(), name="twice:counted")
    with Engine(store) as db:
        for _ in range(2):
            with pytest.raises(CycleError):
                db.get(member, 0)
            assert db.store is not None
            db.store.check_invariants()
            db._core.torn = True  # as an interrupt leaves it
