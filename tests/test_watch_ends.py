"""A watch that ends takes everything along, whatever its threads are at in that moment."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, query
from engine.errors import StoreError
from engine.rules.files import read_text
from engine.watch.coverage import Coverage
from engine.watch.events import Stopped, Trouble
from engine.watch.inotify import instances
from engine.watch.kernel import KernelBackend
from tests.patience import PATIENCE, until
from tests.watch_world import Told, planted, save, tree

GOES, GOING = threading.Event(), threading.Event()


@query
def gated() -> str:
    """Waits where its file says so."""
    text = read_text("top.txt")
    if text == "wait":
        GOING.set()
        assert GOES.wait(PATIENCE)
    return text


def test_a_backend_that_was_closed_covers_nothing_any_more(tmp_path: Path) -> None:
    cookies, other = tmp_path / "cookies", tmp_path / "other"
    cookies.mkdir()
    other.mkdir()
    backend = KernelBackend(str(cookies), lambda voice, paths: None, lambda cause: None)
    assert backend.cover([str(other)]) == {str(other)}
    backend.close()
    assert backend.cover([str(other)]) == frozenset()
    assert not backend.covers(str(other))
    assert not backend.voices()
    until(lambda: not instances())


def test_a_watch_that_ends_while_it_covers_what_was_read_leaves_no_instance_of_inotify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    covering, ended = threading.Event(), threading.Event()
    cover = Coverage.cover

    def late(self: Any) -> None:
        if threading.current_thread().name == "engine-watch-keys":
            covering.set()
            assert ended.wait(PATIENCE)
        cover(self)

    monkeypatch.setattr(Coverage, "cover", late)
    with Engine(None, root=planted(tmp_path / "root")) as db:
        watch = db.watch(tree)
        watch.start()
        assert covering.wait(PATIENCE)
        (keys,) = (one for one in threading.enumerate() if one.name == "engine-watch-keys")
        watch.close()
        ended.set()
        keys.join(PATIENCE)
        assert not keys.is_alive()
    until(lambda: not instances())


def test_a_watch_ends_for_everybody_where_its_store_went_with_the_root(tmp_path: Path) -> None:
    GOES.clear()
    GOING.clear()
    root = planted(tmp_path / "root")
    db = Engine(root / ".engine", root=root)
    watch = db.watch(gated)
    watch.start()
    told = Told(watch)
    assert watch.wait_until_ready(PATIENCE)
    save(root / "top.txt", "wait")
    assert GOING.wait(PATIENCE)  # there is a revision that nobody committed
    shutil.rmtree(root)
    ending = threading.Thread(target=watch.close)
    ending.start()
    until(lambda: watch.ended)
    GOES.set()
    ending.join(PATIENCE)
    until(lambda: told.of(Stopped))
    assert any("store" in one.place and "removed" in one.cause for one in told.of(Trouble))
    with pytest.raises(StoreError):
        db.close()
    db.close()
