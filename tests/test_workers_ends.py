"""A worker that is lost costs its own key, and none outlives its engine."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from engine.errors import Closed, TimedOut, WorkerLost
from engine.parallel import exchange
from engine.parallel.processes import PROGRAM, Processes
from tests.patience import PATIENCE, until
from tests.striking import strike
from tests.workers import SQUARES, Rules, children, is_alive, let_hang, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]
HERE = os.getpid()
ROOT = Path(__file__).resolve().parent.parent


DEADLY = """
@query(workers="process")
def risky(n: int) -> int:
    note(n)
    if n == 5:
        {deed}
    return n

@query
def all_risky() -> tuple[int, ...]:
    return each(risky, range(4, 7))

@query
def survey() -> tuple[str, ...]:
    found = []
    try:
        each(risky, range(16))
    except Exception:  # of whichever fails: each is asked for below
        pass
    for n in range(16):
        try:
            found.append(str(risky(n)))
        except Exception as error:
            found.append(type(error).__name__)
    return tuple(found)
"""


def survey(db: Engine, rules: Rules) -> list[str]:
    return list(db.get(rules.survey))


def test_a_key_that_kills_its_worker_fails_and_no_other(make: Make) -> None:
    rules = make(DEADLY.format(deed="os.kill(os.getpid(), signal.SIGKILL)"))
    with Engine(None, processes=2) as db:
        wanted = [str(n) if n != 5 else "WorkerLost" for n in range(16)]
        assert survey(db, rules) == wanted
        counts, pids = rules.noted()
        assert counts["5"] == 2  # once more, alone
        assert HERE not in pids
        with pytest.raises(WorkerLost, match="killed by SIGKILL"):
            db.get(rules.all_risky)


def test_a_worker_that_was_killed_costs_one_retry(make: Make, tmp_path: Path) -> None:
    deed = 'if not LOG.with_name("once").exists(): LOG.with_name("once").touch(); os._exit(9)'
    rules = make(DEADLY.format(deed=deed))
    with Engine(None, processes=2) as db:
        assert survey(db, rules) == [str(n) for n in range(16)]
        assert rules.noted()[0]["5"] == 2


def test_a_key_that_hangs_is_ended_after_its_timeout(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    text = DEADLY.format(deed="time.sleep(3600)").replace('"process"', '"process", timeout=600')
    rules = make(text)
    let_hang(monkeypatch, rules, "risky(5)", "5")
    with Engine(None, processes=2) as db:
        assert survey(db, rules) == [str(n) if n != 5 else "TimedOut" for n in range(16)]
        assert rules.noted()[0]["5"] == 1
        with pytest.raises(TimedOut, match="raise its timeout="):
            db.get(rules.all_risky)


def test_a_worker_that_stops_amid_a_message_is_ended_after_the_timeout(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = (
        "from engine.parallel import serve; whole = serve.framed; "
        "serve.framed = lambda message: whole(message)[: 5 if len(message) > 8 else None]; main()"
    )
    monkeypatch.setattr("engine.parallel.processes.PROGRAM", PROGRAM.replace("main()", half))
    rules = make(DEADLY.format(deed="pass").replace('"process"', '"process", timeout=0.5'))
    with Engine(None, processes=2) as db, pytest.raises(TimedOut):
        db.get(rules.all_risky)
    assert not children()


def test_a_key_that_fills_the_memory_fails_and_no_other(make: Make) -> None:
    deed = """
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        bytearray(4 << 30)
"""
    rules = make(DEADLY.format(deed=deed.strip()))
    with Engine(None, processes=2) as db:
        assert survey(db, rules) == [str(n) if n != 5 else "WorkerLost" for n in range(16)]
        assert HERE not in rules.noted()[1]


def test_where_no_worker_starts_everything_is_computed_here(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = make(SQUARES)
    monkeypatch.setattr("engine.parallel.processes.PROGRAM", "import sys; sys.exit(4); {path!r}")
    with Engine(None, processes=2) as db:
        assert db.get(rules.squares) == sum(n * n for n in range(40))
        assert "it ended with exit code 4" in " ".join(db.notes())
    assert not children()


def test_where_nobody_knows_the_interpreter_everything_is_computed_here(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a program that Python is a part of: who asked was told a TypeError."""
    rules = make(SQUARES)
    monkeypatch.setattr(sys, "executable", None)
    with Engine(None, processes=2) as db:
        assert db.get(rules.squares) == sum(n * n for n in range(40))
        assert "no process can be started" in " ".join(db.notes())


# -- ending --------------------------------------------------------------------------------------

SLOW = """
@input
def seed() -> int:
    return 0

@query(workers="process")
def slow(n: int) -> int:
    note("slow")
    base = seed()
    time.sleep(0.05 if base else 30 if n == 7 else 0.01)
    return n + base

@query
def all_slow() -> int:
    return sum(each(slow, range(8)))
"""


def test_a_change_cancels_what_workers_do(make: Make) -> None:
    rules = make(SLOW)
    with Engine(None, processes=2) as db:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(db.get(rules.all_slow)))
        thread.start()
        until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= 8)
        db.set(rules.seed.key(), 1)
        thread.join(PATIENCE)
        assert found == [36]
        db.check_invariants()


@pytest.mark.parametrize("how", ["close", "stop"])
def test_an_engine_that_ends_meanwhile_leaves_no_process(make: Make, how: str) -> None:
    rules = make(SLOW)
    db = Engine(None, processes=2)
    found: list[BaseException] = []

    def ask() -> None:
        try:
            db.get(rules.all_slow)
        except BaseException as error:  # whatever ends it: the test looks at it
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= 8)
    getattr(db, how)()
    thread.join(PATIENCE)
    assert isinstance(found[0], Closed if how == "close" else KeyboardInterrupt)
    db.close()
    assert not children()


def test_an_engine_that_is_dropped_leaves_no_process(make: Make) -> None:
    rules = make(SQUARES)
    db = Engine(None, processes=2)
    db.get(rules.squares)
    assert children()
    del db
    gc.collect()
    until(lambda: not children())


SCRIPT = """
import sys
sys.path[:0] = {path!r}
import {name} as rules
from engine import Engine
with Engine(None, processes=2) as db:
    db.get(rules.all_slow)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_process_that_started_them(
    make: Make, tmp_path: Path, number: signal.Signals
) -> None:
    rules = make(SLOW)
    program = SCRIPT.format(name=rules.name, path=[str(tmp_path), *sys.path])
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= 8)
    _, pids = rules.noted()
    assert pids
    assert process.pid not in pids
    process.send_signal(number)
    process.wait(PATIENCE)
    until(lambda: not any(map(is_alive, pids)))


def test_ctrl_c_ends_a_command_and_its_workers(make: Make, tmp_path: Path) -> None:
    rules = make(SLOW)
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from engine.__main__ import main; main()"
    command = [sys.executable, "-c", start, "run", f"{rules.file}:all_slow", "--processes", "2"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )
    until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= 8)
    _, pids = rules.noted()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert process.pid not in pids
    until(lambda: not any(map(is_alive, pids)))


def test_a_worker_whose_parent_ends_while_it_starts_says_nothing() -> None:
    program = PROGRAM.format(path=[str(ROOT), *sys.path])
    command = [sys.executable, "-c", program]
    worker = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    worker.stdout.close()  # what a parent that is killed leaves behind, but for the order
    _, said = worker.communicate(timeout=PATIENCE)
    assert (worker.returncode, said) == (0, "")


def test_an_interrupt_before_anything_is_sent_leaves_nothing_to_send(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys waited on, by numbers that were those of other keys or of none after it: an IndexError."""
    rules = make(SQUARES)
    with Engine(tmp_path / "store", processes=2) as db:
        strike(monkeypatch, exchange, "surroundings")
        with pytest.raises(KeyboardInterrupt):
            db.get(rules.squares)
        assert db.get(rules.squares) == sum(n * n for n in range(40))
        assert rules.noted()[0] == {str(n): 1 for n in range(40)}


def test_an_interrupt_while_a_worker_starts_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was not noted yet waited for ever: `subprocess` keeps the pipes of what it drops."""
    before = children()

    def interrupted(*_: object) -> None:
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("engine.parallel.processes._widen", interrupted)
    processes = Processes(1)
    processes.open(b"")
    with pytest.raises(KeyboardInterrupt):
        processes.slots(1)
    processes.close()
    until(lambda: children() == before, "the end of the worker")


def test_what_keeps_a_worker_from_starting_is_raised_whatever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        tried.append(0)
        if len(tried) > 3:
            processes.close()  # it would go on for ever
        raise MemoryError

    tried: list[int] = []
    monkeypatch.setattr("subprocess.Popen", fails)
    processes = Processes(1)
    with pytest.raises(MemoryError):
        processes.slots(1)
    assert len(tried) == 1
    processes.close()
