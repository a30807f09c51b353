"""Cookies that are late, removed, left behind or strange cost a crawl and no answer."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from engine import Engine
from engine.watch import catch_up
from tests.patience import PATIENCE, until
from tests.scripted import Script, spoiled
from tests.watch_queries import root
from tests.watch_world import answers, save, text, tree, truth, watching

__all__ = ["root"]  # a fixture


def test_a_removed_directory_of_cookies_costs_a_crawl(root: Path, tmp_path: Path) -> None:
    with watching(root, store=tmp_path / "store") as (db, watch, told):
        for number in range(2):
            shutil.rmtree(watch._cookies.directory)
            save(root / "top.txt", f"{number}")
            db.sync()
            assert db.get(text, "top.txt") == f"{number}"
            until(lambda: watch.files.why_not_to_rely_on_events() == "", "the watch is made anew")
        assert any("cookie" in reason for reason in told.reasons())


def test_a_removed_directory_of_cookies_is_noticed_at_once_and_new_directories_are_watched(
    root: Path, tmp_path: Path
) -> None:
    with watching(root, store=tmp_path / "store") as (db, watch, told):
        before = watch._cookies.directory
        shutil.rmtree(before)
        until(lambda: os.path.isdir(watch._cookies.directory) and watch._cookies.directory != before)
        until(lambda: watch.files.state == "live" and watch.files.why_not_to_rely_on_events() == "")
        (root / "new").mkdir()
        save(root / "new" / "one.txt", "one")
        db.sync()
        assert answers(db) == truth(root)
        until(lambda: watch.files.backend.covers(str(root / "new")))
        assert not any("failed" in reason for reason in told.reasons())


def test_strange_files_among_the_cookies_mean_nothing(root: Path, tmp_path: Path) -> None:
    with watching(root, store=tmp_path / "store") as (db, watch, _):
        place = Path(watch._cookies.directory)
        (place / "999999").write_text("not ours")
        (place / "directory").mkdir()
        save(root / "top.txt", "as usual")
        db.sync()
        assert db.get(text, "top.txt") == "as usual"
    assert not place.exists()


def test_a_late_cookie_is_a_crawl(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catch_up, "COOKIE_SECONDS", 0.1)
    with watching(root, backend=spoiled(Script(1, drop=1.0))) as (db, _, told):

        def late() -> bool:
            save(root / "top.txt", f"told by nobody at {time.monotonic()}")
            db.sync()
            assert answers(db) == truth(root)
            return any("cookie was late" in reason for reason in told.reasons())

        until(late)  # a machine that stops for a moment is a reason for a crawl, too


def test_cookies_of_a_watch_that_was_killed_are_removed(root: Path, tmp_path: Path) -> None:
    with Engine(tmp_path / "store", root=root) as db:
        db.get(tree)
        left = tmp_path / "store" / "cookies-old"
        left.mkdir()
        (left / "7").write_text("")
        with db.watch(tree) as watch:
            assert watch.wait_until_ready(PATIENCE)
            assert not left.exists()
