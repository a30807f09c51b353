"""Any name works, one file has one spelling, and no path leads out of the root."""

from __future__ import annotations

import os
import posixpath
import shutil
import subprocess
import sys
import unicodedata
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from engine import ChangedWhileRead, Engine, Query, Transient, query
from engine.rules import files
from engine.rules.directories import files_below, listing
from engine.rules.files import (
    FileError,
    FileMissing,
    OutsideRoot,
    bytes_as_stamped,
    canonical_path,
    exists,
    file_digest,
    kind,
    read_bytes,
    read_text,
)
from engine.rules.stat import file_stamp
from tests.folders import HOSTILE, answer, grow, place, trusting

__all__ = ["place", "trusting"]  # fixtures


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "-rf",
        " leading",
        "trailing ",
        "new\nline",
        "\x1b[31m",
        "é",
        "back\\slash",
        "*?[",
        "..a",
        "...",
        ".git",
        "n" * 255,
        os.fsdecode(b"\xff\xfe not utf-8"),
    ],
)
def test_any_name_works(name: str, place: Path) -> None:
    Path(name).write_bytes(b"content")
    with Engine(place.parent / f"{place.name}.store", root=place) as db:
        assert db.get(read_bytes, name) == b"content"
        assert [entry.name for entry in db.get(listing)] == [name]
        assert db.get(exists, name)
        assert db.get(files_below) == (() if name == ".git" else (name,))
        assert db.notes() == ()
    shutil.rmtree(f"{place}.store")


def test_names_that_only_look_alike_are_two_files(place: Path) -> None:
    composed, decomposed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    Path(composed).write_text("1")
    Path(decomposed).write_text("2")
    assert (read_text(composed), read_text(decomposed)) == ("1", "2")


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("n" * 256, "name too long"),
        ("/".join(["d"] * 5000), "name too long"),
        ("file/below", "missing"),
        ("a\0b", "bad name"),
        ("\ud800", "bad name"),
    ],
)
def test_an_impossible_name_is_an_answer(path: str, what: str, place: Path) -> None:
    Path("file").write_text("x")
    with Engine(None, root=place) as db:
        for _ in range(2):
            assert answer(lambda: db.get(read_bytes, path)) == (what,)
            assert db.get(kind, path) == what
            assert db.get(exists, path) is False
            db.sync()


def test_a_path_that_is_no_text_is_told_what_to_say(place: Path) -> None:
    grow("d/f")
    given: Any = Path("d/f")
    with Engine(None) as db:
        for ask in (read_text, read_bytes, exists, listing):
            with pytest.raises(FileError, match=r"Say str\(path\)") as error:
                db.get(ask, given)
            assert error.value.kind == "not a string"
            with pytest.raises(FileError, match="not a string"):
                db.get(ask, cast(Any, 3))
        assert db.get(read_text, canonical_path(given)) == "x"


def test_a_file_that_is_missing_and_a_directory_in_its_place_say_what_to_ask(place: Path) -> None:
    grow("d/f")
    with Engine(None) as db:
        with pytest.raises(FileMissing, match=r"ask exists\(path\) first"):
            db.get(read_text, "gone")
        with pytest.raises(FileError, match="listing"):
            db.get(read_text, "d")


def test_a_path_has_one_spelling() -> None:
    here = os.getcwd()
    for given, canonical in {
        "a": "a",
        "./a//b.py": "a/b.py",
        "a/../b": "b",
        "a/": "a",
        ".": "",
        "": "",
        "a/..": "",
        f"{here}/a": "a",
        here: "",
        ".hidden/..x": ".hidden/..x",
    }.items():
        assert canonical_path(given) == canonical
        if given != canonical:
            assert answer(partial(read_bytes, given)) == ("not a canonical path",)
    assert canonical_path(Path("a") / "b") == "a/b"
    for outside in ("..", "a/../..", "../x", "/", "/etc/passwd", here + "x", "//host/x"):
        with pytest.raises(OutsideRoot):
            canonical_path(outside)


@query
def named(path: str) -> str:
    return canonical_path(path)


def test_an_absolute_path_is_below_a_root_that_was_given_with_dots(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow("project/a", "project/scripts/x", "elsewhere/inner/")
    os.symlink(place / "elsewhere" / "inner", "project/link")
    monkeypatch.chdir(place / "project" / "scripts")
    for given in ("..", place / "project" / "scripts" / "..", "../../project"):
        with Engine(None, root=given) as db:
            assert db.root == place / "project"
            assert db.get(named, f"{place}/project/a") == "a"
    with Engine("../.engine") as db:
        assert db.get(named, f"{place}/project/a") == "a"
    with Engine(None, root="../link/..") as db:
        assert db.root == place / "elsewhere", "above the directory that the link leads to"
    monkeypatch.chdir("/")
    with Engine(None, root="..") as db:
        assert db.get(named, "/etc/x") == "etc/x"


def test_what_is_wrong_with_a_path_says_which_root_is_meant_and_how_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(OutsideRoot, match="without one the working directory"):
        canonical_path("../x")
    with Engine(None, root=tmp_path) as db:
        for given, right in {".": '"", the root', "./": '"", the root', "./a//b": "a/b"}.items():
            with pytest.raises(FileError, match=f"write: {right}\n"):
                db.get(read_text, given)


# -- outside the root ----------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [read_bytes, read_text, file_digest, listing], ids=lambda ask: ask.__name__)
def test_a_hostile_path_reads_nothing_outside(ask: Query[[str], object], place: Path) -> None:
    root = place / "root"
    (place / "deeper").mkdir()
    root.mkdir()
    os.chdir(root)
    for secret in (place / "secret", place / "deeper" / "secret"):
        secret.write_text("secret")
    (root / "out").symlink_to("..")
    (root / "to-secret").symlink_to("../secret")
    (root / "chain").symlink_to("to-secret")
    (root / "absolute").symlink_to(place / "secret")
    with Engine(None, root=root) as db:
        for path in HOSTILE:
            if ask is listing and path == "":
                continue  # the root itself
            with pytest.raises(FileError) as caught:
                db.get(ask, path)
            outside = path.startswith("/") or posixpath.normpath(path).split("/")[0] == ".."
            if outside or path in ("out", "to-secret", "chain", "absolute", "out/secret"):
                assert caught.value.kind == "outside root", path
                assert isinstance(caught.value, OutsideRoot)
            assert str(caught.value).isprintable() or "\n" in str(caught.value)
            assert "\x1b" not in str(caught.value)
            assert "\u202e" not in str(caught.value)


def test_a_link_out_of_the_root_has_no_kind_of_its_own(place: Path, trusting: None) -> None:
    root = place / "root"
    root.mkdir()
    (place / "secret").write_text("secret")
    (root / "link").symlink_to("../secret")
    (root / "up").symlink_to("..")
    with Engine(None, root=root) as db:
        assert db.get(kind, "link") == db.get(kind, "up/secret") == "outside root"
        with pytest.raises(OutsideRoot):
            db.get(exists, "link")
        (root / "inside").write_text("inside")
        (root / "link").unlink()
        (root / "link").symlink_to("inside")
        db.sync()
        assert db.get(exists, "link")
        assert db.get(read_text, "link") == "inside"


def test_a_link_swapped_between_check_and_use_leads_nowhere(place: Path) -> None:
    root = place / "root"
    root.mkdir()
    os.chdir(root)
    for directory, text in ((place / "outside", "secret"), (root / "inside", "harmless")):
        directory.mkdir()
        (directory / "f").write_text(text)
    (root / "link").symlink_to("inside")
    script = (
        "import os\n"
        "for i in range(10_000):\n"
        "    os.symlink('../outside' if i % 2 else 'inside', 'new')\n"
        "    os.replace('new', 'link')\n"
    )
    swapper = subprocess.Popen([sys.executable, "-c", script], cwd=root)
    seen = {"harmless": 0, "outside root": 0}
    while swapper.poll() is None:
        with suppress(Transient):
            try:
                seen[read_text("link/f")] += 1
            except OutsideRoot as error:
                seen[error.kind] += 1
        with suppress(OutsideRoot, Transient):
            assert [entry.name for entry in listing("link")] == ["f"]
        with suppress(Transient):
            assert bytes_as_stamped(file_stamp("link/f"), "link/f") in (None, (b"harmless",))
    assert swapper.returncode == 0
    assert min(seen.values()) > 10, seen


def test_a_root_that_is_a_link_works(place: Path) -> None:
    (place / "real").mkdir()
    (place / "real" / "a").write_text("a")
    (place / "root").symlink_to("real")
    with Engine(None, root=place / "root") as db:
        assert db.get(read_text, "a") == "a"
        assert db.get(files_below) == ("a",)
        for given in ("root", "real"):  # where tools tell absolute paths, they have no links
            assert db.get(named, f"{place}/{given}/a") == "a"
            assert db.get(named, f"{place}/{given}") == ""
        with pytest.raises(OutsideRoot):
            db.get(named, f"{place}/really/a")
    with Engine(None, root="/") as db:
        assert db.get(read_text, f"{place}/real/a"[1:]) == "a"


def test_without_proc_the_place_of_an_open_file_is_checked_by_its_identity(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place / "root"
    root.mkdir()
    monkeypatch.chdir(root)
    (root / "a").write_text("a")
    (place / "secret").write_text("secret")
    (root / "link").symlink_to("../secret")

    def no_proc(path: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "readlink", no_proc)
    monkeypatch.setattr(files, "_FIND", None)
    assert read_text("a") == "a"
    assert kind("a") == "file"
    assert kind("nothing") == "missing"
    # realpath needs readlink to see links; it is what the check rests on then
    monkeypatch.setattr(os.path, "realpath", lambda path: str(Path(path).parent.parent / "secret"))
    with pytest.raises(OutsideRoot):
        read_text("link")
    with pytest.raises(ChangedWhileRead):
        read_text("a")
