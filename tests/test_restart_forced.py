"""What has to run after a restart begins a revision when somebody asks for it, and not before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import Durability, Engine, Transient, input, query
from tests.watching import Watch


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Variables of the process: a global of this module would be part of the code that reads it."""
    monkeypatch.setenv("FORCED_PEEK", "1")
    monkeypatch.delenv("FORCED_BROKEN", raising=False)
    return monkeypatch


@input(name="forced:number", durability=Durability.HIGH)
def number() -> int:
    return 3


@query(name="forced:peek", untracked=True)
def peek() -> int:
    return int(os.environ["FORCED_PEEK"])


@query(name="forced:top")
def top() -> int:
    return number() * 10 + peek()


@query(name="forced:over")
def over() -> int:
    return top() + 100


@query(name="forced:aside")
def aside() -> int:
    return number() + 1


@query(name="forced:away")
def away() -> int:
    if "FORCED_BROKEN" in os.environ:
        raise Transient("away")
    return 5


@query(name="forced:safe")
def safe() -> str:
    try:
        return str(away())
    except Transient:
        return "none"


def test_an_opening_that_finds_nothing_changed_makes_no_revision(
    tmp_path: Path, world: pytest.MonkeyPatch
) -> None:
    world.setenv("FORCED_BROKEN", "yes")
    with Engine(tmp_path / "store") as db:
        assert (db.get(over), db.get(safe), db.get(aside)) == (131, "none", 4)
        before = db.revision
    stored = (tmp_path / "store" / "store.db").read_bytes()
    for _ in range(3):
        with Engine(tmp_path / "store") as db:
            assert db.get(aside) == 4
            assert (db.revision, db.counts().executed) == (before, 0)
    assert (tmp_path / "store" / "store.db").read_bytes() == stored, "and nothing is written"


def test_who_asks_for_what_has_to_run_gets_it_of_now_in_one_revision(
    tmp_path: Path, world: pytest.MonkeyPatch
) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(over) == 131
        before = db.revision
    world.setenv("FORCED_PEEK", "2")
    with Engine(tmp_path / "store") as db:
        watch = Watch(db)
        assert db.get(aside) == 4
        assert db.revision == before
        assert watch.get(over) == 132
        assert db.revision == before + 1
        assert watch.ran == ["peek()", "top()", "over()"]
        assert db.get(over) == 132
        assert db.revision == before + 1
    with Engine(tmp_path / "store") as db:
        watch = Watch(db)
        assert watch.get(over) == 132
        assert (watch.ran, watch.cut) == (["peek()"], ["peek()"])
        assert db.revision == before + 2


def test_a_new_key_that_reads_what_has_to_run_gets_it_of_now(
    tmp_path: Path, world: pytest.MonkeyPatch
) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(over) == 131
    world.setenv("FORCED_PEEK", "2")

    @query(name="forced:late")
    def late() -> tuple[int, int]:
        return peek(), over()

    with Engine(tmp_path / "store") as db:
        assert db.get(late) == (2, 132)


def test_a_change_that_is_found_needs_no_revision_beside_its_own(
    tmp_path: Path, world: pytest.MonkeyPatch
) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(over) == 131
        before = db.revision
    world.setenv("FORCED_PEEK", "2")
    with Engine(tmp_path / "store") as db:
        db.set(number.key(), 4)
        assert db.get(over) == 142
        assert db.revision == before + 1


def test_a_failure_that_is_not_kept_is_tried_again_in_a_revision_of_its_own(
    tmp_path: Path, world: pytest.MonkeyPatch
) -> None:
    world.setenv("FORCED_BROKEN", "yes")
    with Engine(tmp_path / "store") as db:
        assert db.get(safe) == "none"
        before = db.revision
    world.delenv("FORCED_BROKEN")
    with Engine(tmp_path / "store") as db:
        assert db.get(safe) == "5"
        assert db.revision == before + 1


def test_a_snapshot_of_a_store_that_was_just_opened_sees_the_world_of_now(
    tmp_path: Path, world: pytest.MonkeyPatch
) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(over) == 131
    world.setenv("FORCED_PEEK", "2")
    with Engine(tmp_path / "store") as db, db.snapshot() as held:
        assert held.get(over) == 132
        assert db.get(over) == 132
