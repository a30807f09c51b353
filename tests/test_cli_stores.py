"""A store is described, forgotten in part, collected, or left alone where it cannot be used, and why."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest import mock

import pytest

from engine.errors import StoreFull, StoreInUse
from engine.store.fulltext import NO_ROOM, FullText
from engine.store.lock import WriterLock
from engine.store.sqlite import Store
from tests.commands import Command, check_refused, engine

__all__ = ["engine"]  # a fixture


def test_status_and_db_describe_the_store(engine: Command) -> None:
    assert engine("status").out.endswith("nothing was stored here yet\n")
    assert engine("status", "--json").json["exists"] is False
    assert not Path(".engine").exists()  # session E2
    engine("run", "rules.py:report")
    Path("a.txt").write_text("1\n")
    engine("run", "rules.py:report")
    status = engine("status", "--json").json
    assert (status["revision"], status["nodes"], status["inputs"], status["suspects"]) == (2, 5, 2, 0)
    assert status["revisions"][0]["number"] == 2
    shown_status = engine("status").out
    assert "revision  2" in shown_status
    assert "5, 2 of them observed inputs" in shown_status
    assert engine("db", "--json").json["nodes_of"]["rules:lines"] == 2
    assert "rules:lines" in engine("db").out
    assert "CREATE TABLE node" in engine("db", "--schema").out


@pytest.mark.parametrize("command", [("why", "rules:report()"), ("deps", "rules:report"), ("db",), ("gc",)])
def test_without_a_store_one_is_told_to_run_first(engine: Command, command: tuple[str, ...]) -> None:
    check_refused(engine(*command), 73, "nothing was stored here yet", "engine run")
    assert not Path(".engine").exists()


def test_forget_lets_keys_run_again(engine: Command) -> None:
    engine("run", "rules.py:report")
    assert engine("forget", "rules:lines*").out == "2 keys forgotten\n"
    assert engine("status", "--json").json["revisions"][0]["note"] == "2 keys forgotten"
    again = engine("run", "rules.py:report", "--json").json["counts"]
    assert (again["executed"], again["cut_off"]) == (2, 2)
    engine("forget", "rules:report*")
    assert engine("status", "--json").json["revisions"][0]["note"] == "1 key forgotten"
    assert engine("forget", "nothing*", "--json").json["forgotten"] == 0
    found = engine("forget", "rules.py:lines")  # a name, as most commands take it
    assert (found.code, found.out) == (0, "0 keys forgotten\n")
    assert "MODULE:QUERY(ARGUMENTS)" in found.err


def test_gc_deletes_what_nobody_asked_for(engine: Command) -> None:
    engine("run", "rules.py:report")
    text = Path("rules.py").read_text().replace('("a.txt", "b.txt")', '("a.txt",)')
    Path("rules.py").write_text(text)
    engine("run", "rules.py:report")
    collected = engine("gc", "--json").json
    assert (collected["deleted"], collected["kept"]) == (2, 3)
    assert "deleted 0 of 3 nodes" in engine("gc").out
    assert "executed 0," in engine("run", "rules.py:report").err


def test_a_store_of_a_newer_version_is_left_alone(engine: Command) -> None:
    engine("run", "rules.py:report")
    store = Path(".engine/store.db")
    data = bytearray(store.read_bytes())
    data[60:64] = (999).to_bytes(4, "big")
    store.write_bytes(data)
    Path(".engine/store.seal").unlink()  # else the seal says that the version is damage
    for command in (("run", "rules.py:report"), ("status",), ("gc",)):
        check_refused(engine(*command), 76, "newer", "999")
    assert store.read_bytes() == bytes(data)


def test_a_foreign_file_in_the_place_of_the_store_is_left_alone(engine: Command) -> None:
    Path(".engine").mkdir(mode=0o700)
    Path(".engine/store.db").write_text("a diary")
    check_refused(engine("run", "rules.py:report"), 76, "not a store of the engine", "store.db")
    assert Path(".engine/store.db").read_text() == "a diary"
    check_refused(engine("run", "rules.py:report", "--store", "a.txt"), 76, "a.txt", "Name another")


def test_a_store_in_use_can_be_looked_at_and_answers_without_saving(engine: Command) -> None:
    engine("run", "rules.py:report")
    from engine import Engine

    with Engine(".engine"):
        check_refused(engine("run", "rules.py:report"), 75, "in use", str(os.getpid()), "--read-only")
        assert engine("run", "rules.py:report", "--read-only", "-q").out.startswith("Row")
        assert engine("deps", "rules:report").code == 0
        assert engine("status").code == 0


def test_a_store_that_another_process_took_meanwhile_is_told_with_what_to_do(engine: Command) -> None:
    """As where it was removed while a query ran: who comes next makes a new one."""
    with mock.patch.object(Store, "write", side_effect=StoreInUse(holder="process 7")):
        check_refused(engine("run", "rules.py:lines", "a.txt"), 75, "process 7", "engine run --read-only")


def test_a_directory_that_others_may_write_to_is_refused(engine: Command) -> None:
    Path(".engine").mkdir()
    Path(".engine").chmod(0o777)
    check_refused(engine("run", "rules.py:report"), 73, "not private", "chmod")


@pytest.mark.parametrize("command", [("forget", "*"), ("gc",), ("search", "lines")])
def test_what_is_about_a_store_that_cannot_be_written_says_so_and_what_to_do(
    engine: Command, command: tuple[str, ...]
) -> None:
    engine("run", "rules.py:report")
    unwritable = OSError(errno.EROFS, "Read-only file system")
    with mock.patch.object(WriterLock, "acquire", side_effect=unwritable):
        refused = engine(*command)
    check_refused(refused, 73, "the store cannot be written", "Read-only file system", "--store")
    assert "Answers are computed" not in refused.err
    assert "read_only=True" not in refused.err
    assert "permissions" not in refused.err  # be it a full disk: the note says


def test_an_index_that_finds_no_room_is_told_as_one_and_not_as_the_store(engine: Command) -> None:
    full = StoreFull(store=".engine/search.db", hint=NO_ROOM)
    with mock.patch.object(FullText, "apply", side_effect=full):
        refused = engine("search", "lines")
    check_refused(refused, 73, "no space left", "search.db", NO_ROOM)


def test_what_is_forgotten_on_a_full_disk_is_not_said_to_be(engine: Command) -> None:
    engine("run", "rules.py:report")
    with mock.patch.object(Store, "write", side_effect=StoreFull()):
        refused = engine("forget", "*")
    check_refused(refused, 73, "no space left", "could not be saved", "Make room")
    assert "forgotten\n" not in refused.out


def test_what_an_interrupted_command_computed_on_a_full_disk_is_not_said_to_be_kept(engine: Command) -> None:
    Path("stopping.py").write_text(
        "from engine import query\n\n\n@query\ndef stop() -> int:\n    raise KeyboardInterrupt\n"
    )
    with mock.patch.object(Store, "write", side_effect=StoreFull()):
        stopped = engine("run", "stopping.py:stop")
    assert stopped.err.endswith("\ninterrupted: what was committed is kept\n"), stopped.err
