"""Events that never come: the kernel lost them, or never told them. The answers are those from scratch."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.watch import file_watcher, kernel, update_scheduler
from tests.patience import PATIENCE, until
from tests.watch_modes import HERE, MODES, child
from tests.watch_world import answers, planted, truth, until_equal, watching


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return planted(tmp_path / "root")


# -- the kernel's queue overflows ------------------------------------------------------------------

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


def test_a_process_that_was_stopped_while_the_queue_overflowed_is_right_and_says_why(root: Path) -> None:
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
        signs = ("slept", "paths at once", "queue was so full")

        def synced() -> bool:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("sync\n")
            process.stdin.flush()
            right, found, reasons = json.loads(process.stdout.readline())
            assert right
            assert found >= files
            return any(sign in reason for reason in reasons for sign in signs)

        until(synced, "a reason")  # where thousands of events take a while, the late cookie is told first
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


def test_a_queue_that_overflowed_with_events_of_two_files_hides_no_third(root: Path) -> None:
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


@pytest.mark.parametrize("numbers", ["told", "not told"])
def test_a_directory_that_was_replaced_amid_more_paths_than_are_listed_is_followed(
    root: Path, numbers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where /proc does not say which directories are watched: some sandboxes and file systems."""
    monkeypatch.setattr(update_scheduler, "MOST_PATHS", 5)
    if numbers == "not told":
        monkeypatch.setattr(kernel, "watched_inodes", lambda descriptor: [])
    with watching(root) as (db, _, told):
        for round in range(3):
            shutil.rmtree(root / "a")
            for number in range(20):
                (root / f"{round} {number}.txt").write_text("new")
            (root / "a" / "deep").mkdir(parents=True)
            for text in ("first", "second"):
                (root / "a" / "one.txt").write_text(f"{text} {round}")
                db.sync()
                assert answers(db) == truth(root)
        assert any("paths at once" in reason for reason in told.reasons())


def test_only_what_an_audit_finds_before_any_event_speaks_against_the_events(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watching(root) as (_, watch, _):
        found: list[int] = []
        monkeypatch.setattr(watch.files, "audited", found.append)
        watch.sync(crawl=True)
        scheduler = watch._pipeline.scheduler
        with scheduler.changed:  # told of at the same moment
            scheduler.hint(["top.txt"])
            scheduler.crawl(update_scheduler.AUDIT)
        watch.sync()
        assert found == []
        scheduler.crawl(update_scheduler.AUDIT)
        until(lambda: found == [0])


# -- the system's limit of watches -----------------------------------------------------------------

LIMITED = """
import sys
from pathlib import Path
limit = Path("/proc/sys/user/max_inotify_watches")
limit.write_text(sys.argv[2])

from engine.watch.events import Trouble
from tests.patience import until
from tests.watch_world import answers, truth, until_equal, watching

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
def test_without_enough_watches_it_says_what_to_do_and_looks_by_itself(root: Path, when: str) -> None:
    probe = ["unshare", "-Ur", "sh", "-c", "echo 100 > /proc/sys/user/max_inotify_watches"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    if when == "from the start":
        for number in range(60):
            (root / f"n{number}").mkdir()
            (root / f"n{number}" / "one.txt").write_text("one")
    command = ["unshare", "-Ur", sys.executable, "-c", LIMITED, str(root), "40", when]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=600)
    assert done.stdout == "right\n", done.stderr


# -- writes that no event tells of -----------------------------------------------------------------


def write_by_map(path: Path, content: bytes) -> None:
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[: len(content)] = content
        mapped.flush()


@pytest.mark.parametrize("mode", MODES)
def test_what_no_event_tells_is_seen_by_a_sync_with_a_crawl(root: Path, tmp_path: Path, mode: str) -> None:
    with watching(root, **MODES[mode]) as (db, watch, _):
        write_by_map(root / "top.txt", b"MAPPED")
        watch.sync(crawl=True)
        assert answers(db) == truth(root)
        os.link(root / "b" / "two.txt", tmp_path / "hard")
        watch.sync(crawl=True)
        (tmp_path / "hard").write_text("through a hard link from outside")
        watch.sync(crawl=True)
        assert answers(db) == truth(root)


def test_what_no_event_tells_is_seen_within_the_audit_period(
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
