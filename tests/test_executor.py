"""The protocol of executors is all that the engine needs of whoever computes for it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from engine import Engine
from engine.errors import BadSettings
from engine.limits import Limits
from engine.parallel.executor import Executor
from engine.parallel.slot import Slot
from engine.parallel.units import Answer, Ask, decode_told, encode
from tests.executors import Threads
from tests.patience import PATIENCE, until
from tests.workers import Rules, graph_of, make

Make = Callable[[str], Rules]
__all__ = ["make"]

RULES = """
@query(workers="inline")
def slow(n: int) -> int:
    note(f"slow {n}")
    time.sleep(0.001)
    return n

@query(workers="process")
def square(n: int) -> int:
    note(n)
    return slow(n % 3) + n * n

@query
def squares() -> tuple[int, ...]:
    return slow(0), *each(square, range(60))
"""


def test_any_executor_that_carries_bytes_will_do(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.parallel.held.ASK_US", 0)  # what is known is asked for
    rules = make(RULES)
    with Engine(tmp_path / "here", root=tmp_path) as db:
        wanted = db.get(rules.squares)
        here = graph_of(db)
    rules.noted()
    executor: Executor = (threads := Threads())
    with Engine(tmp_path / "there", root=tmp_path, executor=executor) as db:
        assert db.get(rules.squares) == wanted
        assert graph_of(db) == here
        assert db.counts().executed == 64
    counts, _ = rules.noted()
    assert counts == {**{str(n): 1 for n in range(60)}, **{f"slow {n}": 1 for n in range(3)}}
    assert sum(isinstance(said, Answer) for said in threads.told) > 1
    assert sum(isinstance(said, Ask) for said in threads.told) == 1  # for what was computed here before


def test_an_answer_that_is_none_of_this_engine_is_dropped(make: Make, tmp_path: Path) -> None:
    """A record that rests on what was never sent is no memo: the key is computed here."""

    class Liars(Threads):
        def _tell(self, message: bytes) -> None:
            if message:
                answer = decode_told(message)
                message = encode(Answer(answer.records[-1:], answer.refused, answer.codes))
            self._outbox.put(message)

    rules = make(RULES.replace("slow(0), *each", "each"))
    with Engine(None, root=tmp_path, executor=Liars()) as db:
        assert db.get(rules.squares) == tuple(n % 3 + n * n for n in range(60))
        db.check_invariants()
    assert rules.noted()[0]["0"] == 2  # there, and here


def test_an_executor_is_opened_when_something_is_sent_and_closed_with_the_engine(
    make: Make, tmp_path: Path
) -> None:
    class Counted(Threads):
        opened = closed = 0

        def open(self, setup: bytes) -> None:
            self.opened += 1
            super().open(setup)

        def close(self) -> None:
            self.closed += 1
            super().close()

    rules, executor = make(RULES), Counted()
    with Engine(None, root=tmp_path, executor=executor) as db:
        assert db.get(rules.slow, 3) == 3
        assert (executor.opened, executor.closed) == (0, 0)
        for _ in range(2):
            db.forget("*")
            db.get(rules.squares)
        assert (executor.opened, executor.closed) == (1, 0)
    assert (executor.opened, executor.closed) == (1, 1)


@pytest.mark.parametrize("what", ["open", "slots", "send", "wait"])
def test_what_an_executor_raises_is_no_value_of_a_query(make: Make, tmp_path: Path, what: str) -> None:
    def fail(self: object, *_: object) -> None:
        raise RuntimeError("the network is down")

    rules, broken = make(RULES), type("Broken", (Threads,), {what: fail})
    with Engine(tmp_path / "store", root=tmp_path, executor=broken()) as db:
        assert db.get(rules.squares) == (0, *(n % 3 + n * n for n in range(60)))
        (note,) = db.notes()
        assert "everything runs in this one" in note
        assert "the network is down" in note
        db.check_invariants()


def test_what_no_worker_tells_is_no_value_of_a_query(make: Make, tmp_path: Path) -> None:
    class Garbled(Threads):
        def _tell(self, message: bytes) -> None:
            self._outbox.put(message[:-1] if message else message)

    rules = make(RULES)
    with Engine(tmp_path / "store", root=tmp_path, executor=Garbled()) as db:
        assert db.get(rules.squares) == (0, *(n % 3 + n * n for n in range(60)))
        (note,) = db.notes()
        assert "everything runs in this one: a worker tells what cannot be read" in note
        db.check_invariants()


def test_an_executor_that_cannot_end_holds_up_nothing(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(Threads):
        def wait(self, slots: Sequence[int], seconds: float) -> list[tuple[int, bytes | None]]:
            raise KeyboardInterrupt

        def drop(self, slot: int) -> str:
            raise RuntimeError("it does not end")

        def close(self) -> None:
            super().close()
            raise RuntimeError("it does not close")

    rules = make(RULES)
    db = Engine(tmp_path / "store", root=tmp_path, executor=Stubborn())
    with pytest.raises(KeyboardInterrupt), db:
        db.get(rules.squares)
    with Engine(tmp_path / "store", root=tmp_path) as db:  # the store was let go
        assert len(db.get(rules.squares)) == 61
    assert "it does not end" in caplog.text
    assert "it does not close" in caplog.text


def test_either_processes_or_an_executor_compute() -> None:
    with pytest.raises(BadSettings, match="One of them computes"):
        Engine(None, processes=2, executor=Threads())


NOTHING_SENT = """
import sys
import threading
from engine import Engine, each, query

@query
def one(n: int) -> int:
    return n

@query
def total() -> int:
    return sum(each(one, range(100)))

with Engine(None, processes=2) as db:
    db.get(total)
print(sorted(name for name in sys.modules if name.startswith("engine.parallel.")))
"""


def test_where_nothing_is_sent_nothing_that_sends_is_loaded() -> None:
    root = Path(__file__).resolve().parent.parent
    loaded = subprocess.check_output([sys.executable, "-c", NOTHING_SENT], text=True, cwd=root)
    assert "engine.parallel.dispatch" in loaded
    for name in ("exchange", "processes", "units"):
        assert f"engine.parallel.{name}" not in loaded


def test_a_query_that_runs_out_of_memory_does_not_end_a_process_that_is_no_worker(
    make: Make, tmp_path: Path
) -> None:
    """A thread of the host is the worker here: the host was ended, without a word."""
    rules = make("""
@query(workers="process")
def large(n: int) -> int:
    return len(bytearray(1 << 62)) if n == 1 else n

@query
def all_large() -> int:
    return sum(each(large, range(3)))
""")
    with Engine(None, root=tmp_path, executor=Threads()) as db:
        with pytest.raises(MemoryError):
            db.get(rules.all_large)
        assert db.get(rules.large, 2) == 2


@pytest.mark.parametrize("why", ["it is broken", "it does not fit", "it is large"])
def test_after_such_an_answer_a_worker_begins_anew(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    class Odd(Threads):
        def _tell(self, message: bytes) -> None:
            answer = decode_told(message) if message else None
            if isinstance(answer, Answer) and not self.told:
                if why == "it is broken":
                    answer = replace(answer, broken="an input changed while it was read")
                elif why == "it does not fit":
                    answer = replace(answer, records=answer.records[-1:])
                message = encode(answer)
            super()._tell(message)

    if why == "it is large":
        monkeypatch.setattr("engine.parallel.exchange.RECEIVED", 0)
    rules, executor = make(RULES.replace("slow(0), *each", "each")), Odd()
    with Engine(None, root=tmp_path, executor=executor) as db:
        assert db.get(rules.squares) == tuple(n % 3 + n * n for n in range(60))
        epochs = [said.epoch for said in executor.told]
        assert len(set(epochs)) > 1
        assert epochs == sorted(epochs)
        db.check_invariants()


def test_what_a_worker_tells_that_was_dropped_and_goes_on_is_not_believed(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer was taken for that of the next batch, with the file as it was before the last `sync`."""
    monkeypatch.setattr("engine.parallel.exchange.STALE_SECONDS", 0.0)
    rules = make("""
@input
def cell() -> int:
    return 1

@query(workers="process")
def size(n: int) -> int:
    length = len(read_text(f"{n}.txt"))
    note("read")
    while not LOG.with_name("go").exists():
        time.sleep(0.01)
    return length

@query
def sizes() -> int:
    return sum(each(size, range(1))) + cell() * 0
""")
    (tmp_path / "0.txt").write_text("old")
    with Engine(None, root=tmp_path, executor=Threads()) as db:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(db.get(rules.sizes)))
        thread.start()
        until(rules.log.exists)
        (tmp_path / "0.txt").write_text("newest")
        slots = slots_of(db)
        first = slots[1]
        db.sync()
        db.set(rules.cell.key(), 2)
        until(lambda: 1 in slots and slots[1] is not first and slots[1].units)
        (tmp_path / "go").touch()
        thread.join(PATIENCE)
        assert found == [6]


def slots_of(db: Engine) -> dict[int, Slot]:
    dispatch = db._core.dispatch
    assert dispatch is not None
    assert dispatch._exchange is not None
    return dispatch._exchange._slots


@pytest.mark.parametrize("is_heard", [True, False])
def test_a_worker_that_was_dropped_before_it_was_told_what_it_asked_does_not_wait_for_ever(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_heard: bool
) -> None:
    """What it was sent from then on was never looked at: the request did not end."""
    rules = make("""
@input
def cell() -> int:
    return 1

@query(workers="inline")
def known() -> int:
    time.sleep(0.01)
    return cell()

@query(workers="process", limit="one")
def asks(n: int) -> int:
    return known() + n

@query
def all_ask() -> int:
    return sum(each(asks, range(2)))
""")
    asked, is_over = threading.Event(), threading.Event()
    has_room = Limits.has_room

    class Late(Threads):
        def wait(self, slots: Sequence[int], seconds: float) -> list[tuple[int, bytes | None]]:
            found = super().wait(slots, seconds)
            if not is_heard and any(data and isinstance(decode_told(data), Ask) for _, data in found):
                asked.set()
                is_over.wait(PATIENCE)  # so that the request is outdated when it looks at the question
            return found

    def no_room_at_first(limits: Limits, name: str | None) -> bool:
        assert db._core.dispatch is not None
        owes = any(slot.owed is not None for slot in db._core.dispatch.exchange._slots.values())
        if owes:
            asked.set()
        return (is_over.is_set() or not owes) and has_room(limits, name)

    with Engine(None, root=tmp_path, executor=Late(), limits={"one": 1}) as db:
        db.get(rules.known)
        db.set(rules.cell.key(), 2)
        monkeypatch.setattr(Limits, "has_room", no_room_at_first)
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(db.get(rules.all_ask)), daemon=True)
        thread.start()
        assert asked.wait(PATIENCE)
        db.set(rules.cell.key(), 3)
        is_over.set()
        thread.join(60)
        assert found == [2 * 3 + 1]
