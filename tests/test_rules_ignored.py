"""What is ignored is what git ignores."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as some

from engine.rules import directories
from engine.rules.directories import (
    glob,
    ignored,
    visible,
)
from engine.rules.ignore import parse
from tests.folders import grow, place

__all__ = ["place"]  # a fixture


def git_lists(place: Path) -> set[str]:
    """What git would add in an empty repository: everything that is not ignored."""
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    run = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=place, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    return {os.fsdecode(path) for path in run.stdout.split(b"\0") if path}


@cache
def older_git() -> bool:
    """Whether git here goes by the accident of 2.47 and older."""
    with tempfile.TemporaryDirectory() as place:
        Path(place, "a", "foo", "y").mkdir(parents=True)
        Path(place, "a", "foo", "y", "x").touch()
        Path(place, ".gitignore").write_text("a/f**/x")
        subprocess.run(["git", "init", "-q", "."], check=True, cwd=place)
        return "a/foo/y/x" not in git_lists(Path(place))


HARD_LINES = [
    "# comment", "\\#not-a-comment", "\\!not-negated", "trailing-spaces  ", "protected-space\\ ",
    "two-backslashes\\\\  ", "*.pyc", "!keep.pyc", "/anchored", "directory-only/", "a/b", "a/**/z",
    "**/anywhere/x", "everything-in/**", "!everything-in/but", "foo**", "a/foo**", "a/foo**/bar",
    "a/fo**o", "***", "!***/", "!*.*", "!a*", "[a-c]x", "[!a-c]y", "[^a-c]w", "[]]bracket", "[]-]",
    "[a\\]]v", "[[:digit:]]d", "[[:alpha:][:digit:]_]e", "[[:nonsense:]]f", "[unclosed", "back\\slash",
    "trailing\\", "/", "!", "//", "a//b", "/**", "**/", "x/", "/x/*", "!/x/y", "\\*", "?", "??", "\t",
    " leading", "é", "[é]u", "a[/]b", "",
]  # fmt: skip

# The manual says that these consecutive asterisks are one; so does git 2.55. Of 2.47 and older they cross
# directories, since the text before the first wildcard is compared by itself.
CROSSING = re.compile(r"!?(?=.*/.)[^*?\[\\]*[^*?\[\\/]\*\*+(\\?/|$)")

HARD_NAMES = [
    "#not-a-comment", "!not-negated", "trailing-spaces", "protected-space ", "two-backslashes\\", "k.pyc",
    "keep.pyc", "anchored", "directory-only", "a", "b", "z", "anywhere", "x", "y", "everything-in", "but",
    "foo", "foobar", "bar", "fooo", "ax", "dx", "dy", "ay", "dw", "]bracket", "]", "-", "]v", "av", "1d",
    "_e", "1f", "[unclosed", "backslash", "trailing\\", "*", "é", "éu", "\t", " leading", "[a-c]x",
]  # fmt: skip

ATOMS = [
    "a", "b", "foo", "*", "**", "?", "/", "/**/", "[a-b]", "[!a]", "\\", "[", "]", "-", " ", ".",
    "[[:alpha:]]", "[]a]", "[a\\]]", "é", "[é]", "!", "#", "[:a]", "[a/b]", "***", "\t", "\r",
]  # fmt: skip

any_line = some.one_of(
    some.sampled_from(HARD_LINES),
    some.lists(some.sampled_from(ATOMS), min_size=1, max_size=6).map("".join),
)
any_file = some.lists(any_line, min_size=1, max_size=5).map("\n".join)
any_name = some.sampled_from(HARD_NAMES)
any_tree = some.lists(some.lists(any_name, min_size=1, max_size=4).map("/".join), min_size=5, max_size=25)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(tree=any_tree, ignore_files=some.lists(some.tuples(some.integers(0, 24), any_file), min_size=1))
def test_what_is_ignored_is_what_git_ignores(tree: list[str], ignore_files: list[tuple[int, str]]) -> None:
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        try:
            subprocess.run(["git", "init", "-q", "."], check=True)
            for path in sorted(tree, key=len, reverse=True):
                if not os.path.lexists(path):
                    grow(path)
            for number, content in ignore_files:
                if older_git() and any(map(CROSSING.match, content.split("\n"))):
                    return
                directory = os.path.dirname(tree[number % len(tree)]) if number else ""
                Path(directory, ".gitignore").write_text(content, encoding="utf-8", newline="")
            assert set(glob("**")) == git_lists(Path(place))
        finally:
            os.chdir(before)


def test_every_hard_line_means_what_it_means_to_git(place: Path) -> None:
    subprocess.run(["git", "init", "-q", "."], check=True)
    for name in HARD_NAMES:
        grow(name, f"x/{name}") if name not in ("a", "x", "everything-in") else grow(f"{name}/sub/{name}")
    grow("a/foobar", "a/foo/bar", "a/foox/y/bar", "a/q/r/z", "everything-in/but", "everything-in/deep/er")
    older = older_git()
    for line in HARD_LINES:
        if older and CROSSING.match(line):
            continue
        Path(".gitignore").write_text(f"{line}\n*.never\n", encoding="utf-8")
        assert set(glob("**")) == git_lists(place), repr(line)
        Path(".gitignore").write_text(f"*\n!*/\n!{line}\n", encoding="utf-8")
        assert set(glob("**")) == git_lists(place), f"negated {line!r}"


def test_an_ignore_file_may_be_odd(place: Path) -> None:
    subprocess.run(["git", "init", "-q", "."], check=True)
    grow("a", "b", "c", "d/a", os.fsdecode(b"\xff"), os.fsdecode(b"\xfe"))
    for content in (
        b"\xef\xbb\xbfa\r\nb\r\n",
        b"a\0b\nb",
        b"",
        b"\n\n",
        b"\xff\n",
        b"a\rb",
        b"#a\nb   \n   ",
    ):
        Path(".gitignore").write_bytes(content)
        assert set(glob("**")) == git_lists(place), content
    Path(".gitignore").unlink()
    os.symlink("d/a", ".gitignore")
    Path("d/a").write_text("b\n")
    assert set(glob("**")) == git_lists(place), "git does not follow a link to an ignore file"
    os.unlink(".gitignore")
    os.mkdir(".gitignore")
    assert "b" in glob("**")


def test_comments_and_blanks_are_no_lines() -> None:
    assert parse(b"# c\n\n  \na\n b \n\\#x\r\n") == (b"a", b" b", b"\\#x")


def test_ignored_speaks_about_a_path_and_the_directories_above_it(place: Path) -> None:
    grow("build/deep/a", "src/a", "src/a.pyc", ".git/x")
    Path(".gitignore").write_text("build/\n*.pyc\n")
    assert [path for path in glob("**", ignore=False) if ignored(path)] == ["build/deep/a", "src/a.pyc"]
    assert ignored(".git")
    assert ignored("build")
    assert not ignored("src")
    assert not ignored("")


def test_one_entry_is_judged_by_the_nearest_file_that_speaks(place: Path) -> None:
    grow("a/b/x.log", "a/b/keep.log")
    Path(".gitignore").write_text("*.log\n")
    Path("a/.gitignore").write_text("!keep.*\n")
    assert [entry.name for entry in visible("a/b")] == ["keep.log"]
    assert directories.ignore_rules("a/b") == ("a", "")


def test_asterisks_beside_a_name_are_one_as_the_manual_says(place: Path) -> None:
    """Those that no slash or end is beside are "considered regular asterisks", whichever git is installed."""
    grow("a/foo/x/bar", "a/foox/bar", "a/foox/y/bar", "a/fooz", "b/a/foox/bar")
    found = {}
    for line in ("a/foo**", "a/foo**/bar", "/a/foo**/bar", "a/**/bar", "a/foo/**", "**/foox/bar"):
        Path(".gitignore").write_text(f"*\n!*/\n!{line}\n")
        found[line] = [path for path in glob("**") if not path.endswith(".gitignore")]
    assert found == {
        "a/foo**": ["a/fooz"],
        "a/foo**/bar": ["a/foox/bar"],
        "/a/foo**/bar": ["a/foox/bar"],
        "a/**/bar": ["a/foo/x/bar", "a/foox/bar", "a/foox/y/bar"],
        "a/foo/**": ["a/foo/x/bar"],
        "**/foox/bar": ["a/foox/bar", "b/a/foox/bar"],
    }
