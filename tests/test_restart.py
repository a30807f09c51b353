"""What a restart costs, and what it must notice."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import Engine, StoreReadOnly, Transient, each, input, query
from engine.rules.directories import glob
from engine.rules.files import FileError, read_text
from tests.watching import Watch


@input
def setting(name: str) -> int:
    return 0


@query
def lines(path: str) -> int:
    return read_text(path).count("\n")


@query
def total() -> int:
    return sum(each(lines, glob("**/*.txt")))


@query
def report() -> str:
    return f"{total()} lines, setting {setting('x')}"


def tree(root: Path, count: int = 5) -> None:
    (root / "deep" / "er").mkdir(parents=True)
    for number in range(count):
        (root / f"{number}.txt").write_text("line\n" * number)
    (root / "deep" / "er" / "x.txt").write_text("a\nb\n")
    os.utime(root / "0.txt")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "tree"
    place.mkdir()
    tree(place)
    return place


def opened(root: Path, history: int | None = None) -> Engine:
    return Engine(root.parent / "store", root=root, history=history)


def test_a_restart_with_nothing_changed_executes_nothing(root: Path) -> None:
    with opened(root) as db:
        assert db.get(report) == "12 lines, setting 0"
    with opened(root) as db:
        watch = Watch(db)
        assert watch.get(report) == "12 lines, setting 0"
        assert watch.ran == []
        assert db.counts().visited == 0
        assert db.revision == 1


def test_a_restart_after_an_edit_executes_only_what_changed(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
    (root / "2.txt").write_text("1\n2\n3\n4\n")
    with opened(root) as db:
        watch = Watch(db)
        assert watch.get(report) == "14 lines, setting 0"
        assert watch.ran == ["lines('2.txt')", "total()", "report()"]


def test_a_restart_after_an_edit_that_changes_no_value_is_cut_off(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
    (root / "2.txt").write_text("other\nwords\n")
    with opened(root) as db:
        watch = Watch(db)
        watch.get(report)
        assert watch.ran == watch.cut == ["lines('2.txt')"]
    with opened(root) as db:
        watch = Watch(db)
        watch.get(report)
        assert watch.ran == []


def test_a_change_that_nobody_asked_about_survives_a_restart(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
        db.set(setting.key("x"), 7)
    with opened(root) as db:
        watch = Watch(db)
        assert watch.get(report) == "12 lines, setting 7"
        assert watch.ran == ["report()"]


def test_content_equal_but_touched_starts_no_revision(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
    os.utime(root / "3.txt", ns=(1, 1))
    with opened(root) as db:
        assert db.get(report) == "12 lines, setting 0"
        assert db.revision == 1
        assert db.counts().executed == 0


def test_an_absent_file_appears(root: Path) -> None:
    @query
    def optional() -> str:
        try:
            return read_text("maybe.txt")
        except FileError as error:
            return error.kind

    with opened(root) as db:
        assert db.get(optional) == "missing"
        (root / "maybe.txt").write_text("here")
        assert db.get(optional) == "missing"
        db.sync()
        assert db.get(optional) == "here"
        (root / "maybe.txt").unlink()
        db.sync()
        assert db.get(optional) == "missing"


def test_a_glob_gains_and_loses_a_file(root: Path) -> None:
    with opened(root) as db:
        watch = Watch(db)
        watch.get(report)
        (root / "deep" / "new.txt").write_text("n\n")
        db.sync()
        assert watch.get(report) == "13 lines, setting 0"
        assert "lines('deep/new.txt')" in watch.ran
        assert [name for name in watch.ran if name.startswith("lines")] == ["lines('deep/new.txt')"]
        (root / "deep" / "new.txt").unlink()
        db.sync()
        assert watch.get(report) == "12 lines, setting 0"
        assert not [name for name in watch.ran if name.startswith("lines")]


def test_a_file_that_does_not_match_runs_no_reader_of_the_glob(root: Path) -> None:
    with opened(root) as db:
        watch = Watch(db)
        watch.get(report)
        (root / "deep" / "note.md").write_text("n\n")
        db.sync()
        assert watch.get(report) == "12 lines, setting 0"
        assert "total()" not in watch.ran


def test_an_overlay_beats_the_disk_until_reset_and_ends_with_the_process(root: Path) -> None:
    with opened(root) as db:
        db.get(report)
        db.set(read_text.key("2.txt"), "only\n")
        assert db.get(report) == "11 lines, setting 0"
        db.reset(read_text.key("2.txt"))
        assert db.get(report) == "12 lines, setting 0"
        db.set(read_text.key("2.txt"), "")
        assert db.get(report) == "10 lines, setting 0"
    with opened(root) as db:
        assert db.get(report) == "12 lines, setting 0"


def test_a_file_rewritten_between_look_and_read_is_not_mixed_in(root: Path) -> None:
    """Its content is not stored: when it is needed again and differs, that is a new revision."""

    @query
    def both(name: str) -> tuple[int, str]:
        return lines(name), read_text(name)[: 1 + setting("x")]

    with opened(root) as db:
        assert db.get(both, "2.txt") == (2, "l")
    with opened(root) as db:
        db.sync()
        (root / "2.txt").write_text("XYZ\n")
        db.set(setting.key("x"), 1)
        assert db.get(both, "2.txt") == (1, "XY")
        db.check_invariants()


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


PROGRAM = """
from engine import Engine, input, query
import sys

@input
def number() -> int:
    return 3

def helper(value):
    return value {operator} 2

@query
def low() -> int:
    return helper(number())

@query
def high() -> str:
    return f"<{{low()}}>"

with Engine(sys.argv[1]) as db:
    ran = []
    db.listen(lambda event: event.key is not None and ran.append(f"{{event.what.value}} {{event.key}}"))
    print(db.get(high), sorted(line for line in ran if not line.startswith("read")))
"""


def run_program(folder: Path, operator: str) -> str:
    script = folder / "program.py"
    script.write_text(textwrap.dedent(PROGRAM.format(operator=operator)))
    command = [sys.executable, str(script), str(folder / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_changed_helper_runs_its_query_again_and_readers_only_if_values_change(tmp_path: Path) -> None:
    assert run_program(tmp_path, "+") == "<5> ['executed program:high()', 'executed program:low()']"
    assert run_program(tmp_path, "+") == "<5> []"
    assert run_program(tmp_path, "- -") == "<5> ['cut off program:low()']"
    assert run_program(tmp_path, "*") == "<6> ['executed program:high()', 'executed program:low()']"


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


def test_why_says_that_a_file_changed_also_after_it_was_read_for_its_value_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    with Engine(tmp_path / "store", root=tmp_path) as db:
        db.get(lines, "a.txt")
        (tmp_path / "a.txt").write_text("one\ntwo\n")
        db.sync()
        assert db.get(lines, "a.txt") == 2
        assert "changed in R2 (the world changed)" in str(db.why(lines, "a.txt"))
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(read_text, "a.txt") == "one\ntwo\n"  # not stored: read once more
        assert "changed in R2 (the world changed)" in str(db.why(lines, "a.txt"))
