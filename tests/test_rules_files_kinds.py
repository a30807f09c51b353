"""Whatever stands at a path has a kind, an error that names it, and a stamp that shows its change."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from engine import Engine, query
from engine.rules.directories import listing
from engine.rules.files import FileError, FileMissing, exists, file_digest, kind, read_bytes, read_text
from tests.folders import answer, place, trusting, without_privileges

__all__ = ["place", "trusting"]  # fixtures


def a_socket() -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("x")  # relative: the path of a socket may have 107 bytes


def unreadable() -> None:
    Path("x").write_bytes(b"content")
    Path("x").chmod(0)


# what stands at "x": how it is made, what reading gives, its kind, whether it exists
KINDS: dict[str, tuple[Callable[[], object], object, str, bool]] = {
    "missing": (lambda: None, ("missing",), "missing", False),
    "file": (lambda: Path("x").write_bytes(b"content"), b"content", "file", True),
    "empty": (lambda: Path("x").write_bytes(b""), b"", "file", True),
    "directory": (lambda: Path("x").mkdir(), ("directory",), "directory", True),
    "link": (lambda: Path("x").symlink_to("target"), b"of target", "file", True),
    "dangling": (lambda: Path("x").symlink_to("nowhere"), ("dangling link",), "dangling link", False),
    "loop": (lambda: Path("x").symlink_to("x"), ("link loop",), "link loop", False),
    "fifo": (lambda: os.mkfifo("x"), ("fifo",), "fifo", True),
    "socket": (a_socket, ("socket",), "socket", True),
    "unreadable": (unreadable, ("unreadable",), "file", True),
}


@query
def content_or_kind(path: str) -> bytes:
    try:
        return read_bytes(path)
    except FileError as error:
        return b"?" + error.kind.encode()


def remove() -> None:
    path = Path("x")
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("before", KINDS)
def test_every_change_of_kind_is_noticed_by_the_stamp(before: str, place: Path, trusting: None) -> None:
    Path("target").write_bytes(b"of target")
    content: object = None
    with Engine(None, root=place) as db:
        for ask in (read_bytes, kind, exists):
            answer(lambda ask=ask: db.get(ask, "x"))  # type: ignore[misc]  # loads what nobody may load
        for after in KINDS:
            for name in (before, after):
                make, content, word, there = KINDS[name]
                remove()
                make()
                with without_privileges():
                    db.sync()
                    started = time.monotonic()
                    assert answer(lambda: db.get(read_bytes, "x")) == content, f"{before} -> {after}"
                    assert db.get(kind, "x") == word
                    assert db.get(exists, "x") is there
                    assert answer(lambda: read_bytes("x")) == content  # the same with no engine
                    assert time.monotonic() - started < 60
        with without_privileges():
            kept = db.get(content_or_kind, "x")
            assert kept == content or (kept.removeprefix(b"?").decode(),) == content
            before_again = db.counts()
            assert db.sync() == 0
            db.get(content_or_kind, "x")
        assert (db.counts() - before_again).read == 0, "the answer is kept, also when it is an error"


def test_a_link_is_followed_to_its_end_and_its_target_counts(place: Path, trusting: None) -> None:
    Path("one").write_text("1")
    Path("two").write_text("2")
    Path("b").symlink_to("one")
    Path("a").symlink_to("b")
    with Engine(None, root=place) as db:
        assert db.get(read_text, "a") == "1"
        Path("one").write_text("11")
        db.sync()
        assert db.get(read_text, "a") == "11"
        os.symlink("two", "c")
        os.replace("c", "b")
        db.sync()
        assert db.get(read_text, "a") == "2"


def test_an_error_names_the_path_and_what_it_is(place: Path) -> None:
    Path("d").mkdir()
    with pytest.raises(FileError) as caught:
        read_bytes("d")
    error = caught.value
    assert (error.path, error.kind) == ("d", "directory")
    assert "path:  d" in str(error)
    assert "it is: directory" in str(error)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), twin.path, twin.kind, str(twin)) == (FileError, "d", "directory", str(error))
    with pytest.raises(FileMissing):
        read_bytes("nothing")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_trouble_of_the_machine_is_not_an_answer(
    number: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_text("x")

    def failing(path: object, flags: int, *rest: object) -> int:
        raise OSError(number, os.strerror(number))

    with Engine(None, root=place) as db:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", failing)
            for key in (read_bytes.key("a"), kind.key("a"), file_digest.key("a"), listing.key("")):
                with pytest.raises(OSError, match=os.strerror(number)):
                    db.get(key)
        assert db.get(read_bytes, "a") == b"x"
        assert db.get(kind, "a") == "file"


def test_nothing_stays_open(place: Path) -> None:
    Path("target").write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    for make, *_ in KINDS.values():
        remove()
        make()
        for ask in (read_bytes, read_text, file_digest, kind, exists, listing):
            answer(partial(ask, "x"))
    assert len(os.listdir("/proc/self/fd")) <= before  # fewer where an earlier test is tidied up meanwhile
