"""The content of a file, whole or refused, and in an engine."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from blake3 import blake3

from engine import ChangedWhileRead, Engine, Transient, query
from engine.rules import files
from engine.rules.files import (
    FileMissing,
    FileTooLarge,
    NotText,
    exists,
    file_digest,
    kind,
    read_bytes,
    read_text,
    stat_stamp,
)
from tests.folders import answer, place, trusting

__all__ = ["place", "trusting"]  # fixtures


# -- content -------------------------------------------------------------------------------------


def test_text_is_utf_8_without_its_mark_and_with_its_newlines(place: Path) -> None:
    Path("a").write_bytes(b"\xef\xbb\xbf1\r\n2\r3\n\xe2\x80\xa84\x00")
    assert read_text("a") == "1\r\n2\r3\n\u20284\x00"
    Path("b").write_bytes("ÿ".encode("latin-1"))
    with pytest.raises(NotText) as caught:
        read_text("b")
    assert caught.value.kind == "not text"
    assert read_bytes("b") == b"\xff"


def test_the_limit_counts_bytes_read_not_what_the_file_claims(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir("/proc/self")
    assert os.stat("status").st_size == 0
    assert read_bytes("status").startswith(b"Name:")
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 100)
    with pytest.raises(FileTooLarge):
        read_bytes("status")


@pytest.mark.parametrize("name", ["zero", "urandom", "null"])
def test_a_device_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/dev")
    for ask in (read_bytes, file_digest):
        assert answer(partial(ask, name)) == ("device",)


def test_a_limit_is_met_exactly(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 3 * files.CHUNK_BYTES)
    for size in (0, 1, 4095, 4096, 4097, files.CHUNK_BYTES, 3 * files.CHUNK_BYTES):
        Path("a").write_bytes(os.urandom(size))
        assert read_bytes("a") == Path("a").read_bytes()
        assert file_digest("a") == blake3(Path("a").read_bytes()).digest()
    Path("a").write_bytes(bytes(3 * files.CHUNK_BYTES + 1))
    assert answer(lambda: read_bytes("a")) == ("too large",)
    assert len(file_digest("a")) == 32


def test_a_sparse_file_of_10_gb_is_refused_at_once(place: Path) -> None:
    with Engine(None, root=place) as db:
        with open("big", "wb") as file:
            file.truncate(10 * 2**30)
        started = time.thread_time()
        with pytest.raises(FileTooLarge):
            db.get(read_bytes, "big")
        assert db.get(kind, "big") == "file"
        assert time.thread_time() - started < 0.5
        os.truncate("big", 3)
        db.sync()
        assert db.get(read_bytes, "big") == bytes(3)


def test_a_growing_file_is_read_to_an_end_or_not_at_all(place: Path) -> None:
    done = threading.Event()

    def grow() -> None:
        with open("log", "ab", buffering=0) as log:
            while not done.is_set():
                log.write(b"a line.\n" * 64)  # within one page: across two, a write is seen half done

    Path("log").touch()
    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(50):
            with suppress(ChangedWhileRead, FileTooLarge):
                assert len(read_bytes("log")) % 512 == 0
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize(("saves", "gives"), [(1, "1"), (2, "2"), (3, None)])
def test_a_read_that_a_save_came_into_is_made_again_twice(
    saves: int, gives: str | None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_text("0" * files.CHUNK_BYTES)  # so large that it is not read in one look
    reads: list[str] = []
    opened = files.open_below_root

    def saved_when_opened(path: str, wanted: str) -> tuple[int, os.stat_result]:
        found = opened(path, wanted)
        reads.append(path)
        if len(reads) <= saves:
            Path("a").write_text(f"{len(reads)}" * (files.CHUNK_BYTES + len(reads)))
        return found

    monkeypatch.setattr(files, "open_below_root", saved_when_opened)
    with Engine(None, root=place) as db:
        if gives is None:
            with pytest.raises(ChangedWhileRead, match="kept changing"):
                db.get(read_text, "a")
        else:
            assert db.get(read_text, "a") == gives * (files.CHUNK_BYTES + saves)
        assert len(reads) == min(saves + 1, 3)


@pytest.mark.parametrize("by_rename", [False, True])
def test_what_is_kept_of_a_file_that_is_rewritten_all_the_time_is_right_in_the_end(
    by_rename: bool, place: Path
) -> None:
    done = threading.Event()
    Path("a").write_bytes(b"0" * 20_000)

    def rewrite() -> None:
        number = 0
        while not done.is_set():
            number += 1
            content = b"%d" % (number % 10) * 20_000
            with open("new" if by_rename else "a", "wb") as file:
                file.write(content[:10_000])
                file.flush()
                file.write(content[10_000:])
            if by_rename:
                os.replace("new", "a")

    writer = threading.Thread(target=rewrite)
    with Engine(None, root=place) as db:
        writer.start()
        try:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                db.sync()
                try:
                    content = db.get(read_bytes, "a")
                except Transient:
                    continue
                assert not by_rename or content == content[:1] * 20_000, "torn"
        finally:
            done.set()
            writer.join()
        db.sync()
        assert db.get(read_bytes, "a") == Path("a").read_bytes()


# -- in an engine --------------------------------------------------------------------------------


@query
def lines(path: str) -> int:
    return read_text(path).count("\n")


@query
def first_that_exists(*paths: str) -> str | None:
    return next((path for path in paths if exists(path)), None)


@query
def size_or_none(path: str) -> int | None:
    try:
        return len(read_bytes(path))
    except FileMissing:
        return None


def test_a_file_that_appears_runs_those_who_missed_it(place: Path) -> None:
    Path("b").write_text("b")
    with Engine(None, root=place) as db:
        assert db.get(size_or_none, "a") is None
        assert db.get(first_that_exists, "a", "b") == "b"
        before = db.counts()
        assert db.sync() == 0
        assert db.get(size_or_none, "a") is None
        assert (db.counts() - before).executed == 0
        Path("a").write_text("1")
        assert db.sync() == 2
        assert db.get(size_or_none, "a") == 1
        assert db.get(first_that_exists, "a", "b") == "a"
        assert (db.counts() - before).executed == 2
        Path("a").unlink()
        db.sync()
        assert db.get(size_or_none, "a") is None


def test_a_touched_file_runs_nothing(place: Path) -> None:
    Path("a").write_text("1\n2\n")
    with Engine(None, root=place) as db:
        assert db.get(lines, "a") == 2
        touched = db.get(stat_stamp, "a")
        before = db.counts()
        os.utime("a", (1, 1))
        assert db.sync() == 1, "the stamp as a value differs, the content does not"
        assert db.get(lines, "a") == 2
        assert (db.counts() - before).executed == 0
        assert db.get(stat_stamp, "a") != touched


def test_a_restart_reads_no_unchanged_file(place: Path, trusting: None) -> None:
    (place / "src").mkdir()
    for number in range(20):
        (place / "src" / f"{number}").write_text("x\n" * number)
    with Engine(place / ".engine", root=place / "src") as db:
        assert [db.get(lines, f"{number}") for number in range(20)] == list(range(20))
    (place / "src" / "7").write_text("")
    with Engine(place / ".engine", root=place / "src") as db:
        assert [db.get(lines, f"{number}") for number in range(20)] == [
            0 if number == 7 else number for number in range(20)
        ]
        assert db.counts().read <= 2, "once to compare, and once more if the query wants the content"
        assert db.counts().executed == 1


def test_an_unsaved_buffer_beats_the_disk(place: Path) -> None:
    Path("a").write_text("1\n")
    with Engine(None, root=place) as db:
        assert db.get(lines, "a") == 1
        db.set(read_text.key("a"), "1\n2\n")
        assert db.get(lines, "a") == 2
        db.reset(read_text.key("a"))
        assert db.get(lines, "a") == 1
