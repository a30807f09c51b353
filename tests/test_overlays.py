"""What the host set beats the world until it is reset."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from engine import Engine, input, query
from engine.rules.directories import Entry, glob, listing
from engine.rules.files import FileError, exists, read_text
from tests.cells import cell, db, ten
from tests.patience import PATIENCE

__all__ = ["db"]


def test_set_beats_a_sync_that_was_looking_at_the_world(db: Engine) -> None:
    looking, go_on = threading.Event(), threading.Event()
    slow: list[bool] = []
    world = {"a": "disk"}

    @input(observed=True)
    def text(path: str) -> str:
        if slow:
            looking.set()
            go_on.wait(PATIENCE)
        return world[path]

    @query
    def loud(path: str) -> str:
        return text(path) + "!"

    assert db.get(loud, "a") == "disk!"
    slow.append(True)
    world["a"] = "later"
    syncing = threading.Thread(target=db.sync)
    syncing.start()
    assert looking.wait(PATIENCE)
    slow.clear()
    db.set(text.key("a"), "overlay")
    go_on.set()
    syncing.join(PATIENCE)
    assert not syncing.is_alive()
    assert db.get(loud, "a") == "overlay!"
    db.reset(text.key("a"))
    assert db.get(loud, "a") == "later!"


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "./a.txt", "x/../a.txt", "a\0b"])
def test_a_path_that_cannot_be_read_by_this_name_cannot_be_set(tmp_path: Path, name: str) -> None:
    """An editor that names its buffers by whole paths set what no query ever asked for."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "out.txt").write_text("out")
    for path in (name, str(root / "a.txt")):
        with Engine(None, root=root) as db:
            with pytest.raises(FileError) as read:
                db.get(read_text, path)
            revision = db.revision
            with pytest.raises(FileError) as told:
                db.set(read_text.key(path), "set")
            assert str(told.value) == str(read.value)
            assert db.revision == revision
            db.set(read_text.key("a.txt"), "not there yet")
            assert db.get(read_text, "a.txt") == "not there yet"


def test_why_tells_a_reset_from_a_change_of_the_world(db: Engine) -> None:
    db.get(ten, 1)
    db.set(cell.key(1), 2)
    assert "set" in f"{db.why(cell, 1)}"
    db.reset(cell.key(1))
    assert db.get(ten, 1) == 10
    for asked in (cell.key(1), ten.key(1)):
        assert "given back to its function" in f"{db.why(asked)}"


def test_a_buffer_that_was_never_saved_is_listed_where_its_directory_is_set_too(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")
    with Engine(None, root=tmp_path) as db:
        db.set(read_text.key("new.txt"), "new")
        assert db.get(read_text, "new.txt") == "new"
        assert (db.get(glob, "*.txt"), db.get(exists, "new.txt")) == (("old.txt",), False)
        db.set(listing.key(""), (Entry("new.txt", "file"), *db.get(listing, "")))
        db.set(exists.key("new.txt"), True)
        assert (db.get(glob, "*.txt"), db.get(exists, "new.txt")) == (("new.txt", "old.txt"), True)
        for key in (listing.key(""), exists.key("new.txt"), read_text.key("new.txt")):
            db.reset(key)
        assert (db.get(glob, "*.txt"), db.get(exists, "new.txt")) == (("old.txt",), False)
