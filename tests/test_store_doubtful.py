"""A page that the disk does not give is malformed to SQLite. What is so is looked at once more, and kept."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, input, query
from engine.errors import StoreDamaged, StoreError
from engine.store import open_store, opening, schema
from engine.store.rawfile import RawFile
from tests.stores import connect_by, copy, database, dump, set_aside, sql, unsealed


@input
def number() -> int:
    return 41


@query
def answer(more: int) -> int:
    return number() + more


class Struck(sqlite3.Connection):
    """What SQLite says where a read ends with EIO, at the statement that is left then; it may go on so."""

    left = 0
    lasts = False

    def execute(self, *args: Any) -> sqlite3.Cursor:
        Struck.left -= 1
        if Struck.left == 0 or (Struck.left < 0 and Struck.lasts):
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        return super().execute(*args)


@pytest.fixture(autouse=True)
def struck(monkeypatch: pytest.MonkeyPatch) -> type[Struck]:
    monkeypatch.setattr(Struck, "left", 0)
    monkeypatch.setattr(Struck, "lasts", False)
    connect_by(monkeypatch, Struck)
    return Struck


def test_whichever_statement_of_an_opening_is_struck_everything_is_found(
    tmp_path: Path, struck: type[Struck]
) -> None:
    expected = unsealed(tmp_path / "good")
    opened = nth = 0
    for nth in range(1, 1000):
        directory, struck.left = copy(tmp_path / "good", tmp_path / "struck"), nth
        with suppress(StoreDamaged):  # where the last look was struck
            open_store(directory).close()
            opened += 1
        left, struck.left = struck.left, 0
        with open_store(directory) as store:
            assert dump(store) == expected
        assert set_aside(directory) == []
        if left > 0:
            break
    assert 20 < opened >= nth - 2


def test_whichever_statement_of_a_request_is_struck_what_the_host_set_is_kept(
    tmp_path: Path, struck: type[Struck]
) -> None:
    """The store was set aside, and with it all that nobody can compute again."""
    with Engine(tmp_path / "good") as db:
        db.set(number, 5)
        db.get(answer, 1)
    again = 0
    for nth in range(1, 200):
        directory = copy(tmp_path / "good", tmp_path / "struck")
        with Engine(directory) as db:
            struck.left = nth
            assert (db.get(answer, 1), db.get(answer, 2)) == (6, 7)
            left, struck.left = struck.left, 0
            again += opening.AUDITED in db.notes()
        with Engine(directory) as db:
            assert (db.get(number), db.get(answer, 2), db.notes()) == (5, 7, ())
        assert set_aside(directory) == []
        if left > 0:
            break
    assert 5 < again < 199


@pytest.mark.parametrize("when", ["opening", "request"])
def test_while_the_disk_fails_nothing_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, struck: type[Struck], when: str
) -> None:
    with Engine(tmp_path / "s") as db:
        db.set(number, 5)
        db.get(answer, 1)
    (tmp_path / "s" / "store.seal").unlink()  # else the opening reads it all before

    def failing(*_: object, **__: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    if when == "opening":
        struck.left, struck.lasts = 1, True
        with monkeypatch.context() as patch:
            patch.setattr(RawFile, "digest", failing)
            with pytest.raises(StoreError, match=os.strerror(errno.EIO)):
                Engine(tmp_path / "s")
    else:
        with Engine(tmp_path / "s") as db:
            struck.left, struck.lasts = 1, True
            with monkeypatch.context() as patch:
                patch.setattr(RawFile, "digest", failing)
                for _ in range(2):
                    with pytest.raises(StoreError, match=os.strerror(errno.EIO)):
                        db.get(answer, 1)
            struck.lasts = False
            assert db.get(answer, 2) == 7, "it is open still"
    struck.left, struck.lasts = 0, False
    with Engine(tmp_path / "s") as db:
        assert (db.get(number), db.get(answer, 1)) == (5, 6)
    assert set_aside(tmp_path / "s") == []


def test_what_is_malformed_whenever_it_is_read_is_set_aside(tmp_path: Path, struck: type[Struck]) -> None:
    unsealed(tmp_path)
    page = (tmp_path / "store.db").read_bytes()
    (tmp_path / "store.db").write_bytes(page[:4096] + bytes(4096) + page[8192:])
    with open_store(tmp_path) as store:
        assert store.notes[0].startswith("The store was damaged")
        assert store.state.revision == 0
    assert len(set_aside(tmp_path)) == 1


@pytest.mark.parametrize(
    ("damage", "told"),
    [("flags = flags + 64", "(table node, row 2)"), ("value = x'00'", "(table node, row 2, column value)")],
)
def test_the_note_of_a_row_that_is_damaged_says_which(tmp_path: Path, damage: str, told: str) -> None:
    """It said: the store was damaged (2)."""
    with Engine(tmp_path) as db:
        db.set(number, 5)
        assert db.get(answer, 1) == 6
    with Engine(tmp_path) as db:
        assert db.store is not None
        db.store.connection.execute(f"UPDATE node SET {damage} WHERE id = 2")
        assert (db.get(answer, 1), db.get(number)) == (42, 41)
        assert told in db.notes()[0]


@pytest.mark.parametrize("malformed", [False, True])
def test_a_store_that_was_sealed_with_damage_in_it_is_set_aside(tmp_path: Path, malformed: bool) -> None:
    """The disk had damaged it under an engine, which sealed it at its end. No opening came to an end."""
    with Engine(tmp_path) as db:
        assert db.get(answer, 1) == 42
    if malformed:
        with closing(sqlite3.connect(database(tmp_path))) as connection:
            (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'query'").fetchone()
        with database(tmp_path).open("r+b") as file:
            file.seek((page - 1) * schema.PAGE_SIZE)
            file.write(b"\xff")
    sql(tmp_path, "" if malformed else "UPDATE query SET code = x'00'", renew_seal=True)
    with pytest.raises(StoreDamaged):
        Engine(tmp_path, read_only=True)
    with Engine(tmp_path) as db:
        assert db.get(answer, 1) == 42
        (note,) = db.notes()
        assert note.startswith("The store was damaged")
    assert len(set_aside(tmp_path)) == 1
    with Engine(tmp_path) as db:
        assert (db.get(answer, 1), db.counts().executed, db.notes()) == (42, 0, ())
