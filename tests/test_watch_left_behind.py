"""What a watch leaves behind: a store to go on with, and nothing else."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

from engine import Engine
from engine.watch.events import Failed
from tests.patience import PATIENCE, until
from tests.watch_queries import root
from tests.watch_world import answers, save, tree, truth, until_equal, watching

__all__ = ["root"]  # a fixture


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def inotify_instances() -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += "inotify" in os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the listing's own
            continue
    return found


def test_watches_leave_nothing_behind(root: Path, tmp_path: Path) -> None:
    with Engine(tmp_path / "store", root=root) as db:

        def once(ready: bool) -> None:
            with db.watch(tree) as watch:
                if ready:
                    assert watch.wait_until_ready(PATIENCE)
            del watch

        once(True)
        until(lambda: inotify_instances() == 0)
        gc.collect()
        before = descriptors(), threading.active_count()
        for number in range(50):
            once(number % 2 == 0)
        gc.collect()
        until(lambda: threading.active_count() <= before[1])
        until(lambda: descriptors() <= before[0])  # fewer: what tests before this one left is gone by now
        until(lambda: inotify_instances() == 0)
        assert not list((tmp_path / "store").glob("cookies-*"))


def test_many_new_directories_leave_two_watches(root: Path) -> None:
    with watching(root) as (db, _, _):
        for number in range(20):
            (root / f"n{number}").mkdir()
            (root / f"n{number}" / "x.txt").write_text("x")
            db.sync()
            db.get(tree)
        until_equal(db, root)
        until(lambda: inotify_instances() <= 2)


def test_a_store_goes_on_from_watch_to_watch(root: Path, tmp_path: Path) -> None:
    revisions = []
    for number in range(4):
        with watching(root, store=tmp_path / "store") as (db, _, told):
            assert answers(db) == truth(root)
            save(root / "top.txt", f"watched {number}")
            until(told.revised)
            assert answers(db) == truth(root)
            revisions.append(db.revision)
        save(root / "b" / "two.txt", f"not watched {number}")
    assert revisions == sorted(set(revisions))
    assert Failed("x", "y").again_in == 0.0
