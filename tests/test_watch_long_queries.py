"""A query that takes long holds up neither changes nor the end of a watch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from engine.watch.events import Stopped
from tests.patience import PATIENCE, until
from tests.watch_queries import GATES, root, slow
from tests.watch_world import key, save, tree, truth, watching

__all__ = ["root"]  # a fixture


def gated() -> None:
    GATES.update(reached=threading.Event(), open=threading.Event())


def test_a_batch_during_a_long_query_cancels_what_it_makes_outdated(root: Path) -> None:
    gated()
    GATES["open"].set()
    with watching(root, key(slow, "top.txt"), tree) as (db, watch, _):
        gated()
        before = db.revision
        save(root / "top.txt", "first")
        assert GATES["reached"].wait(PATIENCE)
        save(root / "top.txt", "second")
        watch.sync()
        assert db.revision >= before + 2, "inputs do not wait for keys"
        GATES["open"].set()
        until(lambda: db.get(slow, "top.txt") == "second")


@pytest.mark.parametrize("how", ["the watch", "the engine", "another thread"])
def test_it_can_be_closed_during_a_long_query(root: Path, tmp_path: Path, how: str) -> None:
    gated()
    db = Engine(tmp_path / "store", root=root)
    watch = db.watch(key(slow, "top.txt"), tree)
    watch.start()
    told = watch.events()
    assert GATES["reached"].wait(PATIENCE)
    closer: Callable[[], None] = watch.close if how != "the engine" else db.close
    if how == "another thread":
        thread = threading.Thread(target=closer)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    else:
        closer()
    assert watch.ended
    GATES["open"].set()
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("engine-watch")])
    db.close()
    last = [told.get(1) for _ in range(told.waiting())][-1]
    assert isinstance(last, Stopped)
    with Engine(tmp_path / "store", root=root) as again:
        assert again.get(tree) == truth(root)["tree"]
