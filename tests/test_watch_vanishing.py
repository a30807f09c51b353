"""What vanishes while it is being watched, or just before, costs a look, and no failure of the watch."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from watchfiles._rust_notify import RustNotify

from engine.watch.cookies import Cookies
from engine.watch.inotify import instances
from engine.watch.kernel import TRIES, KernelBackend
from tests.patience import PATIENCE, until
from tests.telling import CHECKOUT


class Rig:
    """A backend, what it says, and a kernel in which directories vanish while they are watched."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.cookies, self.tree = root / "cookies", root / "tree"
        self.cookies.mkdir()
        self.tree.mkdir()
        self.failed: list[str] = []
        self.tries = 0
        self.vanish: Callable[[list[str]], bool] = lambda paths: False
        self.backend = KernelBackend(str(self.cookies), lambda voice, paths: None, self.failed.append)

        def notify(paths: list[str], *options: Any) -> Any:
            self.tries += 1
            if self.vanish(paths):
                raise FileNotFoundError("No such file or directory (os error 2)")
            return RustNotify(paths, *options)

        patch.setattr("watchfiles._rust_notify.RustNotify", notify)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    rig = Rig(tmp_path, monkeypatch)
    yield rig
    rig.backend.close()


def test_trees_that_come_and_go_faster_than_they_can_be_watched_stay_uncovered_for_now(rig: Rig) -> None:
    rig.vanish = lambda paths: len(paths) > 1
    assert rig.backend.cover([str(rig.tree)]) == frozenset()
    assert (rig.tries, rig.failed, rig.backend.covers(str(rig.tree))) == (TRIES + 1, [], False)
    assert rig.backend.voices()
    rig.vanish = lambda paths: False
    assert rig.backend.cover([str(rig.tree)]) == {str(rig.tree)}
    until(lambda: rig.backend.covers(str(rig.tree)))


def test_cookies_that_vanish_while_a_watch_is_made_have_it_made_anew(rig: Rig) -> None:
    def vanish(paths: list[str]) -> bool:
        shutil.rmtree(rig.cookies, ignore_errors=True)
        return True

    rig.vanish = vanish
    assert rig.backend.cover([str(rig.tree)]) == frozenset()
    assert rig.failed == ["the directory of cookies was removed"]


@pytest.mark.parametrize("trouble", ["removed", "full"])
def test_cookies_are_made_elsewhere_where_the_store_is_removed_just_then_or_its_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    real = tempfile.mkdtemp

    def removed(prefix: str, dir: Path | None = None) -> str:
        if dir is not None and trouble == "full":
            raise OSError(errno.ENOSPC, "no space")
        if dir is not None:
            shutil.rmtree(dir)
        return real(prefix=prefix, dir=dir)

    monkeypatch.setattr(tempfile, "mkdtemp", removed)
    (tmp_path / "store").mkdir()
    cookies = Cookies(tmp_path / "store")
    cookies.renew()
    assert cookies.are_there()
    cookies.close()


@pytest.mark.skipif(sys.platform != "linux", reason="instances are known on Linux alone")
def test_watches_that_begin_at_the_same_time_know_which_instances_are_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[str] = []
    backends = []
    for name in ("one", "other"):
        cookies = tmp_path / name / "cookies"
        cookies.mkdir(parents=True)
        backends.append(KernelBackend(str(cookies), lambda voice, paths: None, failed.append))
    one, other = backends
    begins = threading.Thread(target=other.cover, args=([str(tmp_path / "other")],))

    def amid() -> set[int]:
        known = instances()
        if not begins.ident:
            begins.start()
            begins.join(0.5)
        return known

    monkeypatch.setattr("engine.watch.kernel.instances", amid)
    one.cover([str(tmp_path / "one")])
    begins.join()
    theirs = [voice._descriptors for voice in (one._large, other._large) if voice is not None]
    for backend in backends:
        backend.close()
    assert [len(found) for found in theirs] == [1, 1]
    assert theirs[0].isdisjoint(theirs[1])
    assert not failed


def test_a_forked_process_watches_though_another_thread_began_a_watch_at_that_moment(tmp_path: Path) -> None:
    program = """
import os, signal, sys, threading
from engine import Engine, query
from engine.rules.files import exists
from engine.watch import kernel
@query
def one() -> bool: return exists("a.py")
held = threading.Event()
def begin():
    with kernel._making:
        held.set()
        threading.Event().wait()
threading.Thread(target=begin, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(20)  # ends it where it hangs
    with Engine(None, root=sys.argv[1]) as db, db.watch(one):
        db.sync()
        os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=PATIENCE)
    assert answer.stdout == "7\n", answer.stderr


def test_a_forked_process_is_told_that_a_watch_is_not_its_own_and_ends_nothing_of_it(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from engine import Engine, ForkedEngine, query
from engine.rules.files import exists
@query
def one() -> bool: return exists("a.py")
root = Path(sys.argv[1])
with Engine(root / "store", root=root) as db, db.watch(one) as watch:
    watch.wait_until_ready()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends it where it hangs
        told = []
        for ask in (db.sync, watch.sync, watch.wait_until_ready, watch.events, watch.__enter__):
            try:
                ask()
            except ForkedEngine:
                told.append(ask)
        watch.close()
        os._exit(len(told))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(len(list((root / "store").glob("cookies*"))))
    (root / "a.py").touch()
    db.sync()
    print(db.get(one), watch.active, flush=True)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=PATIENCE)
    assert answer.stdout == "5\n1\nTrue True\n", answer.stdout + answer.stderr
