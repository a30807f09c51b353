"""Workers do not wait for the process that they work for."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from engine.core import Core
from tests.workers import Rules, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]

LARGE = """
@query(workers="process")
def large(n: int) -> bytes:
    note(f"large {n}")
    return bytes(300_000)

@query
def total() -> int:
    return sum(map(len, each(large, range(20))))
"""
MANY = """
@query(workers="process")
def one(n: int) -> int:
    return n * n

@query
def total() -> int:
    return sum(each(one, range(300)))
"""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit in a batch."""
    monkeypatch.setattr("engine.parallel.pending.BATCH_SECONDS", 0.0)


def test_a_worker_goes_on_while_this_process_commits(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = make(LARGE)
    ran: list[int] = []
    is_wide = hasattr(fcntl, "F_SETPIPE_SZ")  # where it is not, an answer fills a pipe

    def lasting(core: Core, rows: int) -> None:
        """A commit, when the first answer is here and two units are sent, that takes until both have run."""
        if core.executed and not ran:
            end, noted = time.monotonic() + (60 if is_wide else 1), 0
            while noted < 3 and time.monotonic() < end:
                noted = len(rules.log.read_text().splitlines())
            ran.append(noted)

    monkeypatch.setattr("engine.parallel.exchange.chunk", lasting)
    with Engine(None, processes=1) as db:
        assert db.get(rules.total) == 20 * 300_000
    assert ran == [3 if is_wide else 2]


def test_what_workers_made_is_committed_in_small_parts(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.parallel.exchange.COMMIT_ROWS", 50)
    rules = make(MANY)
    with Engine(tmp_path / "store", processes=2) as db:
        db.get(rules.total)
        assert 6 <= db.counts().commits <= 8
        db.check_invariants()
