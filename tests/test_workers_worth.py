"""Keys go to workers where that pays: what they cost, and when it is given up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import engine
from engine import Engine
from engine.locate import locate
from engine.parallel.costs import SAMPLE
from engine.parallel.dispatch import all_over
from engine.parallel.held import Held
from engine.parallel.questions import reply
from engine.parallel.units import Answer, Ask, Reply, decode_told
from engine.query import info_of
from tests.executors import Threads
from tests.workers import Rules, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]
HERE = os.getpid()

FACTOR = """
@input
def factor() -> int:
    return 2

"""


class Clock(ModuleType):
    """Of this process, where costs are compared: only sleeping takes time. In workers it really does."""

    def __init__(self) -> None:
        super().__init__("time")
        self.now = 1  # nanoseconds
        self.sleep = self.wait  # an attribute of its own: so the code is that of the workers, by fingerprint

    def __call__(self) -> int:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(make: Make, clock: Clock) -> Make:
    """Makes rules that sleep by that clock, in this process."""

    def timed(text: str) -> Rules:
        rules = make(text)
        vars(rules.module)["time"] = clock
        return rules

    return timed


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Iterator[Engine]:
    """An engine that sends what takes 3 ms or more, by a clock that a busy machine does not hurry."""
    monkeypatch.setattr("engine.parallel.dispatch.START_US", 0)
    monkeypatch.setattr("engine.parallel.dispatch.WORTH_US", 3_000)
    with Engine(tmp_path / "store", processes=2) as db:
        db._core.clock = clock
        yield db


def test_what_a_key_finds_ready_is_none_of_its_cost(timed: Make, db: Engine) -> None:
    """Their memos say that members took long. What took long was below them, and is there: none goes out."""
    rules = timed(
        FACTOR
        + """
@query
def leaf(n: int) -> int:
    time.sleep(0.005)
    return n

@query
def member(n: int) -> int:
    note(n)
    return leaf(n) * factor()

@query
def total() -> int:
    return sum(each(member, range(40)))
"""
    )
    assert db.get(rules.total) == 2 * sum(range(40))
    _, pids = rules.noted()
    assert pids - {HERE}  # leaves and all they are worth it
    db.set(rules.factor.key(), 3)
    assert db.get(rules.total) == 3 * sum(range(40))
    counts, pids = rules.noted()
    assert sum(counts.values()) == 40
    assert pids == {HERE}


def test_what_a_query_asks_of_itself_is_none_of_its_average(timed: Make, db: Engine) -> None:
    """As walks of trees do: each large key rests on many small ones, and the large ones are what is sent."""
    rules = timed(
        """
@query
def walk(tree: int, depth: int) -> int:
    if depth:
        return 1
    note(tree)
    time.sleep(0.006)
    return sum(each(walk.key(tree, leaf) for leaf in range(1, 7)))

@query
def total() -> int:
    return sum(each(walk.key(tree, 0) for tree in range(40)))
"""
    )
    assert db.get(rules.total) == 240
    counts, pids = rules.noted()
    assert sum(counts.values()) == 40
    assert pids - {HERE}


def test_what_a_key_costs_is_learned_from_keys_all_over_the_group(timed: Make, db: Engine) -> None:
    """The first of many paths are those of small files: `__init__.py` comes before all others."""
    rules = timed(
        """
@query
def member(n: int) -> int:
    note(n)
    time.sleep(0.006 if n >= 4 else 0)
    return n

@query
def total() -> int:
    return sum(each(member, range(40)))
"""
    )
    assert db.get(rules.total) == sum(range(40))
    assert rules.noted()[1] - {HERE}


def test_what_one_key_brings_up_to_date_for_all_is_no_cost_of_the_others(timed: Make, db: Engine) -> None:
    rules = timed(
        """
@query(workers="inline")
def slow() -> int:
    time.sleep(0.05)  # the first that reads it waits for it
    return 0

@query
def member(n: int) -> int:
    note(n)
    return n + slow()

@query
def total() -> int:
    return sum(each(member, range(40)))
"""
    )
    assert db.get(rules.total) == sum(range(40))
    assert rules.noted()[1] == {HERE}


def test_one_key_that_waited_when_it_was_tried_sends_no_others_out(timed: Make, db: Engine) -> None:
    rules = timed(
        FACTOR
        + """
@query(workers="inline")
def slow() -> int:
    time.sleep(0.05)  # the first that reads it waits for it
    return factor() - factor()

@query
def member(n: int) -> int:
    note(n)
    time.sleep(0.0005 if factor() == 3 else 0.002)
    return n * factor() + (slow() if factor() == 3 else 0)

@query
def total() -> int:
    return sum(each(member, range(40)))
"""
    )
    assert db.get(rules.total) == 2 * sum(range(40))
    rules.noted()
    db.set(rules.factor.key(), 3)
    assert db.get(rules.total) == 3 * sum(range(40))
    assert rules.noted()[1] == {HERE}


def test_a_query_whose_work_is_known_here_is_sent_no_more(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.parallel.held.ASK_US", 10**9)  # nothing is asked for, so all is repeated
    monkeypatch.setattr("engine.parallel.repeated.ENOUGH_US", 20_000)
    monkeypatch.setattr("engine.parallel.dispatch.WORTH_US", 0)
    monkeypatch.setattr("engine.parallel.dispatch.START_US", 0)
    rules = make("""
@query(workers="inline")
def slow(n: int) -> int:
    note("slow")
    time.sleep(0.002)
    return n

@query
def quick(n: int) -> int:
    return slow(n) + 1

@query
def both() -> int:
    return sum(each(slow, range(400))) + sum(each(quick, range(400)))
""")
    with Engine(None, processes=2) as db:
        assert db.get(rules.both) == 2 * sum(range(400)) + 400
        counts, _ = rules.noted()
        assert 400 < counts["slow"] < 700  # some were repeated before that was noticed
        assert db.counts().executed == 801


@pytest.mark.parametrize(("own", "is_given_up"), [(0.001, True), (0.008, False)])
def test_a_query_that_waits_for_answers_longer_than_it_works_is_sent_no_more(
    timed: Make, monkeypatch: pytest.MonkeyPatch, clock: Clock, own: float, is_given_up: bool
) -> None:
    """It looks into a table, which only this process can do; and not while it answers other workers."""

    class Another(Threads):
        def wait(self, slots: Sequence[int], seconds: float) -> list[tuple[int, bytes | None]]:
            heard = super().wait(slots, seconds)
            if any(data and isinstance(decode_told(data), Ask) for _, data in heard):
                clock.wait(0.005)  # another worker was answered first
            return heard

    def slowly(*given: Any) -> Reply:
        clock.wait(0.005)
        return reply(*given)

    of_workers = SimpleNamespace(perf_counter_ns=clock, monotonic=lambda: clock() / 1e9)
    monkeypatch.setattr("engine.parallel.worker.time", of_workers)
    monkeypatch.setattr("engine.parallel.exchange.reply", slowly)
    monkeypatch.setattr("engine.parallel.repeated.ENOUGH_US", 20_000)
    monkeypatch.setattr("engine.parallel.pending.LARGEST", 16)  # of a batch: so few are under way then
    monkeypatch.setattr("engine.parallel.dispatch.WORTH_US", 0)
    monkeypatch.setattr("engine.parallel.dispatch.START_US", 0)
    rules = timed(f"""
class Row(NamedTuple):
    n: int

@query
def keys() -> range:
    return range(400)

@table(each=keys, index=("n",), workers="inline")
def rows(n: int) -> list[Row]:
    return [Row(n)]

@query
def member(n: int) -> int:
    time.sleep({own})
    return rows.count(n=n)

@query
def both() -> int:
    return rows.count() + sum(each(member, range(400)))
""")
    workers = Another()
    with Engine(None, executor=workers) as db:
        db._core.clock = clock
        assert db.get(rules.both) == 800
        made = [record for said in workers.told if isinstance(said, Answer) for record in said.records]
        costs = {record.cost for record in made if record.query.endswith(":member")}
        assert costs == {round(own * 1e6)}  # as where nobody waits
        assert (len(made) < 100) == is_given_up
        assert made


def test_the_keys_that_are_tried_are_different_ones_however_few_there_are() -> None:
    """Of two keys the first one was tried, twice, and the other in a round of its own."""
    for count in range(1, 12):
        for query in range(20):
            assert len(set(all_over(list(range(count)), query))) == min(SAMPLE, count)


def test_a_key_is_asked_for_if_it_costs_more_than_a_question_waits_for_commits() -> None:
    """Who asks amid a commit waits for its end; so the more time commits take, the dearer is a question."""

    @engine.query
    def number(n: int) -> int:
        return n

    with Engine(None) as db, db._core.lock:
        held = Held(db._core)
        nodes = [locate(db._core, info_of(number), (n,)) for n in range(4)]

        def is_asked_for(node: int, milliseconds: float) -> bool:
            held.made(node, int(1000 * milliseconds))
            return bool(held.news(told)[0])

        told: dict[str, int] = {}
        held.start()
        assert is_asked_for(nodes[0], 1)
        second, now = 1_000_000_000, db._core.clock()
        held.silent(now + 2 * second, now + 2 * second + second // 5)  # that is 9 ms on average
        assert not is_asked_for(nodes[1], 9)
        assert is_asked_for(nodes[1], 10)
        held.silent(now + 60 * second, now + 60 * second + second // 5)  # it happens seldom by now
        assert is_asked_for(nodes[2], 1)
        held.silent(now + 61 * second, now + 62 * second)
        assert not is_asked_for(nodes[3], 100)
        held.start()  # a new generation is another kind of work
        assert is_asked_for(nodes[3], 1)
