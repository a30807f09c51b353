"""Workers see what this process sees: what the host set, files, directory and variables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from engine.rules.files import read_text
from tests.workers import SQUARES, Rules, make, others

__all__ = ["make", "others"]  # fixtures

Make = Callable[[str], Rules]


def test_workers_see_what_the_host_set(make: Make, tmp_path: Path) -> None:
    rules = make("""
@input
def cell(n: int) -> int:
    return 0

@query(workers="process")
def both(n: int) -> tuple[int, str]:
    return cell(n), read_text("file")

@query
def all_both() -> tuple[tuple[int, str], ...]:
    return each(both, range(6))
""")
    (tmp_path / "file").write_text("disk")
    with Engine(tmp_path / "store", root=tmp_path, processes=2) as db:
        db.set(rules.cell.key(3), 33)
        db.set(read_text.key("file"), "buffer")
        assert db.get(rules.all_both) == tuple((33 * (n == 3), "buffer") for n in range(6))
        db.reset(read_text.key("file"))
        assert db.get(rules.all_both)[3] == (33, "disk")
    with Engine(tmp_path / "store", root=tmp_path, processes=2) as db:
        db.forget("*")
        assert db.get(rules.all_both)[3] == (33, "disk")


def test_threads_of_a_worker_that_ask_together_are_told_each_its_own_answer(
    make: Make, tmp_path: Path
) -> None:
    """They had read each other's answers, and pieces of them: wrong values, and messages without an end."""
    rules = make("""
@input
def cell(n: int) -> int:
    return 0

@query(workers="thread")
def waits(n: int) -> int:
    return cell(n)

@query(workers="process")
def whole(n: int) -> tuple[int, ...]:
    note("whole")
    return each(waits, range(16 * n, 16 * n + 16))

@query
def all_whole() -> tuple[tuple[int, ...], ...]:
    return each(whole, range(16))
""")
    with Engine(None, root=tmp_path, processes=2) as db:
        with db.batch():
            for n in range(256):
                db.set(rules.cell.key(n), 1_000 + n)
        found = db.get(rules.all_whole)
    assert [n for several in found for n in several] == list(range(1_000, 1_256))
    noted, processes = rules.noted()
    assert noted == {"whole": 16}
    assert os.getpid() not in processes


def test_a_file_that_changes_behind_the_engine_is_one_state_in_the_answer(make: Make, tmp_path: Path) -> None:
    rules = make("""
@query(workers="process")
def seen(n: int) -> str:
    return read_text("file") + str(n)

@query
def all_seen() -> tuple[str, ...]:
    first = read_text("file")
    (LOG.parent / "file").write_text("new" if LOG.parent.joinpath("armed").exists() else first)
    return (first, *each(seen, range(10)))
""")
    (tmp_path / "file").write_text("old")
    (tmp_path / "armed").touch()
    with Engine(tmp_path / "store", root=tmp_path, processes=2) as db:
        first, *others = db.get(rules.all_seen)
        assert others == [f"{first}{n}" for n in range(10)]
        db.sync()
        assert set(db.get(rules.all_seen)) == {"new", *(f"new{n}" for n in range(10))}


def test_directory_and_variables_are_those_of_now(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = make("""
@query(workers="process", untracked=False)
def around(n: int) -> tuple[str, str | None, str]:
    return os.getcwd(), env("WORKERS_SEE"), os.environ.get("WORKERS_SEE", "")

@query
def all_around() -> tuple[tuple[str, str | None, str], ...]:
    return each(around, range(4))
""")
    with Engine(None, root=tmp_path, processes=2) as db:
        for place in ("one", "two"):
            (tmp_path / place).mkdir()
            monkeypatch.chdir(tmp_path / place)
            monkeypatch.setenv("WORKERS_SEE", place)
            db.sync()
            db.forget("*around*")
            assert db.get(rules.all_around) == ((str(tmp_path / place), place, place),) * 4


def test_limits_of_recursion_and_of_digits_are_those_of_this_process(make: Make) -> None:
    """A failure was kept that the same key has not here."""
    rules = make("""
def down(n: int) -> int:
    return n and 1 + down(n - 1)

@query(workers="process")
def deep(n: int) -> int:
    return down(3000) + len(str(10 ** 5000)) + n

@query
def all_deep() -> int:
    return sum(each(deep, range(3)))
""")
    recursion, digits = sys.getrecursionlimit(), sys.get_int_max_str_digits()
    try:
        sys.setrecursionlimit(recursion + 4000)
        sys.set_int_max_str_digits(6000)
        with Engine(None, processes=2) as db:
            assert db.get(rules.all_deep) == 3 * 8001 + 3
    finally:
        sys.setrecursionlimit(recursion)
        sys.set_int_max_str_digits(digits)


def test_where_the_directory_of_this_process_is_gone_workers_work_all_the_same(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where modules are looked for in it, as those of `python -c` are: who asked was told that error."""
    rules = make(SQUARES)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    with Engine(None, root=tmp_path, processes=2) as db:
        (tmp_path / "gone").rmdir()
        assert db.get(rules.squares) == sum(n * n for n in range(40))
        assert os.getpid() not in rules.noted()[1]


def test_what_a_worker_finds_as_it_was_is_proven_here_too(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mark would stay for as long as another change waits, and the next change would not go beyond it."""
    monkeypatch.setattr("engine.parallel.held.ASK_US", 10**9)  # the worker computes it
    rules = make("""
@input
def cell() -> int:
    return 1

@query
def low() -> int:
    return len(read_text("low.txt").strip())

@query
def middle() -> int:
    return low()

@query(workers="process")
def member(n: int) -> int:
    note(n)
    return cell() * n + middle()

@query
def members() -> int:
    return sum(each(member, range(4)))

@query
def other() -> str:
    return read_text("other.txt")
""")
    low, other = tmp_path / "low.txt", tmp_path / "other.txt"
    low.write_text("a")
    other.write_text("a")
    with Engine(None, root=tmp_path, processes=2) as db:
        db.get(rules.other)
        assert db.get(rules.members) == 6 + 4
        low.write_text("a ")
        other.write_text("b")  # nobody asks for it
        db.sync()
        db.set(rules.cell.key(), 2)
        assert db.get(rules.members) == 12 + 4
        assert os.getpid() not in rules.noted()[1]
        low.write_text("abc")
        db.sync()
        assert db.get(rules.members) == 12 + 12
        db.check_invariants()


def test_what_a_worker_read_before_it_found_a_file_changed_is_no_part_of_its_next_epoch(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would tell what it makes of the new text as if that rested on the old one."""
    monkeypatch.setattr("engine.parallel.pending.BATCH_SECONDS", 0.0)  # texts are let go between two batches
    rules = make("""
@query(workers="process")
def member(n: int) -> str:
    note(n)
    if n == 10:
        LOG.with_name("text").write_text("other")
    return read_text("text")

@query
def members() -> tuple[str, ...]:
    return each(member, range(30))
""")
    (tmp_path / "text").write_text("text")
    with Engine(None, root=tmp_path, processes=1) as db:
        found = db.get(rules.members)
        assert len(set(found)) == 1
        db.sync()
        assert set(db.get(rules.members)) == {"other"}
        db.check_invariants()
