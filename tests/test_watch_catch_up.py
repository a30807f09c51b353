"""Who waits for a batch is let go when all of it is in place, with what came up just then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.scripted import ByHand
from tests.watch_queries import root
from tests.watch_world import save, text, watching

__all__ = ["root"]  # a fixture


@pytest.mark.parametrize("what", ["look", "crawl"])
def test_what_is_asked_for_while_a_batch_is_worked_on_is_in_it_where_somebody_waits(
    root: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watching(root, backend=ByHand()) as (db, watch, _):
        scheduler, uncovered = watch._pipeline.scheduler, watch.files.uncovered
        nodes = list(db._core.observed)

        def meanwhile() -> list[int]:
            monkeypatch.setattr(watch.files, "uncovered", uncovered)
            if what == "look":
                scheduler.look(nodes)
            else:
                scheduler.crawl("something may have been lost")
            return uncovered()

        save(root / "top.txt", "nobody tells")
        monkeypatch.setattr(watch.files, "uncovered", meanwhile)
        ticket = scheduler.flush()
        assert ticket.wait(PATIENCE)
        assert ticket.differing == 1
        assert db.get(text, "top.txt") == "nobody tells"


def test_a_sync_says_how_many_inputs_differed(root: Path) -> None:
    with watching(root, backend=ByHand()) as (_, watch, _):
        assert watch.sync(crawl=True) == 0
        save(root / "top.txt", "nobody tells")
        save(root / "a" / "one.txt", "nor of this")
        assert watch.sync(crawl=True) == 2


def test_what_was_read_and_is_not_covered_yet_is_looked_at_where_somebody_waits(root: Path) -> None:
    with watching(root, backend=ByHand()) as (db, watch, _):
        assert db.get(text, "ignored/x.txt") == "ignored/x.txt at first"
        save(root / "ignored" / "x.txt", "nobody tells")
        ticket = watch._pipeline.scheduler.flush()
        assert ticket.wait(PATIENCE)
        assert db.get(text, "ignored/x.txt") == "nobody tells"


def test_a_batch_that_fails_lets_who_waits_know(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watching(root, backend=ByHand()) as (_, watch, _):
        nodes_of = watch.files.nodes_of

        def failing(paths: Any) -> list[int]:
            monkeypatch.setattr(watch.files, "nodes_of", nodes_of)
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(watch.files, "nodes_of", failing)
        with pytest.raises(ZeroDivisionError):
            watch.sync(crawl=True)
        assert watch.sync(crawl=True) == 0
