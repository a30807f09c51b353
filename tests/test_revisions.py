"""What the host sets makes one revision or none, and beats the world until it is reset."""

from __future__ import annotations

import pytest

from engine import Engine, input, query
from tests.watching import Watch, number


def test_an_equal_write_is_no_revision(db: Engine, watch: Watch) -> None:
    @query
    def top() -> int:
        return number("a")

    watch.get(top)
    before = db.revision
    assert db.set(number.key("a"), 0) == before
    assert db.set(number.key("a"), 1) == before + 1
    assert db.set(number.key("a"), 1) == before + 1


def test_a_batch_is_one_revision(db: Engine) -> None:
    before = db.revision
    with db.batch():
        for name in "abc":
            db.set(number.key(name), 1)
    assert db.revision == before + 1


def test_a_batch_that_raises_changes_nothing(db: Engine) -> None:
    before = db.revision

    def fail() -> None:
        with db.batch():
            db.set(number.key("a"), 1)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        fail()
    assert db.revision == before
    assert db.get(number, "a") == 0


def test_an_overlay_beats_the_world_until_it_is_reset(db: Engine) -> None:
    world = {"x": 1}

    @input(observed=True)
    def entry(name: str) -> int:
        return world[name]

    @query
    def top() -> int:
        return entry("x") * 10

    assert db.get(top) == 10
    db.set(entry.key("x"), 5)
    assert db.get(top) == 50
    world["x"] = 2
    db.sync()
    assert db.get(top) == 50
    db.reset(entry.key("x"))
    assert db.get(top) == 20
