"""A long build is committed in parts: when enough waits, or when something waits for long."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from engine import Engine, Query, each, query
from engine.errors import StoreFull
from engine.persist import CHUNK_NS, chunk
from engine.store import Batch


@query
def one(n: int) -> int:
    return n


@query
def total(count: int) -> int:
    return sum(one(n) for n in range(count))


@query(persist=False)
def passing(n: int) -> int:
    return n


def test_a_full_disk_is_tried_again_after_a_while_not_after_every_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0
    tried: list[int] = []

    def clock() -> int:
        nonlocal now
        now += 5_000_000
        return now

    def write(_: object) -> None:
        tried.append(now)
        raise StoreFull(store=tmp_path, cause="full")

    with Engine(tmp_path / "store") as db:
        core = db._core
        monkeypatch.setattr(core, "clock", clock)
        core.unsaved.since = core.ran_at = 0
        with monkeypatch.context() as full:
            full.setattr(core.store, "write", write)
            db.get(total, 1_000)
        assert len(tried) <= 2 + now // CHUNK_NS
        assert now > 2 * CHUNK_NS
    with Engine(tmp_path / "store") as db:
        before = db.counts()
        db.get(total, 1_000)
        assert (db.counts() - before).executed == 0


@query(batch=10)
def many(numbers: list[int]) -> list[int]:
    return numbers


@query
def total_of_calls(count: int) -> int:
    return sum(each(many, range(count)))


@pytest.mark.parametrize("long", [total, total_of_calls])
def test_what_a_long_request_computes_is_committed_two_seconds_later_at_most(
    long: Query[[int], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0
    committed: list[int] = []

    def clock() -> int:
        nonlocal now
        now += CHUNK_NS // 10
        return now

    with Engine(tmp_path / "store") as db:
        core = db._core
        assert core.store is not None
        write = core.store.write
        monkeypatch.setattr(core, "clock", clock)

        def noted(batch: Batch) -> None:
            committed.append(now)
            write(batch)

        monkeypatch.setattr(core.store, "write", noted)
        core.unsaved.since = core.ran_at = 0
        db.get(long, 1_000)
    gaps = [after - before for before, after in pairwise([0, *committed])]
    assert len(gaps) > 10
    assert max(gaps) <= CHUNK_NS + 4 * CHUNK_NS // 10  # and what ran meanwhile


def test_where_nothing_waits_nothing_is_committed_and_what_passes_stays(tmp_path: Path) -> None:
    """As while a worker is at one key for long: nothing is made here meanwhile."""
    with Engine(tmp_path / "store") as db:
        db.get(passing, 1)
        core = db._core
        before = db.counts()
        core.ran_at = core.unsaved.since + CHUNK_NS + 1
        with core.lock:
            chunk(core)
            chunk(core)
        assert db.get(passing, 1) == 1
        assert (db.counts() - before).executed == 0
