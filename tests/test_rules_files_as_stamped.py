"""A small file is read in one look, and never gives what its stamp does not vouch for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import BadQuery, Engine, input, query
from engine.rules import files
from engine.rules.files import bytes_as_stamped, read_bytes, read_text, text_as_stamped
from engine.rules.stat import file_stamp
from tests.folders import place, trusting

__all__ = ["place", "trusting"]  # fixtures


@query
def both(path: str) -> tuple[bytes, str]:
    return read_bytes(path), read_text(path)


def test_a_file_is_read_in_one_look(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither stamped twice nor opened the long way; also one of no bytes, and a text with a mark."""
    Path("a").write_bytes(b"\xef\xbb\xbf1\r\n")
    Path("empty").touch()
    stamped: list[str] = []
    info = read_bytes.__query__

    def stamp(path: str) -> bytes:
        stamped.append(path)
        return file_stamp(path)

    def refuse(*_: object) -> None:
        raise AssertionError("the long way")

    monkeypatch.setattr(info, "stamp", stamp)
    monkeypatch.setattr(files, "open_below_root", refuse)
    with Engine(None, root=place) as db:
        assert db.get(both, "a") == (b"\xef\xbb\xbf1\r\n", "1\r\n")
        assert db.get(both, "empty") == (b"", "")
        assert stamped == ["a", "empty"]
        assert db.counts().read == 4


def longer() -> None:
    Path("a").write_text("longer")


def as_long() -> None:
    Path("a").write_text("2")
    os.utime("a", (2, 2))


def gone() -> None:
    Path("a").unlink()


def another_file() -> None:
    Path("b").write_text("2")
    os.utime("b", (1, 1))
    os.replace("b", "a")


def a_link_to_itself() -> None:
    os.rename("a", "b")
    Path("a").symlink_to("b")


def a_fifo() -> None:
    Path("a").unlink()
    os.mkfifo("a")


def a_directory() -> None:
    Path("a").unlink()
    Path("a").mkdir()


@pytest.mark.parametrize(
    "change", [longer, as_long, gone, another_file, a_link_to_itself, a_fifo, a_directory]
)
def test_what_became_of_a_file_since_its_stamp_is_not_taken_for_it(
    change: Callable[[], None], place: Path
) -> None:
    Path("a").write_text("1")
    os.utime("a", (1, 1))
    stamp = file_stamp("a")
    assert bytes_as_stamped(stamp, "a") == (b"1",)
    change()
    assert bytes_as_stamped(stamp, "a") is None


def test_a_file_that_is_written_while_it_is_read_is_not_taken(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_text("1")
    os.utime("a", (1, 1))
    stamp, read = file_stamp("a"), os.read

    def written_meanwhile(descriptor: int, most: int) -> bytes:
        found = read(descriptor, most)
        Path("a").write_text("2")
        return found

    monkeypatch.setattr(os, "read", written_meanwhile)
    assert bytes_as_stamped(stamp, "a") is None


@pytest.mark.parametrize("path", ["link", "missing", "directory", "fifo", "./a", "x\0y", "/etc/hostname"])
def test_what_is_no_plain_file_is_not_even_opened(
    path: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_text("1")
    Path("link").symlink_to("a")
    Path("directory").mkdir()
    os.mkfifo("fifo")
    opened: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda *args: opened.append(args))
        assert bytes_as_stamped(file_stamp(path), path) is None
    assert opened == []


def test_a_directory_that_is_a_link_leads_nowhere_outside(place: Path) -> None:
    (place / "root").mkdir()
    (place / "outside").mkdir()
    (place / "outside" / "a").write_text("secret")
    os.chdir(place / "root")
    Path("inside").mkdir()
    Path("inside/a").write_text("harmless")
    Path("out").symlink_to("../outside")
    Path("in").symlink_to("inside")
    assert bytes_as_stamped(file_stamp("out/a"), "out/a") is None
    assert bytes_as_stamped(file_stamp("in/a"), "in/a") == (b"harmless",)


def test_what_is_no_text_or_too_large_is_left_to_those_who_say_so(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_bytes(b"\xff" * 200)
    assert text_as_stamped(file_stamp("a"), "a") is None
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 100)
    assert bytes_as_stamped(file_stamp("a"), "a") is None
    monkeypatch.chdir("/proc/self")
    assert bytes_as_stamped(file_stamp("status"), "status") is None, "it claims to have no bytes"


def test_what_is_read_in_one_look_and_is_no_tuple_of_one_is_an_error(place: Path) -> None:
    whole: Any = lambda stamp, name: f"all of {name}"  # noqa: E731 -- as somebody may write it

    @input(stamp=file_stamp, as_stamped=whole, name="read_whole")
    def read_whole(name: str) -> str:
        return f"all of {name}"

    with Engine(None, root=place) as db, pytest.raises(BadQuery, match=r"(?s)read_whole.*Give \(value,\)"):
        db.get(read_whole, "a")
