"""What goes wrong around a watch, one scenario after the other: each ends with the answers from scratch.

The names begin with the scenario's number in the list of faults that the engine survives (W1 to W15).
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, each, query
from engine.errors import RootGone
from engine.rules.directories import glob, listing
from engine.rules.files import FileError, read_text
from engine.watch import file_watcher
from engine.watch.events import Trouble, Watching
from engine.watch.kernel import KernelBackend
from engine.watch.scanning import ScanningBackend
from tests.watch_world import (
    PATIENCE,
    answers,
    planted,
    text,
    tree,
    truth,
    until,
    until_equal,
    watching,
)

HERE = Path(__file__).resolve().parent.parent
RUNS: list[str] = []  # paths that `slow_text` ran for


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return planted(tmp_path / "root")


def polling(cookies: str, suggest: Any, fail: Any) -> KernelBackend:
    return KernelBackend(cookies, suggest, fail, polling=True)


MODES: dict[str, dict[str, Any]] = {
    "events": {},
    "polling": {"backend": polling},
    "scanning": {"backend": ScanningBackend, "poll_seconds": 0.1},
}


def check(db: Engine, root: Path) -> None:
    """After a sync, everything is right."""
    db.sync()
    assert answers(db) == truth(root)


@query
def counted(path: str) -> str:
    """The text of a file; keeps account of its runs."""
    RUNS.append(path)
    try:
        return read_text(path)
    except FileError as error:
        return error.kind


@query
def names_in(directory: str) -> tuple[str, ...]:
    try:
        return tuple(entry.name for entry in listing(directory))
    except FileError as error:
        return (f"<{error.kind.removeprefix('dangling link') or 'missing'}>",)


@query
def counted_tree() -> tuple[str, ...]:
    return each(counted, glob("**/*.txt"))


@contextmanager
def background(work: Callable[[], None]) -> Generator[None]:
    """Do something again and again in another thread."""
    ending = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            while not ending.is_set():
                work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
    assert not failed, failed


def child(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Another Python process that runs some code and can import what is here."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


# -- W1: the kernel's queue overflows --------------------------------------------------------------

STOPPED = """
import json, sys
from pathlib import Path
from engine.watch.events import Watching
from tests.watch_world import tree, truth, watching

root = Path(sys.argv[1])
with watching(root, tree) as (db, watch, told):
    print("ready", flush=True)
    for line in sys.stdin:
        differing = watch.sync()
        right = db.get(tree) == truth(root)["tree"]
        reasons = [event.reason for event in told.of(Watching) if event.state == "doubtful"]
        print(json.dumps([right, len(db.get(tree)), reasons]), flush=True)
"""


def test_w1_a_process_that_was_stopped_while_the_queue_overflowed_is_right_and_says_why(root: Path) -> None:
    queue = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    files = min(queue // 3 + 500, 7_000)  # a new file is three events
    with child(STOPPED, str(root)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        began = time.monotonic()
        for number in range(files):
            (root / "b" / f"{number}.txt").write_text("x")
        time.sleep(max(0.0, file_watcher.GAP_SECONDS + 0.3 - (time.monotonic() - began)))
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.write("sync\n")
        process.stdin.flush()
        right, found, reasons = json.loads(process.stdout.readline())
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    assert right
    assert found >= files
    signs = ("slept", "paths at once", "queue was so full")
    assert any(sign in reason for reason in reasons for sign in signs), reasons


def test_w1_a_queue_that_overflowed_with_events_of_two_files_hides_no_third(root: Path) -> None:
    with child(STOPPED, str(root)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        names = ("b/one.txt", "b/two.txt")
        first, second = (os.open(root / name, os.O_WRONLY | os.O_CREAT) for name in names)
        for _ in range(12_000):  # equal neighbours would be one event
            os.pwrite(first, b"x", 0)
            os.pwrite(second, b"y", 0)
        os.close(first)
        os.close(second)
        (root / "top.txt").write_text("the third")
        time.sleep(file_watcher.GAP_SECONDS)
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.3)
        process.stdin.write("sync\n")
        process.stdin.flush()
        right, _, _ = json.loads(process.stdout.readline())
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
    assert right


# -- W2: new trees ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_w2_every_file_of_trees_that_are_made_quickly_is_known(root: Path, mode: str) -> None:
    with watching(root, **MODES[mode]) as (db, _, _):
        for number in range(100):
            deep = root / f"n{number}" / "b" / "c"
            deep.mkdir(parents=True)
            (deep / "f.txt").write_text("deep")
            (deep.parent.parent / "g.txt").write_text("shallow")
        check(db, root)
        assert len([path for path, _ in db.get(tree) if path.startswith("n")]) == 200


@pytest.mark.parametrize("mode", MODES)
def test_w2_new_trees_are_found_without_a_sync(root: Path, mode: str) -> None:
    with watching(root, **MODES[mode]) as (db, _, told):
        for number in range(20):
            deep = root / f"n{number}" / "b" / "c"
            deep.mkdir(parents=True)
            (deep / "f.txt").write_text("deep")
        until_equal(db, root)
        (root / "n3" / "b" / "c" / "f.txt").write_text("and again")
        until_equal(db, root)
        until(lambda: "text('n3/b/c/f.txt')" in told.names())


@pytest.mark.parametrize("mode", MODES)
def test_w2_trees_that_are_moved_are_known_at_their_new_place(root: Path, tmp_path: Path, mode: str) -> None:
    outside = tmp_path / "outside" / "deep"
    outside.mkdir(parents=True)
    for number in range(300):
        (outside / f"{number}.txt").write_text(f"{number}")
    with watching(root, **MODES[mode]) as (db, _, _):
        outside.parent.rename(root / "moved")
        check(db, root)
        (root / "moved" / "deep").rename(root / "a" / "renamed")
        check(db, root)
        (root / "a" / "renamed" / "7.txt").write_text("edited after the move")
        check(db, root)
        (root / "a").rename(tmp_path / "out")
        (tmp_path / "out" / "one.txt").write_text("edited outside")
        check(db, root)
        (tmp_path / "out").rename(root / "a")
        check(db, root)


# -- W3: names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_w3_no_file_name_ends_the_watch(root: Path, mode: str) -> None:
    names = [
        b"caf\xe9.txt",
        b"new\nline.txt",
        b"esc\x1b[31m.txt",
        b"x" * 251 + b".txt",
        b"-rf",
        b" ",
        b"\xff",
    ]
    with watching(root, **MODES[mode]) as (db, watch, _):
        for name in names:
            try:
                with open(os.fsencode(root / "a") + b"/" + name, "wb") as file:
                    file.write(b"strange")
            except OSError as error:
                if error.errno != errno.EILSEQ:  # a file system that refuses such names
                    raise
            (root / "top.txt").write_text(f"{name!r}")
            check(db, root)
        assert sum(value == "strange" for _, value in db.get(tree)) == len(names)
        (root / "top.txt").write_text("an edit as usual")
        until_equal(db, root)
        assert not watch.ended


def test_w3_a_name_that_kills_watchfiles_costs_at_most_one_restart_a_second(root: Path) -> None:
    made: list[float] = []

    def backend(cookies: str, suggest: Any, fail: Any) -> KernelBackend:
        made.append(time.monotonic())
        return KernelBackend(cookies, suggest, fail)

    strange = os.fsencode(root / "a") + b"/caf\xe9.txt"
    with watching(root, backend=backend) as (db, _, told):
        for number in range(60):
            with open(strange, "wb") as file:
                file.write(b"%d" % number)
            time.sleep(0.02)
        until_equal(db, root)
        until(lambda: told.of(Watching)[-1].state == "live", "live again")
    assert all(later - earlier > 0.9 for earlier, later in pairwise(made)), made


@pytest.mark.parametrize("mode", MODES)
def test_w3_directories_with_such_names_are_watched_by_looking(root: Path, mode: str) -> None:
    strange = os.fsencode(root) + b"/caf\xe9"
    with (
        watching(root, **MODES[mode], poll_seconds=0.1)
        if mode != "scanning"
        else watching(root, **MODES[mode]) as (db, _, _)
    ):
        os.mkdir(strange)
        with open(strange + b"/one.txt", "w") as file:
            file.write("first")
        check(db, root)
        with open(strange + b"/one.txt", "w") as file:
            file.write("second")
        until_equal(db, root)
        with open(strange + b"/one.txt", "w") as file:
            file.write("third")
        check(db, root)


# -- W4: the root ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_w4_a_root_that_is_gone_is_told_and_refused_and_comes_back(root: Path, mode: str, how: str) -> None:
    away = root.with_name("away")
    with watching(root, **MODES[mode]) as (db, _, told):
        shutil.copytree(root, away, symlinks=True)
        shutil.rmtree(root)
        if how == "renamed":
            away.rename(root)
            check(db, root)
            root.rename(away)
        until(lambda: [one for one in told.of(Trouble) if "root is gone" in one.cause], "the trouble")
        with pytest.raises(RootGone):
            db.sync()
        away.rename(root)
        (root / "top.txt").write_text("while it was away")
        until(lambda: "the root was replaced" in " ".join(told.reasons()), "the root is noticed")
        check(db, root)
        (root / "a" / "one.txt").write_text("after it came back")
        until_equal(db, root)


@pytest.mark.parametrize("mode", MODES)
def test_w4_a_root_that_is_replaced_at_once_is_noticed(root: Path, tmp_path: Path, mode: str) -> None:
    other = planted(tmp_path / "other")
    (other / "top.txt").write_text("another tree")
    with watching(root, **MODES[mode]) as (db, _, _):
        root.rename(tmp_path / "old")
        other.rename(root)
        until_equal(db, root)
        (root / "a" / "deep" / "two.txt").write_text("edited")
        until_equal(db, root)


def test_w4_a_root_that_is_made_again_under_its_old_number_is_noticed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_watcher, "_identity", lambda root: (1, 1) if os.path.isdir(root) else None)
    with watching(root) as (db, _, _):
        shutil.rmtree(root)
        root.mkdir()
        (root / "new.txt").write_text("new")
        until_equal(db, root)
        (root / "new.txt").write_text("newer")
        until_equal(db, root)


def test_w4_a_root_behind_a_link_that_is_turned_is_noticed(root: Path, tmp_path: Path) -> None:
    other = planted(tmp_path / "other")
    (other / "top.txt").write_text("the other tree")
    link = tmp_path / "current"
    link.symlink_to(root)
    with watching(link) as (db, _, _):
        (root / "top.txt").write_text("edited under its real name")
        check(db, link)
        turned = tmp_path / "turned"
        turned.symlink_to(other)
        turned.replace(link)
        until_equal(db, link)
        (other / "b" / "two.txt").write_text("edited in the other tree")
        until_equal(db, link)


# -- W5: the system's limit of watches -------------------------------------------------------------

LIMITED = """
import sys
from pathlib import Path
limit = Path("/proc/sys/user/max_inotify_watches")
limit.write_text(sys.argv[2])

from engine.watch.events import Trouble
from tests.watch_world import answers, truth, until, until_equal, watching

root = Path(sys.argv[1])
with watching(root, poll_seconds=0.1) as (db, watch, told):
    if sys.argv[3] == "while it runs":
        for number in range(60):
            (root / f"n{number}").mkdir()
            (root / f"n{number}" / "one.txt").write_text("one")
        until_equal(db, root)
    trouble = until(lambda: told.of(Trouble), "trouble")
    assert "sysctl" in trouble[0].remedy, trouble
    assert len(trouble) == 1, trouble
    for path in ("top.txt", "a/deep/two.txt", "n55/one.txt"):
        if (root / path).exists():
            (root / path).write_text("edited")
            until_equal(db, root)
            (root / path).write_text("edited again")
            db.sync()
            assert answers(db) == truth(root)
    limit.write_text("100000")
    until(lambda: watch.files.directories() > 60, "the watches to be made")
    (root / "top.txt").write_text("at last")
    until_equal(db, root)
print("right")
"""


@pytest.mark.parametrize("when", ["from the start", "while it runs"])
def test_w5_without_enough_watches_it_says_what_to_do_and_looks_by_itself(root: Path, when: str) -> None:
    probe = ["unshare", "-Ur", "sh", "-c", "echo 100 > /proc/sys/user/max_inotify_watches"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    if when == "from the start":
        for number in range(60):
            (root / f"n{number}").mkdir()
            (root / f"n{number}" / "one.txt").write_text("one")
    command = ["unshare", "-Ur", sys.executable, "-c", LIMITED, str(root), "40", when]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "right\n", done.stderr


# -- W6: writes that no event tells of -------------------------------------------------------------


def write_by_map(path: Path, content: bytes) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[: len(content)] = content
        mapped.flush()


@pytest.mark.parametrize("mode", MODES)
def test_w6_what_no_event_tells_is_seen_by_a_sync_with_a_crawl(root: Path, tmp_path: Path, mode: str) -> None:
    with watching(root, **MODES[mode]) as (db, watch, _):
        write_by_map(root / "top.txt", b"MAPPED")
        watch.sync(crawl=True)
        assert answers(db) == truth(root)
        os.link(root / "b" / "two.txt", tmp_path / "hard")
        watch.sync(crawl=True)
        (tmp_path / "hard").write_text("through a hard link from outside")
        watch.sync(crawl=True)
        assert answers(db) == truth(root)


def test_w6_what_no_event_tells_is_seen_within_the_audit_period(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_watcher, "AUDIT_SHARE", 1.0)
    with watching(root, audit_seconds=0.2) as (db, _, told):
        os.link(root / "b" / "two.txt", tmp_path / "hard")
        until_equal(db, root)
        write_by_map(root / "top.txt", b"MAPPED")
        (tmp_path / "hard").write_text("through a hard link from outside")
        until_equal(db, root)
        until(lambda: "audit" in {event.crawl for event in told.revised()})


# -- W7: read your writes --------------------------------------------------------------------------

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
def test_w7_what_was_written_before_a_sync_is_read_after_it(root: Path, mode: str, times: int) -> None:
    with child(WRITER, str(root / "b")) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        try:
            with watching(root, counted_tree, **MODES[mode]) as (db, _, _):
                for number in range(times):
                    path = ("top.txt", "a/one.txt", f"a/deep/{number % 7}.txt")[number % 3]
                    (root / path).write_text(f"{number}")
                    db.sync()
                    assert db.get(text, path) == f"{number}"
                    assert f"{number}" in db.get(counted_tree)
        finally:
            writer.kill()


def test_w7_threads_that_sync_at_the_same_time_all_read_their_writes(root: Path) -> None:
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


# -- W8, W9: the start -----------------------------------------------------------------------------


def test_w8_a_change_during_the_start_is_not_missed(root: Path) -> None:
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


def test_w9_edits_while_the_watch_was_off_are_in_the_first_answer(root: Path, tmp_path: Path) -> None:
    from tests.watch_world import Edits

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


# -- W10: a switch of branches ---------------------------------------------------------------------


def test_w10_a_switch_under_git_s_lock_is_one_revision(root: Path) -> None:
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


# -- W11: editors ----------------------------------------------------------------------------------


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
def test_w11_a_save_of_any_editor_is_right_and_runs_at_most_twice(
    root: Path, save: Callable[[Path, str], None]
) -> None:
    with watching(root, counted_tree) as (db, _, told):
        for number in range(5):
            RUNS.clear()
            save(root / "a" / "one.txt", f"saved {number}")
            until(lambda number: f"saved {number}" in db.get(counted_tree), "", number)
            check(db, root)
            time.sleep(0.06)  # nobody saves as often as a busy path is written
            assert db.get(counted_tree) == Engine(None, root=root).get(counted_tree)
        del told


# -- W12: a file that never rests ------------------------------------------------------------------


def test_w12_a_file_written_all_the_time_holds_up_nobody(root: Path) -> None:
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
        assert len(told.revised()) <= 12 * 2 + seconds * 5 + 20


# -- W13: a rule that writes into its own input ----------------------------------------------------


def test_w13_a_rule_that_changes_its_own_input_is_stopped(root: Path) -> None:
    with watching(root, tree) as (_, watch, told):

        def write(value: Any) -> None:
            (root / "b" / "out.txt").write_text(f"{len(value)} {time.monotonic_ns()}")

        watch.subscribe(tree, write)
        (root / "top.txt").write_text("go")
        until(lambda: told.of(Trouble))  # on a busy machine some writes miss the interval, and it counts anew
        assert [one for one in told.of(Trouble) if "its own input" in one.cause]


# -- W15: links ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_w15_a_file_that_is_read_through_links_is_followed_under_its_real_name(root: Path, mode: str) -> None:
    (root / "link").symlink_to("a")
    (root / "b" / "up").symlink_to("../link/deep")
    (root / "l.txt").symlink_to("b/up/two.txt")
    paths = ("link/one.txt", "b/up/two.txt", "l.txt", "link/deep/two.txt", "a/one.txt", "a/deep/two.txt")
    with watching(root, *(text.key(path) for path in paths), **MODES[mode]) as (db, _, told):
        (root / "a" / "one.txt").write_text("one again")
        db.sync()
        assert db.get(text, "link/one.txt") == db.get(text, "a/one.txt") == "one again"
        (root / "a" / "deep" / "two.txt").write_text("two again")
        db.sync()
        assert {db.get(text, path) for path in paths if "one" not in path} == {"two again"}
        until(lambda: "text('l.txt')" in told.names())
        (root / "link").unlink()
        (root / "link").symlink_to("b")
        (root / "b" / "one.txt").write_text("the other one")
        db.sync()
        assert db.get(text, "link/one.txt") == "the other one"
        assert db.get(text, "l.txt") == "<dangling link>"
        (root / "b" / "one.txt").write_text("and edited")
        until(lambda: db.get(text, "link/one.txt") == "and edited")
        (root / "b" / "deep").mkdir()
        (root / "b" / "deep" / "two.txt").write_text("reached again")
        until(lambda: db.get(text, "l.txt") == "reached again")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("before", ["a file", "nothing", "a directory"])
def test_w15_what_becomes_a_link_is_followed_from_then_on(root: Path, mode: str, before: str) -> None:
    place = root / "b" / "two.txt"
    (root / "new").mkdir()
    (root / "new" / "one.txt").write_text("first")
    with watching(root, text.key("b/two.txt"), **MODES[mode]) as (db, _, _):
        db.sync()
        place.unlink()
        if before == "nothing":
            db.sync()
        if before == "a directory":
            place.mkdir()
            db.sync()
            place.rmdir()
        place.symlink_to("../new/one.txt")
        db.sync()
        assert db.get(text, "b/two.txt") == "first"
        for content in ("second", "third"):
            (root / "new" / "one.txt").write_text(content)
            db.sync()
            assert db.get(text, "b/two.txt") == content
        (root / "new" / "one.txt").write_text("without a sync")
        until(lambda: db.get(text, "b/two.txt") == "without a sync")


@pytest.mark.parametrize("mode", MODES)
def test_w2_a_directory_that_was_missing_is_watched_once_it_is_there(root: Path, mode: str) -> None:
    with watching(root, names_in.key("new"), names_in.key("link"), **MODES[mode]) as (db, _, _):
        (root / "link").symlink_to("far")
        db.sync()
        assert db.get(names_in, "new") == db.get(names_in, "link") == ("<missing>",)
        for directory in ("new", "far"):
            (root / directory).mkdir()
        db.sync()
        assert db.get(names_in, "new") == db.get(names_in, "link") == ()
        (root / "new" / "x").write_text("")
        (root / "far" / "x").write_text("")
        db.sync()
        assert db.get(names_in, "new") == db.get(names_in, "link") == ("x",)
        (root / "new" / "y").write_text("")
        (root / "far" / "y").write_text("")
        until(lambda: db.get(names_in, "new") == db.get(names_in, "link") == ("x", "y"))


@pytest.mark.parametrize("mode", MODES)
def test_w15_links_out_of_the_root_and_in_circles_are_answers(root: Path, tmp_path: Path, mode: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "one.txt").write_text("outside")
    (root / "link").symlink_to(outside)
    (root / "l.txt").symlink_to("l.txt")
    (root / "b" / "loop").symlink_to("..")
    with watching(root, **MODES[mode]) as (db, _, _):
        check(db, root)
        assert db.get(text, "link/one.txt") == "<outside root>"
        assert db.get(text, "l.txt") == "<link loop>"
        assert len(db.get(tree)) == 5
        (root / "link").unlink()
        (root / "link").mkdir()
        (root / "link" / "one.txt").write_text("inside now")
        check(db, root)
        (root / "link" / "one.txt").write_text("inside, edited")
        until_equal(db, root)
        assert db.get(text, "link/one.txt") == "inside, edited"


def test_w15_a_link_that_leads_out_and_in_again_is_looked_at_every_second(root: Path, tmp_path: Path) -> None:
    (tmp_path / "back").symlink_to(root / "a")
    (root / "link").symlink_to(tmp_path / "back")
    with watching(root, poll_seconds=0.1) as (db, _, _):
        assert db.get(text, "link/one.txt") == "a/one.txt at first"
        (root / "a" / "one.txt").write_text("edited under its real name")
        until(lambda: db.get(text, "link/one.txt") == "edited under its real name")
        (root / "a" / "one.txt").write_text("and again")
        check(db, root)
