"""The protocol of executors is all that the engine needs of whoever computes for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from engine import Engine
from engine.parallel.dispatch import Dispatch
from engine.parallel.executor import Executor
from engine.parallel.units import Answer, Ask, Batch, Reply, Setup, decode_said, encode
from engine.parallel.worker import Worker
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


class Threads:
    """An executor whose only worker is a thread of this process."""

    size = 1

    def __init__(self, root: Path) -> None:
        self.batches = 0
        self.asked = 0
        self._inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._ahead: list[Batch] = []
        self._worker = Worker(Setup(str(root).encode(), 1_000), self._ask, lambda: self._outbox.put(b""))
        threading.Thread(target=self._serve, daemon=True).start()

    def slots(self, wanted: int) -> Sequence[int]:
        return (1,)

    def send(self, slot: int, message: bytes) -> None:
        self._inbox.put(message)

    def wait(self, slots: Sequence[int], seconds: float) -> list[tuple[int, bytes | None]]:
        try:
            return [(1, self._outbox.get(timeout=max(seconds, 0.001)))]
        except queue.Empty:
            return []

    def drop(self, slot: int) -> str:
        return "it was ended"

    def close(self) -> None:
        self._inbox.put(b"")

    def _serve(self) -> None:
        while True:
            if not self._ahead:
                data = self._inbox.get()
                if not data:
                    return
                self._ahead.append(decode_said(data))
            self.batches += 1
            self._outbox.put(encode(self._worker.run(self._ahead.pop(0))))

    def _ask(self, question: Ask) -> Reply:
        self.asked += 1
        self._outbox.put(encode(question))
        while isinstance(said := decode_said(self._inbox.get()), Batch):
            self._ahead.append(said)
        assert isinstance(said, Reply)
        return said


@pytest.fixture
def threads(tmp_path: Path) -> Iterator[Threads]:
    made = Threads(tmp_path)
    yield made
    made.close()


def test_any_executor_that_carries_bytes_will_do(
    make: Make, tmp_path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.parallel.held.ASK_US", 0)  # what is known is asked for
    rules = make(RULES)
    with Engine(tmp_path / "here", root=tmp_path) as db:
        wanted = db.get(rules.squares)
        here = graph_of(db)
    rules.noted()
    executor: Executor = threads
    with Engine(tmp_path / "there", root=tmp_path) as db:
        db._core.dispatch = Dispatch(db._core, executor)
        assert db.get(rules.squares) == wanted
        assert graph_of(db) == here
        assert db.counts().executed == 64
    counts, _ = rules.noted()
    assert counts == {**{str(n): 1 for n in range(60)}, **{f"slow {n}": 1 for n in range(3)}}
    assert threads.batches > 1
    assert threads.asked == 1  # for what was computed here before


def test_an_answer_that_is_none_of_this_engine_is_dropped(make: Make, tmp_path: Path) -> None:
    """A record that rests on what was never sent is no memo: the key is computed here."""

    class Liars(Threads):
        def send(self, slot: int, message: bytes) -> None:
            said = decode_said(message)
            assert isinstance(said, Batch)
            answer = self._worker.run(said)
            self._outbox.put(encode(Answer(answer.records[-1:], answer.refused, answer.codes)))

    rules = make(RULES.replace("slow(0), *each", "each"))
    with Engine(None, root=tmp_path) as db:
        db._core.dispatch = Dispatch(db._core, Liars(tmp_path))
        assert db.get(rules.squares) == tuple(n % 3 + n * n for n in range(60))
        db.check_invariants()
    assert rules.noted()[0]["0"] == 2  # there, and here
