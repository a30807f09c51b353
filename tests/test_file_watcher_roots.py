"""A root that is gone, or is another one, is noticed, told and watched anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.watch.events import Trouble
from engine.watch.file_watcher import RESTART_SECONDS
from engine.watch.filesystem import Mounts
from tests.watch_world import planted
from tests.watcher_rig import Rig, rig

__all__ = ["rig"]


def test_a_root_that_is_gone_is_told_once_and_its_return_makes_the_watch_anew(rig: Rig) -> None:
    rig.started()
    rig.root.rename(rig.root.with_name("away"))
    rig.after(2)
    assert rig.files.root_is_gone
    assert rig.files.state == "doubtful"
    assert len([event for event in rig.told if isinstance(event, Trouble)]) == 1
    rig.root.with_name("away").rename(rig.root)
    batch = rig.after(1)
    assert batch is not None
    assert batch.crawl == "the root was replaced"
    rig.crawl(batch.crawl)
    assert rig.hand.made == 2
    assert not rig.files.root_is_gone


def test_another_directory_in_the_place_of_the_root_is_noticed(rig: Rig, tmp_path: Path) -> None:
    rig.started()
    planted(tmp_path / "other").rename(rig.root.with_name("new"))
    rig.root.rename(rig.root.with_name("away"))
    rig.root.with_name("new").rename(rig.root)
    batch = rig.after(0.5)
    assert batch is not None
    assert batch.crawl == "the root was replaced"


def test_what_is_mounted_is_noticed_without_a_sync(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.started()
    monkeypatch.setattr(Mounts, "look", mounted)
    rig.files.step()
    batch = rig.take()
    assert batch is not None
    assert "mounted" in batch.crawl
    rig.now += RESTART_SECONDS
    rig.crawl(batch.crawl)
    assert rig.hand.made == 2


def mounted(mounts: Mounts) -> None:
    mounts._changed()


def test_a_root_that_was_only_touched_is_the_root(rig: Rig) -> None:
    rig.started()
    os.utime(rig.root)
    rig.say("")
    batch = rig.after(0.5)
    assert batch is not None
    assert batch.crawl == ""
