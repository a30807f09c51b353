"""Where there are no events the watcher looks by itself, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.watch import file_watcher
from engine.watch.events import Trouble
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


def test_a_root_on_a_silent_mount_is_scanned(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_watcher, "why_silent", lambda root: "/mnt is a nfs mount")
    rig.crawl()
    assert rig.hand.made == 0
    assert rig.files.backend.mode == "scanning"
    assert any("nfs" in event.cause for event in rig.told if isinstance(event, Trouble))
