"""Workers do not wait for the process that they work for."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from engine import Engine, query
from engine.core import Core
from engine.parallel import choose, dispatch
from engine.parallel.exchange import Exchange
from engine.parallel.order import Order
from engine.parallel.slot import Slot
from engine.persist import commit
from tests.patience import PATIENCE, until
from tests.workers import Rules, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]

LARGE = """
@query(workers="process")
def large(n: int) -> bytes:
    note(f"large {n}")
    return bytes(300_000)

@query
def total(first: int) -> int:
    return sum(map(len, each(large, range(first, first + 20))))
"""
MANY = """
@query(workers="process")
def one(n: int) -> int:
    return n * n

@query
def total() -> int:
    return sum(each(one, range(300)))
"""


def _slots(core: Core) -> list[Slot]:
    """The workers there are."""
    assert core.dispatch is not None
    return list(core.dispatch.exchange._slots.values())


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit in a batch."""
    monkeypatch.setattr("engine.parallel.pending.BATCH_SECONDS", 0.0)


def test_a_worker_goes_on_while_this_process_commits(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = make(LARGE)
    ran: list[int] = []
    is_wide = hasattr(fcntl, "F_SETPIPE_SZ")  # where it is not, an answer fills a pipe

    def lasting(core: Core, **_: bool) -> None:
        """A commit, when the first answer is here, that takes until two units that were sent have run."""
        if core.tally.executed and not ran:
            end, noted = time.monotonic() + (60 if is_wide else 1), 0
            while noted < 3 and time.monotonic() < end:
                noted = len(rules.log.read_text().splitlines())
            ran.append(noted)

    monkeypatch.setattr("engine.parallel.exchange.is_due", lambda core, rows: core.tally.executed and not ran)
    monkeypatch.setattr("engine.parallel.exchange.commit", lasting)
    with Engine(None, processes=1) as db:
        assert db.get(rules.total, 0) == 20 * 300_000
    assert ran[0] >= 3 if is_wide else ran == [2]


def test_what_workers_made_is_committed_in_small_parts(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.parallel.exchange.COMMIT_ROWS", 50)
    rules = make(MANY)
    with Engine(tmp_path / "store", processes=2) as db:
        db.get(rules.total)
        assert 6 <= db.counts().commits <= 8
        db.check_invariants()


def test_a_worker_has_more_to_go_on_with_while_this_process_commits(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.parallel.exchange.COMMIT_ROWS", 50)
    rules = make(MANY)
    under_way: list[int] = []

    def noted(core: Core, *, goes_on: bool) -> None:
        under_way.extend(len(slot.flight) for slot in _slots(core))
        commit(core, goes_on=goes_on)

    monkeypatch.setattr("engine.parallel.exchange.commit", noted)
    with Engine(tmp_path / "store", processes=1) as db:
        assert db.get(rules.total) == sum(n * n for n in range(300))
        db.check_invariants()
    assert under_way == [8, 8, 8, 8, 8]  # else two: what is under way may be computed twice


def test_workers_begin_before_all_members_are_looked_at(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.parallel.dispatch.PIECE", 50)
    monkeypatch.setattr("engine.parallel.exchange.FEW", 20)
    rules = make(MANY)
    looked_at: list[int] = []
    sent: list[int] = []  # how many were looked at when each unit went out
    next_of, send = choose.next_of, Exchange._send

    def looking(core: Core, node: int) -> int:
        looked_at.append(node)
        return next_of(core, node)

    def sending(self: Exchange, *given: Any) -> bool:
        sent.append(len(set(looked_at)))
        return send(self, *given)

    monkeypatch.setattr(dispatch, "next_of", looking)
    monkeypatch.setattr(Exchange, "_send", sending)
    with Engine(None, processes=1) as db:
        assert db.get(rules.total) == sum(n * n for n in range(300))
        assert db.counts().executed == 301
    assert sent[:20] == [50] * 20
    assert sent[-1] == 300
    assert sorted(set(sent)) == [50, 100, 150, 200, 250, 300]


def test_a_worker_forgets_what_it_knows_after_half_of_what_memory_may_hold(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = make(LARGE)
    anew: list[int] = []
    renew = Slot.renew

    def counted(slot: Slot, generation: int) -> None:
        anew.append(slot.epoch)
        renew(slot, generation)

    monkeypatch.setattr(Slot, "renew", counted)
    # Half of it is less than 10 and 2 values; some more are under way, up to 8 while a commit is due.
    for max_memory, epochs in ((None, [1]), (6_000_000, [2]), (1, range(3, 11))):
        with Engine(tmp_path / f"{max_memory}", processes=1, max_memory=max_memory) as db:
            assert db.get(rules.total, 0) == 20 * 300_000
        assert len(anew) in epochs
        anew.clear()


@pytest.mark.parametrize("is_large", [True, False])
def test_a_worker_that_holds_much_is_ended_with_the_request(
    make: Make, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    rules = make(LARGE)
    if is_large:
        monkeypatch.setattr("engine.parallel.exchange.KEPT", 5_000_000)
    with Engine(None, processes=1) as db:
        for first in (0, 20):
            assert db.get(rules.total, first) == 20 * 300_000
            assert len(_slots(db._core)) == (0 if is_large else 1)
    assert len(rules.noted()[1]) == (2 if is_large else 1)  # processes


def test_a_worker_that_began_anew_amid_a_request_is_ended_for_what_it_held_before(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it held last is little: its process is as large as it ever was."""
    rules = make(LARGE)
    monkeypatch.setattr("engine.parallel.exchange.KEPT", 3_000_000)
    with Engine(tmp_path, processes=1, max_memory=6_000_000) as db:  # it begins anew after half of that
        assert db.get(rules.total, 0) == 20 * 300_000
        assert _slots(db._core) == []


def test_a_worker_that_holds_much_is_not_ended_by_the_request_of_another_thread(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = make(LARGE)
    monkeypatch.setattr("engine.parallel.exchange.KEPT", 5_000_000)
    begun, asked = threading.Event(), threading.Event()

    @query(name="flow:twice")
    def twice() -> int:
        found = cast(int, rules.total(0))
        begun.set()
        asked.wait(600)
        return found + cast(int, rules.total(20))

    @query(name="flow:other")
    def other() -> int:
        return 1

    with Engine(None, processes=1) as db:
        thread = threading.Thread(target=db.get, args=(twice,))
        thread.start()
        begun.wait(600)
        assert db.get(other) == 1
        asked.set()
        thread.join()
        assert db.get(twice) == 2 * 20 * 300_000
        assert _slots(db._core) == []
    assert len(rules.noted()[1]) == 1  # process


def test_keys_that_no_pipe_holds_arrive_bit_by_bit(make: Make) -> None:
    rules = make("""
@query(workers="process")
def size(data: bytes) -> int:
    note(len(data))
    return len(data)

@query
def sizes() -> int:
    return sum(each(size, [bytes(3_000_000 + n) for n in range(4)]))
""")
    with Engine(None, processes=2) as db:
        assert db.get(rules.sizes) == 4 * 3_000_000 + 6
        counts, pids = rules.noted()
        assert counts == {str(3_000_000 + n): 1 for n in range(4)}
        assert os.getpid() not in pids


def test_members_that_wait_for_the_same_keys_go_out_together(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one round: as soon as what all of them wait for is there."""
    rules = make("""
@input
def cell() -> int:
    return 1

@query(workers="process")
def first() -> int:
    return cell()

@query(workers="process")
def second() -> int:
    return first() + cell()

@query(workers="process")
def member(n: int) -> int:
    return second() + n

@query
def members() -> int:
    return sum(each(member, range(6)))
""")
    rounds: list[Order] = []
    run = Exchange.run

    def counted(whole: Exchange, units: Iterable[int], order: Order) -> None:
        rounds.append(order)
        run(whole, units, order)

    monkeypatch.setattr(Exchange, "run", counted)
    with Engine(None, processes=2) as db:
        db.get(rules.members)
        rounds.clear()
        db.set(rules.cell.key(), 2)
        assert db.get(rules.members) == 6 * 4 + 15
        assert len(rounds) == 1


def test_who_finds_the_workers_taken_computes_here(make: Make, tmp_path: Path) -> None:
    """Another thread began to send while this one tried what a key costs."""
    rules = make("""
@query(workers="process")
def slow(n: int) -> int:
    note("slow")
    while not LOG.with_name("go").exists():
        time.sleep(0.01)
    return n

@query
def all_slow() -> int:
    return sum(each(slow, range(2)))

@query
def one(n: int) -> int:
    note(n)
    while "slow" not in LOG.read_text():
        time.sleep(0.01)
    time.sleep(0.1)  # it costs enough to be sent
    return n

@query
def ones() -> int:
    return sum(each(one, range(12)))
""")
    with Engine(None, processes=2) as db:
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.append(db.get(rules.ones))),
            threading.Thread(target=lambda: found.append(db.get(rules.all_slow))),
        ]
        threads[0].start()
        until(rules.log.exists)
        threads[1].start()
        threads[0].join(PATIENCE)
        assert found == [66]
        (tmp_path / "go").touch()
        threads[1].join(PATIENCE)
        assert found == [66, 1]
        assert rules.noted()[0] == {"slow": 2, **{str(n): 1 for n in range(12)}}
