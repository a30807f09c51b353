"""Listings and globs are what the tree is now."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from engine import Engine, Transient
from engine.rules.directories import (
    BadPattern,
    Entry,
    files_below,
    glob,
    listing,
)
from engine.rules.files import FileError, FileMissing
from engine.rules.ignore import Matcher
from tests.folders import grow, place, without_privileges

__all__ = ["place"]  # a fixture


# -- listings ------------------------------------------------------------------------------------


def test_a_listing_has_every_name_sorted_with_the_kind_of_the_name_itself(place: Path) -> None:
    grow("b", "a", "d/below", os.fsdecode(b"\xff"))
    os.symlink("d", "to-directory")
    os.symlink("nowhere", "to-nothing")
    os.mkfifo("fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    expected = (
        Entry("a", "file"),
        Entry("b", "file"),
        Entry("d", "directory"),
        Entry("fifo", "fifo"),
        Entry("socket", "socket"),
        Entry("to-directory", "symlink"),
        Entry("to-nothing", "symlink"),
        Entry("\udcff", "file"),
    )
    assert listing() == listing("") == expected
    assert [entry.name for entry in listing("to-directory")] == ["below"]
    with Engine(None, root=place) as db:
        assert db.get(listing) == expected
        assert db.notes() == ()


def test_a_directory_that_is_none_is_an_answer_until_it_is_one(place: Path) -> None:
    grow("file")
    os.symlink("loop", "loop")
    with Engine(None, root=place) as db:
        for path, what in {
            "nothing": "missing",
            "file": "not a directory",
            "file/below": "missing",
            "loop": "link loop",
        }.items():
            for _ in range(2):
                with pytest.raises(FileError) as caught:
                    db.get(listing, path)
                assert (caught.value.kind, caught.value.path) == (what, path)
        grow("nothing/a")
        db.sync()
        assert db.get(listing, "nothing") == (Entry("a", "file"),)


def test_a_directory_that_is_emptied_and_filled_all_the_time_is_listed_whole_or_not_at_all(
    place: Path,
) -> None:
    grow("d/0")
    script = "import os\nfor i in range(20_000):\n    os.rename(f'd/{i}', f'd/{i + 1}')\n"
    renamer = subprocess.Popen([shutil.which("python3") or "python3", "-c", script], cwd=place)
    whole = refused = 0
    while renamer.poll() is None:
        try:
            assert len(listing("d")) == 1
            whole += 1
        except Transient:
            refused += 1
    assert renamer.returncode == 0
    assert whole
    assert listing("d") == (Entry("20000", "file"),)


# -- patterns ------------------------------------------------------------------------------------

TREE = (
    "a.py", "b.txt", ".hidden.py", "[x].py", "a-b/c.py", "a/b.py", "a/z.py", "a.d/f.py", "src/a.py",
    "src/app/b.py", "src/app/deep/c.py", "src/app/deep/c.pyc", "src/é.py", "src/a", "x/a/y/a/z.py",
    "x/a/a.py", "dir.py/inner.txt", "empty/",
)  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.py", ".hidden.py [x].py a.py"),
        ("a.py", "a.py"),
        ("nothing", ""),
        ("src", ""),
        ("src/*.py", "src/a.py src/é.py"),
        ("src/?.py", "src/a.py src/é.py"),
        ("src/[a-c].py", "src/a.py"),
        ("src/[!a-c].py", "src/é.py"),
        ("[[]x].py", "[x].py"),
        ("src/**/c.py", "src/app/deep/c.py"),
        ("src/**/b.py", "src/app/b.py"),
        ("src/**", "src/a src/a.py src/app/b.py src/app/deep/c.py src/app/deep/c.pyc src/é.py"),
        ("**/a/**/z.py", "a/z.py x/a/y/a/z.py"),
        ("**/a/*.py", "a/b.py a/z.py x/a/a.py x/a/y/a/z.py"),
        ("**/**/**/z.py", "a/z.py x/a/y/a/z.py"),
        ("*/*/*", "src/app/b.py x/a/a.py"),
        ("a*/**/*.py", "a-b/c.py a.d/f.py a/b.py a/z.py"),
        ("**/*.txt", "b.txt dir.py/inner.txt"),
        ("a**.py", "a.py"),
        ("empty/**", ""),
        ("A.PY", ""),
    ],
)
def test_a_pattern_matches_what_it_says(pattern: str, expected: str, place: Path) -> None:
    grow(*TREE)
    assert glob(pattern) == tuple(expected.split())


@pytest.mark.parametrize(
    "pattern", ["", "/", "/a", "a/", "a//b", "./a", "../a", "a/../b", "a/./b", "**/..", "a\0"]
)
def test_a_pattern_that_cannot_be_below_the_root_is_refused(pattern: str, place: Path) -> None:
    with pytest.raises(BadPattern):
        glob(pattern)


@pytest.mark.parametrize("pattern", ["*.{a,b}", "{src,lib}/**/*.py", "{a/b,c}", "x{,y}", "{a,{b,c}}"])
def test_alternatives_in_braces_are_refused_with_what_to_write(pattern: str, place: Path) -> None:
    with pytest.raises(BadPattern, match="Ask for each of them"):
        glob(pattern)


def test_braces_that_are_part_of_a_name_match_themselves(place: Path) -> None:
    grow("{{name}}/a", "{a,b}", "{a}", "x{1,2}")
    assert glob("{{name}}/*") == ("{{name}}/a",)
    assert glob("[{]a,b}") == glob("[({]a,b}") == glob("[!(]a,b}") == ("{a,b}",)
    assert glob("x[]{]1,2}") == glob("x[{,}]*") == glob("x[a{,}]*") == ("x{1,2}",)
    assert glob("{a}") == ("{a}",)


parts = some.sampled_from(["**", "*", "a", "b", "?", "a*", "*b", "[ab]", "[!a]", "a?", "*a*b*"])
names = some.sampled_from(["a", "b", "ab", "ba", "aab", "c", "a-", "a.b"])


@pytest.mark.parametrize("pattern", [Path("src/*.py"), ["*.py", "*.txt"], None])
def test_a_pattern_that_is_no_string_is_refused_as_such(pattern: Any, place: Path) -> None:
    with pytest.raises(BadPattern, match="it is not a string"):
        glob(pattern)
    with Engine(None, root=place) as db, pytest.raises(BadPattern, match="it is not a string"):
        db.get(glob, pattern)


def as_regex(pattern: str) -> str:
    """The meaning of a pattern, said in another way: one backtracking regular expression."""
    text = ""
    for number, part in enumerate(split := pattern.split("/")):
        last = number == len(split) - 1
        if part == "**":
            text += "(?:[^/]+/)*[^/]+" if last else "(?:[^/]+/)*"
        else:
            text += part.replace("*", "[^/]*").replace("?", "[^/]").replace("[!", "[^")
            text += "" if last else "/"
    return text


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    paths=some.sets(some.lists(names, min_size=1, max_size=4).map("/".join), max_size=15),
    pattern=some.lists(parts, min_size=1, max_size=5).map("/".join),
)
def test_a_glob_finds_what_a_walk_over_everything_finds(paths: set[str], pattern: str) -> None:
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            for path in sorted(paths, key=len, reverse=True):
                if not os.path.lexists(path):
                    grow(path)
            everything = [
                os.path.relpath(os.path.join(directory, name), place)
                for directory, _, found in os.walk(place)
                for name in found
            ]
            text = as_regex(pattern)
            assert list(glob(pattern)) == sorted(path for path in everything if re.fullmatch(text, path))
            assert list(files_below()) == sorted(everything)
        finally:
            os.chdir(before)


@pytest.mark.parametrize(
    "pattern",
    ["/".join(["**", "a"] * 40) + "/x", "**/" * 500 + "x", "*a" * 100 + "b", "**/" + "a*" * 60 + "/**/x"],
)
def test_no_pattern_takes_long(pattern: str, place: Path) -> None:
    grow("/".join(["a"] * 100) + "/" + "a" * 200, "a" * 250)
    started = time.thread_time()
    assert glob(pattern) == ()
    assert time.thread_time() - started < 5


@pytest.mark.parametrize(
    "line", [b"*a" * 120 + b"b", b"**/a/" * 100 + b"b", b"/" + b"a/**/" * 60 + b"b", b"a*" * 60 + b"/x"]
)
def test_no_ignore_line_takes_long(line: bytes) -> None:
    matcher = Matcher((line,))
    started = time.thread_time()
    assert matcher.decide(b"/".join([b"a"] * 1000), False) is None
    assert matcher.decide(b"a" * 255, True) is None
    assert time.thread_time() - started < 5


def test_a_tree_that_is_too_deep_is_refused_by_name_not_by_a_crash(place: Path) -> None:
    grow("/".join(["d"] * 99) + "/x.py")
    assert len(glob("**/*.py")) == 1
    grow("/".join(["d"] * 130) + "/x.py")
    with pytest.raises(FileError) as caught:
        glob("**/*.py")
    assert caught.value.kind == "too deep"
    Path(".gitignore").write_text("/d/d/d\n")
    assert glob("**/*.py") == ()


def test_an_unreadable_directory_is_an_error_until_it_can_be_read_or_is_ignored(place: Path) -> None:
    grow("a.py", "d/b.py")
    with Engine(None, root=place) as db:
        assert db.get(glob, "**/*.py") == ("a.py", "d/b.py")  # and loads what nobody may load
        Path("d").chmod(0)
        with without_privileges():
            db.sync()
            for _ in range(2):
                with pytest.raises(FileError) as caught:
                    db.get(glob, "**/*.py")
                assert (caught.value.path, caught.value.kind) == ("d", "unreadable")
            assert db.get(glob, "*.py") == ("a.py",)
        Path(".gitignore").write_text("/d/\n")
        with without_privileges():
            db.sync()
            assert db.get(glob, "**/*.py") == ("a.py",)
        Path(".gitignore").unlink()
        Path("d").chmod(0o755)
        with without_privileges():
            db.sync()
            assert db.get(glob, "**/*.py") == ("a.py", "d/b.py")


def test_a_directory_whose_names_may_be_read_and_no_more_is_listed_or_an_answer(place: Path) -> None:
    grow("d/a")
    os.symlink("a", "d/link")
    Path("d").chmod(0o444)
    with Engine(None, root=place) as db, without_privileges():
        assert db.get(listing, "d") == (Entry("a", "file"), Entry("link", "symlink"))
        assert db.get(glob, "**") == ("d/a",), "where the link leads cannot be known"
    Path("d").chmod(0o755)
    os.mkfifo("d/fifo")  # of which not every directory tells what it is
    Path("d").chmod(0o444)
    with Engine(None, root=place) as db:
        with without_privileges():
            for _ in range(2):
                with pytest.raises(FileError) as caught:
                    db.get(listing, "d")
                assert (caught.value.path, caught.value.kind) == ("d", "unreadable")
        Path("d").chmod(0o755)
        with without_privileges():
            db.sync()
            assert [entry.name for entry in db.get(listing, "d")] == ["a", "fifo", "link"]


def test_files_below_one_directory_are_those_that_glob_finds_there(place: Path) -> None:
    grow(*TREE, "src/app/build/x", ".git/config", "src/.engine/store")
    Path("src/.gitignore").write_text("build/\n")
    everything = glob("**")
    assert ".git/config" not in everything
    for directory in ("", "src", "src/app", "empty"):
        start = f"{directory}/" if directory else ""
        assert files_below(directory) == tuple(path for path in everything if path.startswith(start))
    assert files_below("src/app/build") == ()
    assert files_below("src/app/build", ignore=False) == ("src/app/build/x",)
    assert "src/app/build/x" in glob("**", ignore=False)
    assert not any(".engine" in path for path in glob("**", ignore=False))
    with pytest.raises(FileMissing):
        files_below("nothing")
