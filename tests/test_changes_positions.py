"""A position that cannot be gone on from is refused with what to do: one claim a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import Engine, StoreReadOnly
from tests.following import copied, db, notes, put, refused, told, total
from tests.killing import directory

__all__ = ["db", "directory"]  # fixtures


@pytest.mark.parametrize("what", [notes, total], ids=["table", "value"])
def test_a_position_of_another_store_is_refused_with_what_to_do(tmp_path: Path, what: Any) -> None:
    with Engine(tmp_path / "a") as db:
        put(db, a=1)
        position = next(iter(db.changes(what, since="one"))).position
    with Engine(tmp_path / "b") as db:
        put(db, a=1)
        assert refused(db, what, position)[0] == "it is of another store, or of another consumer"
        list(db.changes(what, since="one"))
        cause, hint = refused(db, what, position)
        assert (cause, hint[:25]) == (
            "it is of another store, or of another consumer",
            "Start without a position,",
        )
        assert refused(db, what, position, "two")[0] == cause
        put(db, a=2)
        assert len(list(db.changes(what, since="one"))) == 1, "a refusal moves nothing"


@pytest.mark.parametrize("what", [notes, total], ids=["table", "value"])
def test_a_consumer_that_goes_backwards_is_refused_with_what_to_do(db: Engine, what: Any) -> None:
    put(db, a=1)
    feed = db.changes(what, since="one")
    positions = [new.position for new in feed]
    for number in (2, 3):
        put(db, a=number)
        positions += [new.position for new in feed]
    assert len(positions) == 3
    for position in positions[:2]:
        cause, hint = refused(db, what, position)
        assert cause == "it goes backwards: later changes were acknowledged already"
        assert hint.startswith("Start again under another name, or close this cursor")
    assert list(db.changes(what, since="one", after=positions[2])) == []
    db.changes(what, since="one").close()
    assert len(list(db.changes(what, since="one"))) == 1


def test_an_older_copy_of_the_store_is_not_taken_for_the_one_a_consumer_followed(directory: Path) -> None:
    with Engine(directory / "store") as db:
        put(db, a=1)
        feed = db.changes(notes, since="one")
        list(feed)
        copied(directory / "store", directory / "copy")  # or what a power cut left
        put(db, a=2)
        position = next(iter(feed)).position
    with Engine(directory / "copy") as db:
        for number in range(5, 9):  # other changes get the same numbers
            put(db, a=number)
            db.get(notes.count)
        assert refused(db, notes, position)[0].endswith("or this store is an older copy")
        db.changes(notes, since="one").close()
        assert told(db.changes(notes, since="one")) == [("reset", ["a8"], [])]


@pytest.mark.parametrize("what", [notes, total], ids=["table", "value"])
def test_a_position_of_the_future_is_refused(db: Engine, what: Any) -> None:
    put(db, a=1)
    position = next(iter(db.changes(what, since="one"))).position
    nonce, _, rest = position.partition("-")
    future = f"{nonce}-0-99999" if what is notes else f"{nonce}-99999-{rest.rpartition('-')[2]}"
    assert refused(db, what, future)[0].startswith("nothing that was told ends there")
    assert list(db.changes(what, since="one", after=position)) == []


@pytest.mark.parametrize("what", [notes, total], ids=["table", "value"])
@pytest.mark.parametrize(
    "position", ["", "-", "x-1", "1", "0" * 16 + "-", "0" * 16 + "-0-²", "0" * 16 + "-1-zz", "é-é-é"]
)
def test_garbage_is_refused_as_no_position(db: Engine, what: Any, position: str) -> None:
    put(db, a=1)
    assert refused(db, what, position)[0] == "this is no position that a delta had"


def test_a_read_only_engine_refuses_with_what_to_do(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        put(db, a=1)
        list(db.changes(notes, since="one"))
    with Engine(tmp_path / "store", read_only=True) as db:
        with pytest.raises(StoreReadOnly, match="read_only=True") as caught:
            db.changes(notes, since="one")
        assert caught.value.hint == "Open it without: Engine(path)."
        with pytest.raises(StoreReadOnly):
            db.changes(total, since="one")
