"""Where there are no events the watcher looks by itself, and says so."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engine.watch import file_watcher
from engine.watch.events import Trouble
from engine.watch.file_watcher import RESTART_SECONDS
from engine.watch.filesystem import why_silent
from engine.watch.scanning import ScanningBackend
from tests.watch_world import planted
from tests.watcher_rig import Rig, rig

__all__ = ["rig"]


def test_without_room_for_watches_it_says_so_once_and_polls(rig: Rig) -> None:
    rig.hand.most = 1
    rig.crawl()
    batch = rig.after(10)
    assert batch is not None
    assert "read_text a/one.txt" in rig.names(batch.nodes)
    troubles = [event for event in rig.told if isinstance(event, Trouble)]
    assert len(troubles) == 1
    assert "Raise the limit" in troubles[0].remedy
    rig.hand.most = None
    rig.after(2)
    assert f"{rig.root}/a" in rig.hand.covered
    assert not rig.files.uncovered()
    assert rig.files.directories() == len(rig.hand.covered)


def test_a_directory_without_room_for_its_watch_is_looked_at_with_its_listing(rig: Rig) -> None:
    """Though there is one on the directory above, which says nothing of what is in this one."""
    rig.started()
    rig.hand.most = len(rig.hand.covered) - 1
    shutil.rmtree(rig.root / "a" / "deep")
    (rig.root / "a" / "deep").mkdir()
    rig.files.nodes_of(["a/deep"])
    assert f"{rig.root}/a/deep" not in rig.hand.covered
    rig.take()
    (rig.root / "a" / "deep" / "new.txt").write_text("nobody is told of this")
    assert "listing a/deep" in rig.names(rig.files.uncovered())


def test_what_was_in_directories_without_a_watch_is_looked_at_when_they_are_gone(rig: Rig) -> None:
    rig.hand.most = 0
    rig.crawl()
    rig.files.uncovered()
    shutil.rmtree(rig.root / "a")
    lost = {"read_text a/one.txt", "read_text a/deep/two.txt", "listing a/deep"}
    assert rig.names(rig.files.uncovered()) >= lost
    assert not rig.names(rig.files.uncovered()) & lost  # once: there is nothing to happen to them


def test_a_scanning_watch_looks_at_everything_every_second(tmp_path: Path) -> None:
    rig = Rig(planted(tmp_path / "root"), ScanningBackend).started()
    batch = rig.after(1.25)
    assert batch is not None
    assert rig.names(batch.nodes) >= {"read_text a/one.txt", "read_text top.txt", "listing a/deep"}
    rig.cookies.close()
    rig.db.close()


def test_polling_takes_a_tenth_of_a_core_at_most(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watcher, "LOOK_SECONDS", 1.0)
    rig.ask("x/y/other.txt")
    rig.hand.most = 0
    rig.started()
    polls = 0
    for _ in range(1_000):
        rig.now += 0.25
        rig.hand.say()
        rig.files.step()
        batch = rig.take()
        assert batch is not None
        polls += bool(batch.nodes)
    assert 1 <= polls <= 250 * file_watcher.POLL_SHARE / 5


@pytest.mark.parametrize("mounted", ["before", "meanwhile"])
def test_a_root_on_a_silent_mount_is_scanned(rig: Rig, mounted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mounted == "meanwhile":
        rig.started()
        rig.now += RESTART_SECONDS
        rig.files.doubt("a file system was mounted or unmounted", reinstall=True)
    monkeypatch.setattr(file_watcher, "why_silent", lambda root: "/mnt is a nfs mount")
    rig.crawl()
    assert rig.hand.made == rig.hand.closed == (mounted == "meanwhile")
    assert rig.files.backend.mode == "scanning"
    assert any("nfs" in event.cause for event in rig.told if isinstance(event, Trouble))


@pytest.mark.parametrize("name", ["shared", "two words", "d\u00e9p\u00f4t", "next\x85line", "back\\slash"])
def test_the_mount_nearest_the_root_says_whether_it_is_silent(tmp_path: Path, name: str) -> None:
    mounts, written = tmp_path / "mountinfo", name.replace("\\", r"\134").replace(" ", r"\040")
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        f"31 22 0:40 / {tmp_path}/{written} rw shared:9 - nfs4 host:/export rw\n"
        f"32 31 8:2 / {tmp_path}/{written}/local rw - ext4 /dev/sdb1 rw\n"
    )
    silent = tmp_path / name
    assert why_silent(silent / "project", str(mounts)).startswith(f"{silent} is a nfs4 mount")
    for told in (tmp_path, tmp_path / f"{name}er", silent / "local" / "project"):
        assert why_silent(told, str(mounts)) == ""
    assert why_silent(silent, str(tmp_path / "no such file")) == ""
