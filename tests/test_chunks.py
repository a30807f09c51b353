"""A long build is committed in parts: when enough waits, or when something waits for long."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Engine, query
from engine.errors import StoreFull
from engine.persist import CHUNK_NS, chunk


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
        core.waiting_since = core.ran_at = 0
        with monkeypatch.context() as full:
            full.setattr(core.store, "write", write)
            db.get(total, 1_000)
        assert len(tried) <= 2 + now // CHUNK_NS
        assert now > 2 * CHUNK_NS
    with Engine(tmp_path / "store") as db:
        before = db.counts()
        db.get(total, 1_000)
        assert (db.counts() - before).executed == 0


def test_where_nothing_waits_nothing_is_committed_and_what_passes_stays(tmp_path: Path) -> None:
    """As while a worker is at one key for long: nothing is made here meanwhile."""
    with Engine(tmp_path / "store") as db:
        db.get(passing, 1)
        core = db._core
        before = db.counts()
        core.ran_at = core.waiting_since + CHUNK_NS + 1
        with core.lock:
            chunk(core)
            chunk(core)
        assert db.get(passing, 1) == 1
        assert (db.counts() - before).executed == 0
