"""What fails under a watch stops nothing else, is tried again, and heals."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine import query
from engine.errors import StoreDamaged
from engine.recover import start_over
from engine.rules.files import read_text
from engine.watch import update_scheduler
from engine.watch.delta_processor import DeltaProcessor
from engine.watch.echo import Echo
from engine.watch.events import Started, Trouble
from engine.watch.inputs import Inputs
from tests.patience import until
from tests.watch_queries import TROUBLE, root, shaky
from tests.watch_world import answers, key, save, size_of, tree, truth, until_equal, watching

__all__ = ["root"]  # a fixture


def test_one_failing_file_stops_no_other(root: Path) -> None:
    watched = [key(size_of, path) for path in ("a/one.txt", "b/two.txt", "top.txt")]
    with watching(root, *watched) as (db, watch, told):
        (root / "a" / "one.txt").unlink()
        save(root / "top.txt", "changed in the same batch")
        until(lambda: "size_of('top.txt')" in told.names())
        failed = "size_of('a/one.txt')"  # told with it, or in the next event: two saves may be two batches
        until(lambda: [one for event in told.revised() for one in event.failures if failed in one.key])
        assert all(one.watched for event in told.revised() for one in event.failures if failed in one.key)
        save(root / "b" / "two.txt", "later")
        until(lambda: "size_of('b/two.txt')" in told.names())
        save(root / "a" / "one.txt", "back")
        until(lambda: not watch.failing)
        assert db.get(size_of, "a/one.txt") == 4


class _Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("it cannot be said")


@query
def wordless(path: str) -> str:
    raise _Wordless(read_text(path))


def test_an_exception_that_cannot_say_what_it_is_stops_nobody(root: Path) -> None:
    with watching(root, wordless.key("top.txt"), tree) as (_, watch, told):
        assert next(iter(watch.failing.values())).startswith("_Wordless, at ")
        save(root / "top.txt", "changed")
        until(lambda: "tree()" in told.names())
        assert not told.of(Trouble)


def test_a_transient_failure_is_tried_again_and_heals(root: Path) -> None:
    TROUBLE["top.txt"] = 3
    with watching(root, key(shaky, "top.txt"), key(shaky, "b/two.txt")) as (db, watch, told):
        assert told.of(Started)[0].failures[0].again_in > 0
        until(lambda: not watch.failing, "it heals by itself")
        assert db.get(shaky, "top.txt") == "top.txt at first"
        assert TROUBLE["top.txt"] == 0
        assert not told.of(Trouble)


def test_what_fails_for_ever_is_given_up_and_heals_at_the_next_change(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([0.01] * 3)
    monkeypatch.setattr(update_scheduler.Retry, "next_wait", lambda self: next(waits, None))
    TROUBLE["top.txt"] = 1_000_000
    with watching(root, key(shaky, "top.txt")) as (db, watch, told):
        trouble = until(lambda: told.of(Trouble), "it is given up")
        assert trouble[0].gave_up
        assert "shaky" in trouble[0].place
        TROUBLE.clear()
        save(root / "top.txt", "the next change")
        until(lambda: not watch.failing)
        assert db.get(shaky, "top.txt") == "the next change"


@pytest.mark.parametrize("place", ["edited", "_different", "_saved_at", "_stop_echoes", "_reader_of"])
def test_a_store_that_is_given_up_while_a_batch_is_worked_on_fails_no_batch(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The lists of all nodes are built anew by the other thread: numbers of nodes mean nothing any more."""
    struck: list[str] = []
    failed: list[Exception] = []
    one: Any = DeltaProcessor if place == "edited" else Inputs
    original = getattr(one, place)
    with watching(root, key(size_of, "top.txt"), store=tmp_path / "store", deltas=True) as (db, _, _):

        def begins_anew(self: Any, *args: Any) -> Any:
            if not struck:
                struck.append(place)
                start_over(db._core, StoreDamaged(reason="it was removed"), db._core.started_over)
            try:
                return original(self, *args)
            except Exception as error:
                failed.append(error)
                raise

        monkeypatch.setattr(one, place, begins_anew)
        monkeypatch.setattr(Echo, "of", lambda self, places: dict.fromkeys(places, 0.0))
        monkeypatch.setattr(Echo, "is_new", lambda self, path: True)
        for number in range(20):  # a look that was cancelled finds nothing different when it is made again
            save(root / "top.txt", f"longer than it was {number}")
            deadline = time.monotonic() + 3
            while not struck and time.monotonic() < deadline:
                time.sleep(0.01)
            if struck:
                break
        assert struck
        until_equal(db, root)
        assert not failed


def test_a_retry_that_is_due_during_a_crawl_is_not_forgotten(root: Path) -> None:
    TROUBLE["top.txt"] = 4
    with watching(root, key(shaky, "top.txt")) as (_, watch, _):
        for _ in range(1_000):
            if not watch.failing:
                break
            watch.sync(crawl=True)
            time.sleep(0.005)
        assert not watch.failing


def test_a_bug_in_one_part_is_told_and_the_watch_goes_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(root) as (db, watch, told):
        right = watch.files.nodes_of
        bugs = iter([ValueError("a bug of ours")])

        def nodes_of(paths: Any) -> Any:
            for bug in bugs:
                raise bug
            return right(paths)

        monkeypatch.setattr(watch.files, "nodes_of", nodes_of)
        save(root / "top.txt", "in spite of it")
        until_equal(db, root)  # a request looks at the file itself, perhaps before the watch is told
        until(lambda: any("a bug of ours" in event.cause for event in told.of(Trouble)))
        save(root / "top.txt", "and afterwards")
        db.sync()
        assert answers(db) == truth(root)
