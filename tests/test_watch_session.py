"""A watch is one at a time, has settings that make sense, and is closed from anywhere and twice."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.errors import BadArguments, BadSettings, Closed
from engine.message import EngineError
from engine.watch.events import Started, Stopped
from engine.watch.places import Places
from tests.patience import PATIENCE, until
from tests.scripted import ByHand
from tests.watch_queries import root
from tests.watch_world import probes, save, text, tree, truth, watching

__all__ = ["root"]  # a fixture

NO_FUNCTION: Any = "heard"


def test_it_can_be_closed_from_a_callback(root: Path) -> None:
    with Engine(None, root=root) as db:
        watch = db.watch(tree)
        watch.subscribe(text.key("top.txt"), lambda value: watch.close("seen enough"))
        assert watch.wait_until_ready(PATIENCE)
        save(root / "top.txt", "the end")
        until(lambda: watch.ended == "seen enough")
        until(lambda: not [one for one in threading.enumerate() if one.name.startswith("engine-watch")])
        assert db.sync() == 0
        assert db.get(text, "top.txt") == "the end"


def test_it_starts_by_itself_when_somebody_wants_to_be_told(root: Path) -> None:
    with Engine(None, root=root) as db:
        heard: list[str] = []
        watch = db.watch()
        watch.subscribe(text.key("top.txt"), heard.append)
        assert watch.active
        save(root / "top.txt", "the end")
        until(lambda: heard == ["the end"])
    with Engine(None, root=root) as db:
        watch = db.watch(tree)
        events = watch.events()
        until(lambda: isinstance(events.get(PATIENCE), Started))


def test_a_subscription_that_is_refused_starts_no_watch(root: Path) -> None:
    with Engine(None, root=root) as db:
        watch = db.watch()
        with pytest.raises(BadArguments):
            watch.subscribe(text.key("top.txt"), NO_FUNCTION)
        assert not watch.active


def test_what_a_subscription_that_was_closed_would_have_called_is_let_go(root: Path) -> None:
    class Document:
        def show(self, value: str) -> None: ...

    with watching(root, backend=ByHand()) as (_, watch, _):
        document = Document()
        held = weakref.ref(document)
        watch.subscribe(text.key("top.txt"), document.show).close()
        del document
        gc.collect()
        assert held() is None


def test_who_waits_in_a_sync_while_it_ends_is_let_go(root: Path) -> None:
    hand = ByHand()  # its cookies never come
    with watching(root, backend=hand) as (_, watch, _):
        raised: list[BaseException] = []

        def sync() -> None:
            try:
                watch.sync()
            except EngineError as error:
                raised.append(error)

        threads = [threading.Thread(target=sync) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        watch.close()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        assert all(isinstance(error, Closed) for error in raised)


def test_closing_twice_and_iterating_afterwards_is_fine(root: Path) -> None:
    with Engine(None, root=root) as db:
        watch = db.watch(tree)
        watch.start()
        watch.close()
        watch.close()
        assert [type(event) for event in watch][-1] is Stopped
        assert db.get(tree) == truth(root)["tree"]
        assert db.sync() == 0


def test_one_watch_at_a_time(root: Path) -> None:
    with watching(root) as (db, watch, _):
        with pytest.raises(BadSettings):
            db.watch(tree)
        watch.close()
        with db.watch(probes) as second:
            assert second.wait_until_ready(PATIENCE)


@pytest.mark.parametrize("options", [{"audit_seconds": 0}, {"poll_seconds": -1}])
def test_settings_that_make_no_sense_are_refused(root: Path, options: Any) -> None:
    with Engine(None, root=root) as db, pytest.raises(BadSettings):
        db.watch(tree, **options)


def test_a_watch_of_a_stored_engine_files_each_input_once_when_it_begins(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All were filed twice, which was a third of what a start takes."""
    with Engine(tmp_path / "store", root=root) as db:
        db.get(tree)
    filed: list[int] = []
    file = Places._file

    def counted(places: Places, node: int, directory: str, name: str) -> None:
        filed.append(node)
        file(places, node, directory, name)

    monkeypatch.setattr(Places, "_file", counted)
    with Engine(tmp_path / "store", root=root) as db, db.watch(tree) as watch:
        assert watch.wait_until_ready(PATIENCE)
        assert sorted(filed) == sorted(db._core.observed)
        save(root / "top.txt", "seen")
        watch.sync()
        assert db.get(text, "top.txt") == "seen"
