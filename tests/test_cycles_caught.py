"""Members of a cycle that catch its error: who has it does not depend on what was asked or known before."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from engine import CycleError, Engine, each, input, query
from engine.verify import Walk
from tests.rings import FAILS, burn, reads_left, told

KEYS = 5


@input(name="caught:edges")
def edges(key: int) -> tuple[int, ...]:
    return ()


@input(name="caught:together")
def together(key: int) -> bool:
    return False


@query(name="caught:node", code="none")
def node(key: int) -> str:
    """What is said of the keys below it; odd ones catch that a key below is a cycle, and read on."""
    if together(key):
        return f"{key}[{', '.join(each(node, edges(key)))}]"
    found = []
    for below in edges(key):
        burn()
        try:
            found.append(node(below))
        except CycleError:
            if not key % 2:
                raise
            found.append("caught")
        burn()
    return f"{key}({', '.join(found)})"


def set_edges(db: Engine, world: dict[int, tuple[int, ...]]) -> None:
    with db.batch():
        for key, below in world.items():
            db.set(edges.key(key), below)


def test_the_error_of_a_cycle_goes_when_a_member_with_an_equal_error_leaves_it() -> None:
    """1 is on a cycle of its own, before and after, and its error has one path: 3 must run all the same."""
    with Engine(None) as db:
        db.set(together.key(1), True)
        set_edges(db, {0: (3,), 3: (1,), 1: (1, 0)})
        assert told(db, node, 0) == FAILS
        set_edges(db, {1: (1,)})
        assert told(db, node, 3) == "3(caught)"
        set_edges(db, {1: (1, 0)})
        assert [told(db, node, key) for key in (3, 0, 1)] == [FAILS] * 3
        db.check_invariants()


@pytest.mark.parametrize("first", [1, 3, 5])
def test_who_is_on_a_cycle_does_not_depend_on_the_key_asked_for_first(first: int) -> None:
    """5 reads 3, which is a cycle of its own before it comes to read 5."""
    with Engine(None) as db:
        set_edges(db, {5: (3, 1), 3: (3, 5), 1: (3,)})
        told(db, node, first)
        assert [told(db, node, key) for key in (1, 3, 5)] == ["1(caught)", FAILS, "5(caught, 1(caught))"]


def test_a_member_of_a_cycle_that_caught_its_error_reads_nothing_more() -> None:
    """Also no value that is at hand, nor a group, nor an input: its memo is what led into the cycle."""
    read: list[object] = []

    @query(name="caught:stubborn")
    def stubborn() -> int:
        with suppress(CycleError):
            stubborn()
        for ask in (lambda: node(0), lambda: edges(0), lambda: each(node, (0, 2))):
            with suppress(CycleError):
                read.append(ask())
        return 1

    with Engine(None) as db:
        db.get(node, 0)
        with pytest.raises(CycleError):
            db.get(stubborn)
        assert read == []


def test_a_probe_that_meets_a_key_that_must_run_completes_the_marks_first() -> None:
    """1 runs alone, before its readers are marked; it reads 4, which must run and trusts what it read."""
    with Engine(None) as db:
        set_edges(db, {4: (0,), 0: (3,), 3: (1,), 1: (1,)})
        assert told(db, node, 4) == "4(0(3(caught)))"
        db.forget("caught:node(4)")
        set_edges(db, {1: (4,)})
        assert [told(db, node, key) for key in (0, 1, 3, 4)] == [FAILS] * 4


def test_a_ring_that_closes_again_ties_each_of_its_keys_once() -> None:
    """Each of them had gone through all that are tied to each: 0.7 s for a ring of 500."""
    size = 200
    looks: list[object] = []

    class Counted(dict[Any, Any]):
        def get(self, *given: Any) -> Any:
            looks.append(given)
            return super().get(*given)

    with Engine(None) as db:
        db._core.claims.knots = Counted()
        set_edges(db, {2 * key: (2 * ((key + 1) % size),) for key in range(size)})
        assert told(db, node, 0) == FAILS
        set_edges(db, {0: ()})
        assert told(db, node, 2) != FAILS
        looks.clear()
        set_edges(db, {0: (2,)})
        assert told(db, node, 0) == FAILS
        assert db.counts().failed == 2 * size
        assert len(looks) <= 10 * size
        db.check_invariants()


def test_the_keys_of_a_ring_that_unwinds_do_not_each_walk_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 200
    steps: list[Walk] = []
    real = Walk.way_up

    def counting(walk: Walk) -> list[int]:
        steps.append(walk)
        return real(walk)

    monkeypatch.setattr(Walk, "way_up", counting)
    with Engine(None) as db:
        set_edges(db, {2 * key: (2 * ((key + 1) % size),) for key in range(size)})
        assert told(db, node, 0) == FAILS
        assert len(steps) <= 2 * size


def begin(place: Path | None, history: int, grouped: dict[int, bool]) -> Engine:
    db = Engine(place, history=history)
    with db.batch():
        for key, value in grouped.items():
            db.set(together.key(key), value)
    return db


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("interrupted", [False, True])
def test_random_cycles_that_are_caught_are_what_they_are_from_scratch(
    tmp_path: Path, stored: bool, groups: bool, interrupted: bool
) -> None:
    for seed in range(25):
        chance, world = Random(f"{seed}"), dict[int, tuple[int, ...]]()
        place = tmp_path / f"{seed}" if stored else None
        history = chance.choice([0, 4])
        grouped = {key: groups and chance.random() < 0.5 for key in range(KEYS)}

        db = begin(place, history, grouped)
        for _ in range(20):
            if chance.random() < 0.7:
                key = chance.randrange(KEYS)
                world[key] = tuple(chance.randrange(KEYS) for _ in range(chance.choice([0, 1, 1, 2, 3])))
                db.set(edges.key(key), world[key])
            key = chance.randrange(KEYS)
            reads_left[0] = chance.randrange(12) if interrupted else 0
            with suppress(KeyboardInterrupt):
                found = told(db, node, key)
                reads_left[0] = 0
                with begin(None, 0, grouped) as scratch:
                    set_edges(scratch, world)
                    assert found == told(scratch, node, key), (seed, key, world)
            reads_left[0] = 0
            db.check_invariants()
            if place is not None and chance.random() < 0.3:
                db.close()
                db = begin(place, history, grouped)
                assert db.store is not None
                db.store.check_invariants()
        db.close()


def test_random_cycles_that_are_caught_are_in_a_snapshot_what_they_are_in_the_engine() -> None:
    """A snapshot let members of a ring read on, and nobody joined one that was closed below a group."""
    for seed in range(200):
        chance = Random(seed)
        sizes = [chance.choice([0, 1, 1, 2, 3]) for _ in range(KEYS)]
        world = {key: tuple(chance.randrange(KEYS) for _ in range(size)) for key, size in enumerate(sizes)}
        order = chance.sample(range(KEYS), KEYS)
        with begin(None, 0, {key: chance.random() < 0.4 for key in range(KEYS)}) as db:
            set_edges(db, world)
            with db.snapshot() as view:
                found = [told(view, node, key) for key in order]
            assert found == [told(db, node, key) for key in order], (world, order)
