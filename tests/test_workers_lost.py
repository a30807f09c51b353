"""A worker that ended unnoticed, was overtaken, or had a late listener costs no key of others anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import Engine
from engine.errors import WorkerLost
from engine.parallel import processes as module
from engine.parallel.exchange import Exchange
from engine.parallel.executor import CannotStart
from engine.parallel.order import Order
from engine.parallel.processes import Processes
from engine.parallel.units import Setup, encode
from tests.patience import PATIENCE, until
from tests.striking import strike
from tests.workers import SQUARES, Rules, children, is_alive, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]


def test_workers_that_were_killed_while_they_were_idle_cost_no_key_anything(make: Make) -> None:
    """Two units of which each met two dead workers, one after the other, were lost twice."""
    rules = make(SQUARES + "@query\ndef first_two() -> int:\n    return sum(each(square, range(40, 42)))\n")
    with Engine(None, processes=4) as db:
        db.get(rules.squares)
        pids = children()
        assert len(pids) == 4
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not children())
        assert db.get(rules.first_two) == 40**2 + 41**2
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]  # not as zombies either


def test_a_worker_that_ended_is_noticed_though_what_it_forked_holds_its_output_open(make: Make) -> None:
    rules = make("""
import warnings

@query(workers="process")
def forks(n: int) -> int:
    if n == 3:
        warnings.simplefilter("ignore")  # that this process has threads
        if os.fork() == 0:
            time.sleep(3600)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    return n

@query
def all_fork() -> int:
    return sum(each(forks, range(6)))
""")
    with Engine(None, processes=2) as db, pytest.raises(WorkerLost, match="killed by SIGKILL"):
        db.get(rules.all_fork)


def test_what_a_killed_worker_had_ahead_goes_to_others(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.parallel.pending.BATCH_SECONDS", 0.0)  # one unit in a batch
    rules = make("""
@query(workers="process")
def risky(n: int) -> int:
    note(n)
    if n == 10 and not LOG.with_name("once").exists():
        LOG.with_name("once").touch()
        time.sleep(0.1)  # until it has another batch
        os._exit(9)
    return n

@query
def all_risky() -> int:
    return sum(each(risky, range(60)))
""")
    with Engine(None, processes=2) as db:
        assert db.get(rules.all_risky) == sum(range(60))
        counts, pids = rules.noted()
        assert counts == {str(n): 2 if n == 10 else 1 for n in range(60)}
        assert os.getpid() not in pids


STARTS = """
@query(workers="process")
def starts(n: int) -> int:
    import subprocess
    started = subprocess.Popen(["sleep", "3600"])
    note(f"started {started.pid}")
    time.sleep(WAITS)
    return n

@query
def all_start() -> int:
    return sum(each(starts, range(2)))
"""
SCRIPT = """
import sys
sys.path[:0] = {path!r}
import {name} as rules
from engine import Engine
with Engine(None, processes=2) as db:
    db.get(rules.all_start)
"""


def started(rules: Rules) -> list[int]:
    lines = rules.log.read_text().splitlines() if rules.log.exists() else []
    return [int(line.split()[1]) for line in lines]


def test_what_a_query_started_in_a_worker_ends_with_it(make: Make) -> None:
    rules = make("WAITS = 0\n" + STARTS)
    with Engine(None, processes=2) as db:
        assert db.get(rules.all_start) == 1
        assert len(started(rules)) == 2
        assert all(map(is_alive, started(rules)))
    until(lambda: not any(map(is_alive, started(rules))))


def test_what_a_query_started_in_a_worker_ends_with_the_process_that_started_that(
    make: Make, tmp_path: Path
) -> None:
    rules = make("WAITS = 3600\n" + STARTS)
    program = SCRIPT.format(name=rules.name, path=[str(tmp_path), *sys.path])
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    until(lambda: len(started(rules)) == 2)
    process.kill()
    process.wait(PATIENCE)
    until(lambda: not any(map(is_alive, started(rules))))


FORKS = """
import os, sys, time, warnings
sys.path[:0] = {path!r}
import {name} as rules
from engine import Engine
db = Engine(None, processes=2)
db.get(rules.squares)
warnings.simplefilter("ignore")  # that this process has threads
if os.fork() == 0:
    rules.note("child")
time.sleep(3600)
"""


def test_workers_end_though_a_process_that_was_forked_meanwhile_holds_their_input_open(
    make: Make, tmp_path: Path
) -> None:
    rules = make(SQUARES)
    program = FORKS.format(name=rules.name, path=[str(tmp_path), *sys.path])
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    until(lambda: rules.log.exists() and "child" in rules.log.read_text())
    child = next(
        int(line.split()[1]) for line in rules.log.read_text().splitlines() if line.startswith("child")
    )
    workers = rules.noted()[1] - {child, process.pid}
    assert len(workers) == 2
    process.kill()
    process.wait(PATIENCE)
    try:
        until(lambda: not any(map(is_alive, workers)))
    finally:
        os.kill(child, signal.SIGKILL)


def test_an_interrupt_while_a_worker_is_ended_leaves_it_to_who_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    processes = Processes(2)
    processes.open(b"")
    first, _ = processes.slots(2)
    strike(monkeypatch, module, "_end")
    with pytest.raises(KeyboardInterrupt):
        processes.drop(first)
    strike(monkeypatch, os, "killpg")
    with pytest.raises(KeyboardInterrupt):
        processes.close()
    assert len(children()) == 2
    processes.close()
    assert not children()


@pytest.mark.parametrize("asked", ["for slots", "for what it says"])
def test_the_number_of_a_worker_that_ended_stays_its_own(asked: str) -> None:
    """Until it is dropped: the group of that number is ended then, and could be that of another process."""
    processes = Processes(1)
    processes.open(encode(Setup(b"/", 100, ())))
    try:
        (slot,) = processes.slots(1)
        until(lambda: not processes.wait([slot], 0.1) and processes._served)
        child = processes._children[slot].process
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        if asked == "for slots":
            assert slot not in processes.slots(1)
        else:
            assert processes.wait([slot], 0.1) == [(slot, None)]
        assert child.returncode is None
        assert processes.drop(slot) == "it was killed by SIGKILL"
        assert child.returncode == -signal.SIGKILL
    finally:
        processes.close()


def test_a_worker_that_is_killed_while_it_starts_is_lost_like_any_other_where_others_did_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From then on everything was computed in one process, whatever memory there was."""

    def started() -> list[tuple[int, bytes | None]]:
        (slot,) = processes.slots(1)
        while not (said := processes.wait([slot], 0.1)):
            pass
        processes.drop(slot)
        return said

    killed = "import os; os.kill(os.getpid(), 9); {path!r}"
    processes = Processes(1)
    processes.open(encode(Setup(b"/", 100, ())))
    try:
        with monkeypatch.context() as patch:
            patch.setattr("engine.parallel.processes.PROGRAM", killed)
            with pytest.raises(CannotStart, match="killed by SIGKILL"):
                started()
        (slot,) = processes.slots(1)
        while not processes._served:
            assert processes.wait([slot], 0.1) == []
        processes.drop(slot)
        with monkeypatch.context() as patch:
            patch.setattr("engine.parallel.processes.PROGRAM", killed)
            assert started() == [(3, None)]
            patch.setattr("engine.parallel.processes.PROGRAM", "import sys; sys.exit(4); {path!r}")
            with pytest.raises(CannotStart, match="exit code 4"):
                started()
    finally:
        processes.close()


OVERTAKEN = """
@input
def cell() -> int:
    return 1

@query(workers="process")
def one(n: int) -> int:
    base = cell()
    note(base)
    while base == 2 and len({line for line in LOG.read_text().splitlines() if line[0] == "2"}) < 2:
        time.sleep(0.01)  # until the other worker has one as well
    return n * base

@query
def all_of_them() -> int:
    return sum(each(one, range(30)))
"""


def test_a_worker_that_answered_when_the_revision_moved_on_is_free_for_the_next(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer was read and thrown away, so it seemed to be at work for another second, and was ended."""
    monkeypatch.setattr("engine.parallel.pending.BATCH_SECONDS", 0.0)  # one unit in a batch
    rules = make(OVERTAKEN)
    with Engine(None, processes=2) as db:
        db.get(rules.all_of_them)
        before = set(children())
        db.set(rules.cell.key(), 3)
        wait = Exchange._wait

        def overtaken(whole: Exchange) -> None:
            assert not whole._heard  # before more is waited for
            wait(whole)
            if len(whole._heard) > 0 and db.get(rules.cell) == 3:
                db.set(rules.cell.key(), 2)

        monkeypatch.setattr(Exchange, "_wait", overtaken)
        assert db.get(rules.all_of_them) == 2 * sum(range(30))
        assert set(children()) == before
        db.check_invariants()


TIMED = """
@input
def cell() -> int:
    return 1

@query
def lower() -> int:
    return cell()

@query(workers="inline")
def below() -> int:
    if cell() > 1:
        note("below")
    return lower()

@query(workers="inline")
def known() -> int:
    time.sleep(0.01)
    return below()

@query(workers="process", timeout=600)
def timed(n: int) -> int:
    return known() + n

@query
def all_timed() -> int:
    return sum(each(timed, range(4)))
"""


def test_a_key_is_not_late_by_what_this_process_does_after_it_listened(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a worker had said since was not looked at before it was ended for having said nothing."""
    rules, now = make(TIMED), [1.0]
    end_late_ones = Exchange._end_late_ones

    def much_later(whole: Exchange, order: Order) -> None:
        now[0] = 3600.0
        end_late_ones(whole, order)
        now[0] = 1.0

    monkeypatch.setattr(Exchange, "_end_late_ones", much_later)
    monkeypatch.setattr("engine.parallel.exchange.time", SimpleNamespace(monotonic=lambda: now[0]))
    with Engine(None, processes=2) as db:
        assert db.get(rules.all_timed) == 4 + 6


def test_a_timeout_is_none_of_what_a_key_waits_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it asks for is brought up to date here, which takes an hour."""
    rules = make(TIMED)

    def now() -> float:
        return 3601.0 if rules.log.exists() and "below" in rules.log.read_text() else 1.0

    monkeypatch.setattr("engine.parallel.exchange.time", SimpleNamespace(monotonic=now))
    with Engine(None, processes=1) as db:
        db.get(rules.known)
        db.set(rules.cell.key(), 2)
        assert db.get(rules.all_timed) == 8 + 6
        assert rules.noted() == ({"below": 1}, {os.getpid()})
