"""Stamps taken together are those taken one by one; an input says which path it looks at."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import Engine, Query, input, observe
from engine.errors import BadQuery
from engine.query import QueryInfo, info_of
from engine.rules.command import tool_version
from engine.rules.directories import listing
from engine.rules.env import variable
from engine.rules.files import exists, file_digest, kind, read_bytes, read_text, stat_stamp
from engine.rules.stat import file_stamp, file_stamps, record_of, settled
from tests.folders import place, without_privileges

__all__ = ["place"]  # a fixture


FILE_INPUTS: list[Query[..., Any]] = [
    *(read_text, read_bytes, file_digest, exists, kind, stat_stamp),
    listing,
]


def a_socket() -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")  # relative: the path of a socket may have 107 bytes


def in_a_closed_directory() -> None:
    Path("closed").mkdir()
    Path("closed/file").write_text("1")
    Path("closed").chmod(0)


def unreadable() -> None:
    Path("unreadable").write_text("1")
    Path("unreadable").chmod(0)


# a path, and what makes it
EVERY_KIND: dict[str, Callable[[], object]] = {
    "file": lambda: Path("file").write_text("1"),
    "empty": lambda: Path("empty").write_text(""),
    "directory": lambda: Path("directory").mkdir(),
    "directory/below": lambda: Path("directory/below").write_text("2"),
    "to_file": lambda: Path("to_file").symlink_to("file"),
    "to_directory": lambda: Path("to_directory").symlink_to("directory"),
    "to_directory/below": lambda: None,
    "dangling": lambda: Path("dangling").symlink_to("nowhere"),
    "loop": lambda: Path("loop").symlink_to("loop"),
    "loop/below": lambda: None,
    "outside": lambda: Path("outside").symlink_to("/"),
    "fifo": lambda: os.mkfifo("fifo"),
    "socket": a_socket,
    "device": lambda: Path("device").symlink_to("/dev/null"),
    "unreadable": unreadable,
    "closed": in_a_closed_directory,
    "closed/file": lambda: None,
    "missing": lambda: None,
    "no/such/directory": lambda: None,
    "file/below": lambda: None,
    os.fsdecode(b"caf\xe9"): lambda: Path(os.fsdecode(b"caf\xe9")).write_text("3"),
    "new\nline": lambda: Path("new\nline").write_text("4"),
    "": lambda: None,
    ".": lambda: None,
    "../outside": lambda: None,
    "/etc": lambda: None,
    "x" * 300: lambda: None,
    "y/" * 3000: lambda: None,
    "nul\0": lambda: None,
    "\ud800": lambda: None,
}


def make_every_kind() -> list[str]:
    for make in EVERY_KIND.values():
        make()
    return list(EVERY_KIND)


def one_by_one(root: Path, asked: list[tuple[QueryInfo, tuple[Any, ...]]]) -> list[bytes | None]:
    return [stamp for one in asked for stamp in observe.stamps(root, [one])]


# -- files ---------------------------------------------------------------------------------------


def test_stamps_of_files_taken_together_are_those_taken_one_by_one(place: Path) -> None:
    paths = make_every_kind()
    with without_privileges():
        together = file_stamps(paths)
        assert together == [file_stamp(path) for path in paths]
        assert file_stamps(paths[::-1] + paths) == together[::-1] + together, "asked twice, in another order"
    assert len(set(file_stamps(paths))) > len(paths) // 2
    assert file_stamps([]) == []


def test_every_file_input_gets_the_stamps_it_would_get_alone(place: Path) -> None:
    paths = make_every_kind()
    asked = [(info_of(one), (path,)) for path in paths for one in FILE_INPUTS]
    with without_privileges():
        assert observe.stamps(place, asked) == one_by_one(place, asked)


def test_a_path_that_many_inputs_look_at_is_stamped_once(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_for: list[str] = []
    lstat = os.lstat

    def counting(path: str) -> os.stat_result:
        asked_for.append(path)
        return lstat(path)

    for number in range(5):
        Path(f"f{number}").write_text("1")
    asked = [(info_of(one), (f"f{number}",)) for one in FILE_INPUTS for number in range(5)]
    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", counting)
        found = observe.stamps(place, asked)
    assert asked_for == [f"{place}/f{number}" for number in range(5)]
    assert found == [file_stamp(f"f{number}") for _ in FILE_INPUTS for number in range(5)]


# -- places --------------------------------------------------------------------------------------

PLACES: dict[object, str | None] = {
    "a/b.py": "a/b.py",
    "": "",
    ".hidden": ".hidden",
    "..hidden": "..hidden",
    "missing/x": "missing/x",
    os.fsdecode(b"caf\xe9"): os.fsdecode(b"caf\xe9"),
    ".": None,
    "..": None,
    "../a": None,
    "./a": None,
    "a/": None,
    "a//b": None,
    "a/../b": None,
    "/a": None,
    "nul\0": None,
    "\ud800": None,
    7: None,
}


@pytest.mark.parametrize("one", FILE_INPUTS, ids=lambda one: one.__name__)
def test_the_place_of_a_file_input_is_its_path_where_changes_can_matter(one: Query[..., Any]) -> None:
    assert {path: info_of(one).place_of((path,)) for path in PLACES} == PLACES


def test_a_path_below_the_root_that_is_written_absolutely_has_no_place(place: Path) -> None:
    assert info_of(read_text).place_of((f"{place}/a",)) is None


def test_inputs_that_look_at_no_file_below_the_root_have_no_place() -> None:
    assert info_of(tool_version).place_of((("git",),)) is None
    assert info_of(variable).place_of(("PATH",)) is None


# -- any input -----------------------------------------------------------------------------------

calls: list[tuple[str, Any]] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    calls.clear()


def alone(argument: Any) -> bytes:
    calls.append(("alone", argument))
    if argument == "bad":
        raise ValueError("no stamp")
    return repr(argument).encode()


def many(arguments: list[Any]) -> list[bytes]:
    calls.append(("many", list(arguments)))
    if "bad" in arguments:
        raise ValueError("no stamps")
    return [repr(argument).encode() for argument in arguments]


def one_too_few(arguments: list[Any]) -> list[bytes]:
    return many(arguments)[1:]


@input(stamp=alone, stamps=many)
def entry(name: str) -> str:
    return name


@input(stamp=alone, stamps=many)
def other_entry(name: str) -> str:
    return name


@input(stamp=alone)
def single(name: str) -> str:
    return name


@input(observed=True)
def unstamped(name: str) -> str:
    return name


@input(stamp=alone, stamps=one_too_few)
def miscounted(name: str) -> str:
    return name


def test_stamps_come_in_the_order_asked_whatever_way_they_are_taken(place: Path) -> None:
    asked: list[tuple[QueryInfo, tuple[Any, ...]]] = [
        (info_of(query), (name,))
        for name in ("a", "b")
        for query in (entry, unstamped, other_entry, single, entry)
    ]
    assert observe.stamps(place, asked) == [
        *(b"'a'", None, b"'a'", b"'a'", b"'a'"),
        *(b"'b'", None, b"'b'", b"'b'", b"'b'"),
    ]
    assert calls == [("alone", "a"), ("alone", "b"), ("many", ["a", "b"])]


def test_arguments_that_are_equal_but_not_the_same_get_stamps_of_their_own(place: Path) -> None:
    arguments: list[Any] = [1, True, 1.0, "1", b"1", [1], (1,), (True,)]
    asked = [(info_of(entry), (argument,)) for argument in arguments]
    assert observe.stamps(place, asked) == [repr(argument).encode() for argument in arguments]


def test_many_stamps_are_taken_in_pieces(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "CHUNK", 3)
    names = [f"n{number}" for number in range(7)]
    found = observe.stamps(place, [(info_of(entry), (name,)) for name in names])
    assert found == [repr(name).encode() for name in names]
    assert calls == [("many", names[:3]), ("many", names[3:6]), ("many", names[6:])]


def test_one_bad_stamp_leaves_the_others_theirs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "CHUNK", 3)
    asked = [(info_of(entry), (name,)) for name in ("a", "bad", "b", "c")]
    assert observe.stamps(place, asked) == [b"'a'", None, b"'b'", b"'c'"]
    assert [call for call in calls if call[0] == "alone"] == [("alone", name) for name in ("a", "bad", "b")]


def test_a_function_that_gives_too_few_stamps_is_named(place: Path) -> None:
    with pytest.raises(BadQuery, match=r"(?s)miscounted.*1 stamps for 2 arguments"):
        observe.stamps(place, [(info_of(miscounted), (name,)) for name in ("a", "b")])


def test_an_input_whose_stamps_fail_has_that_failure_as_its_value(place: Path) -> None:
    with Engine(None, root=place) as db:
        with pytest.raises(ValueError, match="no stamp"):
            db.get(entry, "bad")
        assert db.get(entry, "good") == "good"
        assert db.sync() == 0
        with pytest.raises(ValueError, match="no stamp"):
            db.get(entry, "bad")


@pytest.mark.parametrize("given", ["1", 1, None, 1.5])
def test_a_stamp_that_is_not_bytes_is_an_error_that_says_what_to_give(given: Any, place: Path) -> None:
    @input(stamp=lambda name: given, name="stamped_otherwise")
    def stamped_otherwise(name: str) -> str:
        return name

    with Engine(place / ".engine") as db:
        for _ in range(2):
            with pytest.raises(BadQuery, match=r"(?s)stamped_otherwise.*str\(when\)\.encode"):
                db.get(stamped_otherwise, "a")
            db.sync()
        assert db.get(single, "a") == "a"
    with Engine(place / ".engine") as db:
        assert db.get(single, "a") == "a"
        assert db.counts().executed == 0, "the commit took no harm"


def test_stamps_may_come_from_a_generator(place: Path) -> None:
    yielding: Any = lambda names: (alone(name) for name in names)  # noqa: E731 -- as somebody may write it

    @input(stamp=alone, stamps=yielding, name="one_by_one")
    def one_by_one(name: str) -> str:
        return name

    with Engine(None, root=place) as db:
        assert db.get(one_by_one, "a") == "a"
        assert db.sync() == 0
        assert observe.stamps(place, [(info_of(one_by_one), (name,)) for name in "ab"]) == [b"'a'", b"'b'"]


@pytest.mark.parametrize(
    ("now", "proves"),
    [(102.000_5, False), (102.009, False), (102.021, True), (99.995, False), (97.9, True), (200.0, True)],
)
def test_a_stamp_of_the_coarsest_clock_is_settled_after_its_tick_and_one_of_the_kernel(
    monkeypatch: pytest.MonkeyPatch, now: float, proves: bool
) -> None:
    """At 102.0005 by ours, the kernel's clock may say 101.9995, which is 100 in a file system of 2 s."""
    monkeypatch.setattr("engine.rules.stat.time.time_ns", lambda: round(now * 1_000) * 1_000_000 + 500_000)
    times = {"st_mtime_ns": 100_000_000_000, "st_ctime_ns": 100_000_000_000}
    written: Any = SimpleNamespace(st_mode=0o100644, st_size=1, st_ino=7, **times)
    assert settled(record_of(written)) is proves
