"""What a store keeps: failures, parts of long builds, what the host set, and whole revisions for others."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import Engine, StoreReadOnly, Transient, each, query
from tests.line_counts import opened, report, root, setting
from tests.watching import Watch

__all__ = ["root"]  # a fixture


def test_errors_are_remembered_over_a_restart(tmp_path: Path) -> None:
    @query
    def inverse() -> int:
        return 10 // setting("zero")

    for _ in range(2):
        with Engine(tmp_path / "store") as db:
            with pytest.raises(ZeroDivisionError) as caught:
                db.get(inverse)
            assert any("inverse" in note for note in caught.value.__notes__)
    with Engine(tmp_path / "store") as db:
        with pytest.raises(ZeroDivisionError):
            db.get(inverse)
        assert db.counts().executed == 0


def test_a_transient_failure_is_tried_again_after_a_restart(tmp_path: Path) -> None:
    broken = [True]

    @query
    def fetch() -> int:
        if broken[0]:
            raise Transient("away")
        return 5

    @query
    def top() -> str:
        try:
            return str(fetch())
        except Transient:
            return "none"

    with Engine(tmp_path / "store") as db:
        assert db.get(top) == "none"
        assert db.store is not None
        db.store.check_invariants()
    broken[0] = False
    with Engine(tmp_path / "store") as db:
        assert db.get(top) == "5"


def test_values_that_cannot_be_stored_work_and_say_so(tmp_path: Path) -> None:
    @query
    def made(number: int) -> SimpleNamespace:
        return SimpleNamespace(number=number + setting("x"))

    @query
    def top() -> int:
        number: int = made(1).number
        return number

    with Engine(tmp_path / "store") as db:
        assert db.get(top) == 1
        assert any("made" in note and "memory" in note for note in db.notes())
    with Engine(tmp_path / "store") as db:
        assert db.get(top) == 1
        assert db.counts().executed == 0, "what is stored of it is enough"
        db.set(setting.key("x"), 2)
        assert db.get(top) == 3


def test_a_second_process_reads_whole_revisions_meanwhile(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
        with Engine(root.parent / "store", root=root, read_only=True) as reader:
            assert reader.get(report) == "12 lines, setting 0"
            assert reader.counts().executed == 0
            db.set(setting.key("x"), 1)
            db.get(report)
            assert reader.get(report) == "12 lines, setting 0"
            with pytest.raises(StoreReadOnly):
                reader.set(setting.key("x"), 2)


def test_a_long_build_commits_in_chunks_and_an_interrupted_one_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.persist.CHUNK_NODES", 10)

    @query
    def step(number: int) -> int:
        if number == 70 and setting("interrupt") == 0:
            raise KeyboardInterrupt
        return number

    @query
    def everything() -> int:
        return sum(each(step, range(100)))

    with Engine(tmp_path / "store") as db, pytest.raises(KeyboardInterrupt):
        db.get(everything)
    with Engine(tmp_path / "store") as db:
        db.set(setting.key("interrupt"), 1)
        assert db.get(everything) == 4950
        assert db.counts().executed == 31, "70 members were kept"
        db.check_invariants()


def test_a_copy_of_a_live_store_is_right_or_rebuilt(root: Path, tmp_path: Path) -> None:
    with opened(root) as db:
        for number in range(6):
            db.set(setting.key("x"), number)
            db.get(report)
            copy = tmp_path / f"copy{number}"
            shutil.copytree(root.parent / "store", copy)
            with Engine(copy, root=root) as other:
                assert other.get(report).startswith("12 lines")


def test_the_store_can_be_read_with_other_tools_and_goes_on(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
    connection = sqlite3.connect(root.parent / "store" / "store.db")
    assert connection.execute("SELECT count(*) FROM node").fetchone()[0] > 5
    connection.close()
    with opened(root) as db:
        db.get(report)
        assert db.counts().executed == 0


def test_gc_drops_what_nobody_asked_for_and_keeps_what_the_host_set(root: Path) -> None:
    with opened(root, history=0) as db:
        db.get(report)
        db.set(setting.key("unread"), 4)
        (root / "2.txt").unlink()
        db.sync()
        db.get(report)
        collected = db.gc()
        assert collected.deleted >= 1
        before = db.counts()
        assert db.get(report) == "10 lines, setting 0"
        assert (db.counts() - before).executed == 0
        assert db.get(setting, "unread") == 4
        db.check_invariants()
    with opened(root) as db:
        assert db.get(report) == "10 lines, setting 0"
        assert db.counts().executed == 0
        assert db.get(setting, "unread") == 4


def test_forget_runs_what_matches_and_cuts_off(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
    with opened(root) as db:
        assert db.forget("*:lines(*") == 6
        watch = Watch(db)
        watch.get(report)
        assert sorted(watch.ran) == sorted(watch.cut)
        assert len(watch.ran) == 6


def test_a_key_that_reads_nothing_of_what_it_read_before_lets_go_of_it_with_few_statements(
    tmp_path: Path,
) -> None:
    size = 100

    @query
    def doubled(number: int) -> int:
        return 2 * setting(f"n{number}")

    @query
    def unless_off() -> int:
        return len(each(doubled, range(size))) if not setting("off") else 0

    with Engine(tmp_path / "store") as db:
        assert db.get(unless_off) == size
    with Engine(tmp_path / "store") as db:
        db.set(setting.key("off"), 1)
        assert db.store is not None
        said: list[str] = []
        db.store.connection.set_trace_callback(said.append)
        assert db.get(unless_off) == 0
        assert sum(text.startswith("SELECT dependency") for text in said) < 10
        db.check_invariants()
    with Engine(tmp_path / "store") as db:
        db.set(setting.key("n3"), 4)
        assert db.get(unless_off) == 0
        assert db.counts().executed == 0  # none of them has it among its readers
