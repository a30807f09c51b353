"""Saves at any moment and in any way: what was written is read, and one file holds up no other."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, each, query
from engine.rules.directories import glob
from engine.watch import update_scheduler
from engine.watch.events import Trouble
from tests.patience import PATIENCE, until
from tests.watch_edits import Edits
from tests.watch_modes import MODES, background, check, child
from tests.watch_world import answers, planted, text, tree, truth, until_equal, watching


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return planted(tmp_path / "root")


@query
def texts() -> tuple[str, ...]:
    return each(text, glob("**/*.txt"))


# -- read your writes ------------------------------------------------------------------------------

WRITER = """
import sys, time
from pathlib import Path
root = Path(sys.argv[1])
number = 0
for name in range(200):
    (root / f"{name}.txt").write_text("0")
print("ready", flush=True)
while True:
    for _ in range(20):
        number += 1
        (root / f"{number % 200}.txt").write_text(str(number))
    time.sleep(0.01)
"""


@pytest.mark.parametrize(("mode", "times"), [("events", 60), ("polling", 20), ("scanning", 20)])
def test_what_was_written_before_a_sync_is_read_after_it(root: Path, mode: str, times: int) -> None:
    with child(WRITER, str(root / "b")) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        try:
            with watching(root, texts, **MODES[mode]) as (db, _, _):
                for number in range(times):
                    path = ("top.txt", "a/one.txt", f"a/deep/{number % 7}.txt")[number % 3]
                    (root / path).write_text(f"{number}")
                    db.sync()
                    assert db.get(text, path) == f"{number}"
                    assert f"{number}" in db.get(texts)
        finally:
            writer.kill()


def test_threads_that_sync_at_the_same_time_all_read_their_writes(root: Path) -> None:
    wrong: list[str] = []
    with watching(root) as (db, _, _):

        def work(name: str) -> None:
            for number in range(30):
                (root / "b" / name).write_text(f"{name} {number}")
                db.sync()
                found = db.get(text, f"b/{name}")
                if found != f"{name} {number}":
                    wrong.append(f"{name} {number}: {found}")

        threads = [threading.Thread(target=work, args=(f"{name}.txt",)) for name in "pqrs"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


# -- the start -------------------------------------------------------------------------------------


def test_a_change_during_the_start_is_not_missed(root: Path) -> None:
    for number in range(25):
        chance = random.Random(number)
        counter = iter(range(1_000_000))

        def write(chance: random.Random = chance, counter: Any = counter) -> None:
            path = root / chance.choice(["a", "b", "a/deep"]) / f"{chance.randrange(5)}.txt"
            path.write_text(f"{next(counter)}")
            time.sleep(0.001)

        with Engine(None, root=root) as db:
            with background(write):
                watch = db.watch(tree)
                assert watch.wait_until_ready(PATIENCE)
            until_equal(db, root)


def test_edits_while_the_watch_was_off_are_in_the_first_answer(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    edits = Edits(root, 9, tmp_path / "outside")
    for _ in range(10):
        heard: list[Any] = []
        with watching(root, store=tmp_path / "store") as (db, watch, _):
            assert answers(db) == truth(root)
            watch.subscribe(tree, heard.append)
            (root / f"{edits.fresh()}.txt").write_text("to be heard of")
            until(lambda heard: heard, "", heard)
            check(db, root)
        edits.edit(30)


# -- a switch of branches --------------------------------------------------------------------------


def test_a_switch_under_git_s_lock_is_one_revision(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_scheduler, "HELD_CAP", PATIENCE)  # however slow the switch is
    (root / ".git").mkdir()
    for number in range(300):
        (root / "b" / f"{number}.txt").write_text("one branch")
    with watching(root) as (db, _, told):
        check(db, root)
        (root / ".git" / "index.lock").write_text("")
        for number in range(300):
            path = root / "b" / f"{number}.txt"
            path.unlink()
            path.write_text("another branch")
            if number % 30 == 0:
                time.sleep(0.02)
        time.sleep(0.3)
        assert not told.revised()
        assert db.get(tree)[10][1] == "one branch"
        (root / ".git" / "index.lock").unlink()
        until_equal(db, root)
        until(lambda: told.revised(), "a revision")
        assert 1 <= len(told.revised()) <= 3
        contents = [one for event in told.revised() for one in event.inputs if "read_text" in one.key]
        assert len(contents) == 300


def test_a_lock_that_git_left_behind_makes_no_save_wait(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_scheduler, "HELD_CAP", 10 * PATIENCE)
    with watching(root, poll_seconds=10 * PATIENCE) as (db, _, _):
        (root / ".git").mkdir()  # also: a repository that is made later
        lock = root / ".git" / "index.lock"
        lock.write_text("")
        (root / "top.txt").write_text("while git is at work")
        time.sleep(0.3)
        assert db.get(text, "top.txt") == "top.txt at first"
        os.utime(lock, (time.time() - 61, time.time() - 61))
        until(lambda: db.get(text, "top.txt") == "while git is at work")


# -- editors ---------------------------------------------------------------------------------------


def save_like_vim(path: Path, content: str) -> None:
    (path.parent / "4913").write_text("")  # vim sees whether it may write here
    (path.parent / "4913").unlink()
    backup = path.with_name(path.name + "~")
    path.rename(backup)
    path.write_text(content)
    path.chmod(0o644)
    backup.unlink()


def save_like_emacs(path: Path, content: str) -> None:
    lock = path.with_name(f".#{path.name}")
    lock.symlink_to("user@host.1234:5678")
    shutil.copy2(path, path.with_name(path.name + "~"))
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(descriptor, content.encode())
    os.fsync(descriptor)
    os.close(descriptor)
    lock.unlink()


def save_like_code(path: Path, content: str) -> None:
    os.truncate(path, 0)
    with path.open("r+") as file:
        file.write(content)


def save_like_sed(path: Path, content: str) -> None:
    made = path.parent / "sedQ1w2E3"
    made.write_text(content)
    made.chmod(0o644)
    made.rename(path)


def save_twice(path: Path, content: str) -> None:
    path.write_text("not yet")
    time.sleep(0.003)
    path.write_text(content)


def save_slowly(path: Path, content: str) -> None:
    with path.open("w") as file:
        file.flush()
        time.sleep(0.03)
        file.write(content)


@pytest.mark.parametrize(
    "save", [save_like_vim, save_like_emacs, save_like_code, save_like_sed, save_twice, save_slowly]
)
def test_a_save_of_any_editor_is_right(root: Path, save: Callable[[Path, str], None]) -> None:
    with watching(root, texts) as (db, _, _):
        for number in range(5):
            save(root / "a" / "one.txt", f"saved {number}")
            until(lambda number: f"saved {number}" in db.get(texts), "", number)
            check(db, root)
            time.sleep(0.06)  # nobody saves as often as a busy path is written


# -- a file that never rests -----------------------------------------------------------------------


def test_a_file_written_all_the_time_holds_up_nobody(root: Path) -> None:
    with watching(root) as (db, watch, told):
        began = time.monotonic()

        def write() -> None:
            (root / "b" / "two.txt").write_text(f"{time.monotonic()}")
            time.sleep(0.005)

        with background(write):
            for number in range(12):
                (root / "top.txt").write_text(f"{number}")
                until(lambda number: db.get(text, "top.txt") == f"{number}", "", number)
                assert watch.progress().pending_paths < 10
                time.sleep(0.1)
        seconds = time.monotonic() - began
        until_equal(db, root)
        # Five a second; at most three for each pause of BUSY_WINDOW, where the machine makes such pauses.
        assert len(told.revised()) <= 12 * 2 + seconds * 3 / update_scheduler.BUSY_WINDOW + 20


# -- a rule that writes into its own input ---------------------------------------------------------


def test_a_rule_that_changes_its_own_input_is_stopped(root: Path) -> None:
    with watching(root, tree) as (_, watch, told):

        def write(value: Any) -> None:
            (root / "b" / "out.txt").write_text(f"{len(value)} {time.monotonic_ns()}")

        watch.subscribe(tree, write)
        (root / "top.txt").write_text("go")
        # On a busy machine some writes miss the interval, and it counts anew.
        until(lambda: [one for one in told.of(Trouble) if "its own input" in one.cause])
