"""What is mounted over a watched directory hides it, without an event."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from engine.watch import file_watcher
from engine.watch.filesystem import Mounts
from tests.watch_modes import HERE
from tests.watcher_rig import Rig, rig

__all__ = ["rig"]  # a fixture

MOUNTING = """\
import subprocess, sys
from pathlib import Path
from engine import Engine
from engine.watch.events import Watching
from tests.watch_world import Told, text

def mount(place):
    subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)

def now():
    watch.sync()
    return db.get(text, "a/one.txt")

root = Path(sys.argv[1])
elsewhere = root.with_name("elsewhere")
elsewhere.mkdir()
(root / "a").mkdir(parents=True)
(root / "a" / "one.txt").write_text("below")
with Engine(None, root=root) as db, db.watch(text.key("a/one.txt")) as watch:
    told = Told(watch)
    assert watch.wait_until_ready(60)
    seen = [now()]
    before = len(told.of(Watching))
    mount(elsewhere)
    seen.append(now())
    seen.append(len(told.of(Watching)) - before)
    mount(root / "a")
    seen.append(now())
    (root / "a" / "one.txt").write_text("above")
    seen.append(now())
    subprocess.run(["umount", str(root / "a")], check=True)
    seen.append(now())
    mount(root)
    seen.append(now())
    subprocess.run(["umount", str(root)], check=True)
    seen.append(now())
print(seen)
"""

TWICE = """\
import subprocess, sys
from pathlib import Path
from engine import Engine
from tests.watch_world import text

root = Path(sys.argv[1])
one, other = root / "one", root / "other"
one.mkdir(parents=True)
other.mkdir()
(one / "f.txt").write_text("at first")
subprocess.run(["mount", "--bind", str(one), str(other)], check=True)
paths = [f"{where}/{name}" for where in ("one", "other") for name in ("f.txt", "new/f.txt")]
seen = set()
with Engine(None, root=root) as db, db.watch(*map(text.key, paths)) as watch:
    assert watch.wait_until_ready(60)
    (one / "new").mkdir()
    for place in (one, other, one / "new", other / "new"):
        for number in range(2):
            (place / "f.txt").write_text(f"{place} {number}")
            watch.sync()
            name = "new/f.txt" if place.name == "new" else "f.txt"
            texts = (db.get(text, f"one/{name}"), db.get(text, f"other/{name}"))
            seen.add(texts == (f"{place} {number}",) * 2)
print(seen)
"""


def may_mount() -> bool:
    """Whether a process may have mounts of its own here."""
    unshare = shutil.which("unshare")
    if unshare is None or sys.platform != "linux":
        return False
    tried = subprocess.run([unshare, "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return tried.returncode == 0


@pytest.mark.skipif(not may_mount(), reason="this user may not mount")
def test_a_file_system_that_is_mounted_or_unmounted_below_the_root_is_seen_by_the_next_sync(
    tmp_path: Path,
) -> None:
    found = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", textwrap.dedent(MOUNTING), str(tmp_path / "root")],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    wanted = ["below", "below", 0, "<missing>", "above", "below", "<missing>", "below"]
    assert found.stdout == f"{wanted}\n", found.stderr


@pytest.mark.skipif(not may_mount(), reason="this user may not mount")
def test_of_a_directory_that_is_mounted_in_two_places_both_are_followed(tmp_path: Path) -> None:
    found = subprocess.run(
        ["unshare", "-m", sys.executable, "-c", TWICE, str(tmp_path / "root")],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.stdout == "{True}\n", found.stderr


def test_other_mounts_have_everything_looked_at_and_the_watch_made_anew(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []

    class Fake:
        def __init__(self, root: Path, changed: Any) -> None:
            self.changed = changed

        def look(self) -> None:
            if looks and looks.pop():
                self.changed()

        def close(self) -> None:
            looks.clear()

    monkeypatch.setattr(file_watcher, "Mounts", Fake)
    rig.started()
    assert rig.files.why_not_to_rely_on_events() == ""
    assert rig.hand.made == 1
    looks.append(True)
    assert "anew" in rig.files.why_not_to_rely_on_events()
    rig.now += 2 * file_watcher.RESTART_SECONDS
    rig.crawl()
    assert rig.hand.made == 2
    looks.append(True)
    rig.files.step()
    batch = rig.take()
    assert batch is not None
    assert "mounted" in batch.crawl


def test_where_mounts_are_not_listed_none_change(tmp_path: Path) -> None:
    mounts = Mounts(tmp_path, lambda: pytest.fail("it changed"), str(tmp_path / "no such file"))
    mounts.look()
    mounts.close()
