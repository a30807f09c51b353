"""A disk that fails while a store is opened costs nothing; what was set aside is told, if later."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, input
from engine.errors import StoreDamaged, StoreError, StoreFull
from engine.store import Batch, open_store, opening, seal
from engine.store.sqlite import Store
from tests.stores import closed_store, connect_by, copy, database, dump, set_aside, unsealed

UNREAD = "*** in database main ***\nPage 22: unable to get the page. error code={}"
LIST_UNREAD = "*** in database main ***\nMain freelist: failed to get page 7"


@input
def number() -> int:
    return 41


def says(line: str) -> type[sqlite3.Connection]:
    """A connection whose integrity_check says this."""

    class Says(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql.startswith("PRAGMA integrity_check"):
                return super().execute("SELECT ?", (line,))
            return super().execute(sql, *args)

    return Says


@pytest.mark.parametrize("line", [UNREAD.format(sqlite3.SQLITE_IOERR_READ), UNREAD.format(10), LIST_UNREAD])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_page_that_the_audit_cannot_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, read_only: bool
) -> None:
    expected = unsealed(tmp_path)
    with monkeypatch.context() as patch:
        connect_by(patch, says(line))
        with pytest.raises(StoreError) as caught:
            open_store(tmp_path, read_only=read_only)
    assert type(caught.value) is StoreError
    assert caught.value.fields["store"] == str(database(tmp_path))
    assert caught.value.fields["reason"] == line.rpartition("\n")[2]
    assert set_aside(tmp_path) == []
    with open_store(tmp_path) as store:
        assert (dump(store), store.notes) == (expected, [opening.AUDITED])


@pytest.mark.parametrize("line", ["row 3 missing from index node_key", UNREAD.format(sqlite3.SQLITE_CORRUPT)])
def test_what_the_audit_has_read_and_found_wrong_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    unsealed(tmp_path)
    connect_by(monkeypatch, says(line))
    with open_store(tmp_path) as store:
        assert store.state.revision == 0
        assert line.rpartition("\n")[2] in store.notes[0]
    assert len(set_aside(tmp_path)) == 1


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_NOMEM])
def test_whichever_statement_of_an_opening_fails_to_read_the_next_opening_finds_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    expected = unsealed(tmp_path / "good")
    told: set[type[StoreError]] = set()
    left = fails = nth = 0

    class Struck(sqlite3.Connection):
        def execute(self, *args: Any) -> sqlite3.Cursor:
            nonlocal left
            left -= 1
            if left == 0:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = code
                raise error
            return super().execute(*args)

    connect_by(monkeypatch, Struck)
    for nth in range(1, 1000):
        directory, left = copy(tmp_path / "good", tmp_path / "struck"), nth
        try:
            open_store(directory).close()
        except StoreError as error:
            told.add(type(error))
            fails += 1
        struck, left = left <= 0, 0
        with open_store(directory) as store:
            assert dump(store) == expected
        assert set_aside(directory) == []
        if not struck:
            break
    assert 20 < fails < nth
    assert told == {StoreError}


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.ENOMEM])
@pytest.mark.parametrize("name", ["store.db", "store.seal"])
@pytest.mark.parametrize("call", ["open", "read"])
def test_a_file_that_the_system_does_not_give_is_told_and_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, name: str, call: str
) -> None:
    expected = closed_store(tmp_path)
    real = {one: getattr(os, one) for one in ("open", "read", "pread", "preadv")}
    paths: dict[int, str] = {}

    def opens(path: Any, *args: Any, **named: Any) -> int:
        if call == "open" and Path(path).name == name:
            raise OSError(code, os.strerror(code))
        fd = real["open"](path, *args, **named)
        paths[fd] = Path(path).name
        return int(fd)

    def reads(one: str) -> Any:
        def read(fd: int, *args: Any) -> Any:
            if call == "read" and paths.get(fd) == name:
                raise OSError(code, os.strerror(code))
            return real[one](fd, *args)

        return read

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", opens)
        for one in ("read", "pread", "preadv"):
            patch.setattr(os, one, reads(one))
        with pytest.raises(StoreError, match=os.strerror(code)) as caught:
            open_store(tmp_path)
    assert type(caught.value) is StoreError
    assert set_aside(tmp_path) == []
    with open_store(tmp_path) as store:
        assert (dump(store), store.notes) == (expected, [])


def test_commits_after_a_seal_that_could_not_be_removed_are_found_at_the_next_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = closed_store(tmp_path / "s")

    def fails(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(seal, "remove_seal", fails)
    with open_store(tmp_path / "s") as store:
        with pytest.raises(StoreError, match=os.strerror(errno.EIO)):
            store.checkpoint()
        store.write(Batch(state=store.state._replace(revision=9)))
    with open_store(tmp_path / "s") as store:
        assert (store.notes, store.state.revision) == ([], 9)
        assert dump(store)[1:] == expected[1:]


def test_statistics_of_a_store_whose_seal_cannot_be_read_end_in_an_error_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with open_store(tmp_path) as store:
        monkeypatch.setattr(seal, "read_seal", fails)
        with pytest.raises(StoreError, match=os.strerror(errno.EIO)):
            store.statistics()


# -- what was set aside is told -----------------------------------------------------------------------------


def damaged(directory: Path) -> None:
    with Engine(directory) as db:
        db.set(number.key(), 1)
    database(directory).write_bytes(bytes(100_000))


def notes_of(directory: Path) -> list[str]:
    with Engine(directory) as db:
        return [note for note in db.notes() if "set aside" in note]


class Killed(BaseException):
    """As if the process had ended there."""


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (opening, "create"),
        (opening, "connect"),
        (seal, "write_seal"),
        (Store, "make_index"),
        (Store, "queries"),
    ],
)
@pytest.mark.parametrize("kind", [OSError, Killed])
def test_where_making_the_new_store_fails_the_next_opening_tells_that_the_old_one_was_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, kind: type[BaseException]
) -> None:
    damaged(tmp_path)
    real = getattr(owner, step)

    def fails(*args: Any, **named: Any) -> Any:
        if set_aside(tmp_path):
            raise kind(errno.EIO, os.strerror(errno.EIO))
        return real(*args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, fails)
        for _ in range(2):
            with pytest.raises((StoreError, OSError, Killed)):
                Engine(tmp_path)
    [name] = set_aside(tmp_path)
    [note] = notes_of(tmp_path)
    assert f"it was set aside as {name} and" in note
    assert notes_of(tmp_path) == []
    assert set_aside(tmp_path) == [name]


def test_where_a_store_in_use_cannot_be_made_anew_the_next_opening_tells_why_it_was_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(files: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, Engine(tmp_path) as db:
        assert db._core.store is not None
        patch.setattr(opening, "create", fails)
        with pytest.raises(StoreFull):
            db._core.store.start_over(StoreDamaged(reason="of a test"))
    [note] = notes_of(tmp_path)
    assert note.startswith("The store was damaged (of a test)")
    assert notes_of(tmp_path) == []


def test_what_could_not_be_renamed_is_not_told_as_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged(tmp_path)

    def fails(*paths: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fails)
        with pytest.raises(StoreError, match=os.strerror(errno.EIO)):
            Engine(tmp_path)
    assert set_aside(tmp_path) == []
    [note] = notes_of(tmp_path)
    [name] = set_aside(tmp_path)
    assert name in note


def test_a_file_of_notes_that_holds_something_else_is_passed_over(tmp_path: Path) -> None:
    for data in (b"", b"[1, 2]", b"\xff", b'{"store.corrupt-1": "gone"}', b'"text"', b"3"):
        (tmp_path / "store.untold").write_bytes(data)
        assert notes_of(tmp_path) == []
