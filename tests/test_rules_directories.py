"""Listings and globs are what the tree is now, ignore rules are git's, and a change runs its path only."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from engine import Engine, Event, Transient, What, query
from engine.rules import directories
from engine.rules.directories import (
    BadPattern,
    Entry,
    files_below,
    glob,
    ignored,
    listing,
    visible,
)
from engine.rules.files import FileError, FileMissing, read_text
from engine.rules.ignore import Matcher, parse
from tests.folders import place, without_privileges

__all__ = ["place"]  # a fixture


def grow(*paths: str) -> None:
    """Make files below the working directory, with their directories; "d/" makes an empty directory."""
    for path in paths:
        directory, _, name = path.rpartition("/")
        if directory:
            os.makedirs(directory, exist_ok=True)
        if name:
            Path(path).write_text("x")


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


parts = some.sampled_from(["**", "*", "a", "b", "?", "a*", "*b", "[ab]", "[!a]", "a?", "*a*b*"])
names = some.sampled_from(["a", "b", "ab", "ba", "aab", "c", "a-", "a.b"])


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


def test_links_to_files_are_found_and_links_to_directories_are_not_followed(place: Path) -> None:
    grow("d/a.py", "outside-of-pattern")
    os.symlink("..", "d/up.py")
    os.symlink("d", "to-d")
    os.symlink("d/a.py", "link.py")
    os.symlink("nowhere", "dangling.py")
    os.symlink("/etc/passwd", "outside.py")
    os.symlink("loop.py", "loop.py")
    os.mkfifo("fifo.py")
    with Engine(None, root=place) as db:
        assert db.get(glob, "**/*.py") == ("d/a.py", "link.py")
        assert db.get(files_below, "to-d") == ("to-d/a.py",), "asked for by name, it is entered"
        grow("nowhere")
        db.sync()
        assert db.get(glob, "**/*.py") == ("d/a.py", "dangling.py", "link.py")


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


# -- what is ignored -----------------------------------------------------------------------------


def git_lists(place: Path) -> set[str]:
    """What git would add in an empty repository: everything that is not ignored."""
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    run = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=place, env=environment, check=True, capture_output=True,
    )  # fmt: skip
    return {os.fsdecode(path) for path in run.stdout.split(b"\0") if path}


HARD_LINES = [
    "# comment", "\\#not-a-comment", "\\!not-negated", "trailing-spaces  ", "protected-space\\ ",
    "two-backslashes\\\\  ", "*.pyc", "!keep.pyc", "/anchored", "directory-only/", "a/b", "a/**/z",
    "**/anywhere/x", "everything-in/**", "!everything-in/but", "foo**", "a/foo**", "a/foo**/bar",
    "a/fo**o", "***", "!***/", "!*.*", "!a*", "[a-c]x", "[!a-c]y", "[^a-c]w", "[]]bracket", "[]-]",
    "[a\\]]v", "[[:digit:]]d", "[[:alpha:][:digit:]_]e", "[[:nonsense:]]f", "[unclosed", "back\\slash",
    "trailing\\", "/", "!", "//", "a//b", "/**", "**/", "x/", "/x/*", "!/x/y", "\\*", "?", "??", "\t",
    " leading", "é", "[é]u", "a[/]b", "",
]  # fmt: skip

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
    for line in HARD_LINES:
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


# -- in an engine --------------------------------------------------------------------------------


@query
def sources() -> tuple[str, ...]:
    return glob("**/*.py")


@query
def total() -> int:
    return sum(len(read_text(path)) for path in sources())


@contextmanager
def runs(db: Engine) -> Iterator[dict[str, set[str]]]:
    """The queries that run, by what became of them: short names and directories."""
    found: dict[str, set[str]] = {}

    def listener(event: Event) -> None:
        if event.key is not None and event.what in (What.EXECUTED, What.CUT_OFF, What.READ, What.FAILED):
            name = event.key.query.name.partition(":")[2]
            about = str(event.key.args[0]) if event.key.args else ""
            found.setdefault(event.what.value, set()).add(f"{name} {about}".rstrip())

    end = db.listen(listener)
    try:
        yield found
    finally:
        end()


@pytest.fixture
def tree(place: Path) -> Path:
    grow("a.py", "one/b.py", "one/deep/c.py", "two/d.py", "two/notes.txt")
    return place


def test_a_new_file_runs_the_nodes_on_its_path_and_no_others(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        assert db.get(total) == 4
        grow("one/deep/new.py")
        with runs(db) as ran:
            assert db.sync() == 1
            assert db.get(total) == 5
        assert ran.pop("read") - {"read_text one/deep/new.py"} <= {"listing one/deep"} | {
            f"read_text {path}" for path in ("a.py", "one/b.py", "one/deep/c.py", "two/d.py")
        }  # contents are not kept, so a sum over all reads them again; listings elsewhere are not
        assert ran == {
            "cut off": {"ignore_rules one/deep"},
            "executed": {
                "visible one/deep",
                "matches_below one/deep",
                "matches_below one",
                "matches_below",
                "glob **/*.py",
                "sources",
                "total",
            },
        }


def test_a_new_file_that_does_not_match_stops_in_its_directory(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        db.get(total)
        grow("one/deep/new.txt")
        with runs(db) as ran:
            assert db.sync() == 1
            assert db.get(total) == 4
        assert ran.pop("read") <= {"listing one/deep"}
        assert ran == {
            "cut off": {"ignore_rules one/deep", "matches_below one/deep"},
            "executed": {"visible one/deep"},
        }


def test_a_changed_file_runs_no_glob(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        db.get(total)
        Path("one/b.py").write_text("longer")
        with runs(db) as ran:
            assert db.sync() == 1
            assert db.get(total) == 9
        assert ran["executed"] == {"total"}
        assert "cut off" not in ran


def test_a_comment_in_an_ignore_file_runs_its_lines_only(tree: Path) -> None:
    Path("one/.gitignore").write_text("*.pyc\n")
    with Engine(None, root=tree) as db:
        db.get(sources)
        Path("one/.gitignore").write_text("# compiled\n*.pyc\n")
        with runs(db) as ran:
            db.sync()
            db.get(sources)
        ran.pop("read")
        assert ran == {"cut off": {"ignore_lines one"}}


def test_an_ignore_line_runs_what_lies_below_its_file_only(tree: Path) -> None:
    Path("one/.gitignore").write_text("*.pyc\n")
    with Engine(None, root=tree) as db:
        db.get(sources)
        Path("one/.gitignore").write_text("*.pyc\ndeep/\n")
        with runs(db) as ran:
            db.sync()
            assert db.get(sources) == ("a.py", "one/b.py", "two/d.py")
        touched = set().union(*ran.values())
        assert not {name for name in touched if name.endswith(" two")}, touched
        with runs(db) as ran:
            grow("one/deep/unseen.py")
            db.sync()
            assert db.get(sources) == ("a.py", "one/b.py", "two/d.py")
        assert not ran.keys() & {"executed", "cut off"}, "nothing that is ignored runs anything"


def test_an_ignored_directory_is_not_even_listed(tree: Path) -> None:
    Path(".gitignore").write_text("two/\n")
    grow(".git/objects/x.py")
    with Engine(None, root=tree) as db:
        with runs(db) as ran:
            assert db.get(sources) == ("a.py", "one/b.py", "one/deep/c.py")
        listed = {name for name in ran["read"] if name.startswith("listing")}
        assert listed == {"listing", "listing one", "listing one/deep"}


def test_a_literal_start_of_a_pattern_keeps_the_rest_of_the_tree_unread(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        with runs(db) as ran:
            assert db.get(glob, "one/*.py") == ("one/b.py",)
        assert ran["read"] == {"listing", "listing one"}


def test_a_directory_replaced_by_a_file_and_back_is_followed(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        before = db.get(sources)
        os.rename("one", "elsewhere")
        grow("one")
        db.sync()
        assert db.get(sources) == ("a.py", "elsewhere/b.py", "elsewhere/deep/c.py", "two/d.py")
        os.unlink("one")
        os.rename("elsewhere", "one")
        db.sync()
        assert db.get(sources) == before


def test_two_patterns_share_the_work_of_ignoring(tree: Path) -> None:
    with Engine(None, root=tree) as db:
        db.get(glob, "**/*.py")
        with runs(db) as ran:
            db.get(glob, "**/*.txt")
        assert ran["executed"] == {"glob **/*.txt"} | {
            f"matches_below {name}".rstrip() for name in ("", "one", "one/deep", "two")
        }


def test_a_walk_over_10_000_files_takes_well_under_a_second(place: Path) -> None:
    for number in range(1000):
        directory = f"p{number // 100}/q{number // 10 % 10}/r{number % 10}"
        grow(*(f"{directory}/f{index}.py" for index in range(10)))
    Path(".gitignore").write_text("__pycache__/\n*.pyc\nbuild/\n/dist\n*.egg-info\nnode_modules/\n" * 5)
    started = time.thread_time()
    assert len(glob("**/*.py")) == 10_000
    assert time.thread_time() - started < 3.0  # 0.3 to 0.5 s measured; the rest is for busy machines


def test_one_entry_is_judged_by_the_nearest_file_that_speaks(place: Path) -> None:
    grow("a/b/x.log", "a/b/keep.log")
    Path(".gitignore").write_text("*.log\n")
    Path("a/.gitignore").write_text("!keep.*\n")
    assert [entry.name for entry in visible("a/b")] == ["keep.log"]
    assert directories.ignore_rules("a/b") == ("a", "")
