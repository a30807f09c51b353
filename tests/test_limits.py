"""A limit holds for an engine: for threads and processes together, whoever asks."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from engine import Engine, limits
from tests.workers import Rules, make, others, wait_until

Make = Callable[[str], Rules]
__all__ = ["make", "others"]

COUNTED = """
running = most = 0

@query(workers="thread", limit="one")
def counted(n: int) -> int:
    global running, most
    running += 1
    most = max(most, running)
    time.sleep(0.02)
    running -= 1
    return n
"""
RULES = """
def alone() -> None:
    mine = LOG.with_name("lock")
    descriptor = os.open(mine, os.O_CREAT | os.O_EXCL)  # fails if another one is there
    time.sleep(0.003)
    os.close(descriptor)
    mine.unlink()

@query(workers="process", limit="one")
def there(n: int) -> int:
    note("there")
    alone()
    return n

@query(workers="thread", limit="one")
def here(n: int) -> int:
    note("here")
    alone()
    return n

@query(workers="thread", limit="one")
def other(n: int) -> int:
    alone()
    return n

@query(limit="one")
def single(n: int) -> int:
    alone()
    return n

@query
def processes() -> int:
    return sum(each(there, range(8)))

@query
def threads() -> int:
    return sum(each(here, range(8)))

@query
def others() -> int:
    return sum(each(other, range(8)))
"""


@pytest.fixture
def rules(make: Make) -> Rules:
    return make(RULES)


def together(*asks: Callable[[], Any]) -> list[Any]:
    """What they return when several threads call them. Raises what one of them raises."""
    found: list[Any] = [None] * len(asks)
    failures: list[BaseException] = []

    def run(at: int) -> None:
        try:
            found[at] = asks[at]()
        except BaseException as error:  # whatever it is: the test raises it
            failures.append(error)

    started = [threading.Thread(target=run, args=(at,), daemon=True) for at in range(len(asks))]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(60)
        assert not thread.is_alive(), "they wait for each other"
    for failure in failures:
        raise failure
    return found


def test_threads_processes_and_keys_asked_for_alone_share_a_limit(rules: Rules) -> None:
    with Engine(None, processes=2, limits={"one": 1}) as db:
        found = together(
            lambda: db.get(rules.processes),
            lambda: db.get(rules.threads),
            lambda: db.get(rules.others),
            lambda: [db.get(rules.single, n) for n in range(8)],
        )
        assert found == [28, 28, 28, list(range(8))]
        counts, pids = rules.noted()
        assert counts == {"there": 8, "here": 8}
        assert os.getpid() in pids
        assert db._core.limits.is_free  # all was given back


NESTED = """
@query(workers={kind!r}, limit="one")
def inner(n: int) -> int:
    return n % 3

@query(workers="thread", limit="one")
def outer(n: int) -> int:
    return sum(each(inner, range(n % 4 + 2))) + second(n)

@query(workers="thread", limit="two")
def second(n: int) -> int:
    return sum(each(third, range(n % 5 + 2)))

@query(workers="thread", limit="one")
def third(n: int) -> int:
    return n + crossing(n)

@query(limit="two")
def crossing(n: int) -> int:
    return n

@query
def everything(n: int) -> int:
    return sum(each(outer, range(n, n + 12))) + sum(each(second, range(n, n + 12)))
"""


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_limits_within_limits_never_wait_for_each_other(make: Make, kind: str) -> None:
    rules = make(NESTED.format(kind=kind))
    with Engine(None) as db:
        wanted = [db.get(rules.everything, n) for n in range(4)]
    with Engine(None, processes=2, limits={"one": 1, "two": 1}) as db:
        asks = [lambda n=n: db.get(rules.everything, n) for n in range(4)]
        assert together(*asks) == wanted
        assert db._core.limits.is_free
        db.check_invariants()


def test_who_waits_for_a_key_of_another_thread_holds_no_limit(make: Make) -> None:
    """`first` holds the limit and needs `middle`, which runs already and needs the limit."""
    rules = make("""
import threading
inside, holds = threading.Event(), threading.Event()

@query(limit="one")
def last() -> int:
    return 7

@query
def middle() -> int:
    inside.set()
    holds.wait(20)
    return last()

@query(limit="one")
def first() -> int:
    inside.wait(20)
    holds.set()
    return middle() + 1
""")
    with Engine(None, limits={"one": 1}) as db:
        assert together(lambda: db.get(rules.first), lambda: db.get(rules.middle)) == [8, 7]
        assert db._core.limits.is_free


def test_who_waits_for_room_is_cancelled_when_the_revision_moves_on(make: Make) -> None:
    rules = make("""
import threading
entered, go = threading.Event(), threading.Event()

@input
def cell() -> int:
    return 1

@query(limit="one")
def slow(n: int) -> int:
    entered.set()
    go.wait(20)
    return n * cell()
""")
    with Engine(None, limits={"one": 1}) as db:

        def change() -> None:
            rules.entered.wait(20)
            db.set(rules.cell.key(), 2)
            rules.go.set()

        found = together(lambda: db.get(rules.slow, 1), lambda: db.get(rules.slow, 2), change)
        assert found[:2] == [2, 4]
        assert db._core.limits.is_free


def test_what_a_worker_asks_for_waits_for_no_limit_of_another_worker(make: Make) -> None:
    """Two threads are not needed: what is asked for runs here, and who runs it is who hears of the other."""
    rules = make("""
@input
def cell() -> int:
    return 1

@query(workers="inline")
def below() -> int:
    return cell() // 10

@query(workers="inline", limit="one")
def asked_for() -> int:
    time.sleep(0.001)
    return below()

@query(workers="process", limit="one")
def limited(n: int) -> int:
    time.sleep(0.2)
    return n * cell()

@query(workers="process")
def asking(n: int) -> int:
    factor = cell()
    time.sleep(0.1)  # until the other one runs
    return asked_for() + n * factor

@query
def total() -> int:
    return sum(each([asking.key(1), limited.key(2)]))
""")
    with Engine(None, processes=2, limits={"one": 1}) as db:
        db.get(rules.asked_for)
        db.get(rules.total)
        db.set(rules.cell.key(), 10)
        assert together(lambda: db.get(rules.total)) == [31]
        assert db._core.limits.is_free


def test_a_worker_that_asked_goes_on_when_there_is_room_again(make: Make) -> None:
    rules = make("""
def alone() -> None:
    mine = LOG.with_name("lock")
    if mine.exists():
        note("another one is there")
    mine.touch()
    time.sleep(0.2)
    mine.unlink(missing_ok=True)

@input
def cell() -> int:
    return 1

@query(workers="inline")
def below() -> int:
    time.sleep(0.1)
    return cell() // 10

@query(workers="inline")
def asked_for() -> int:
    time.sleep(0.001)
    return below()

@query(workers="process", limit="one")
def asking(n: int) -> int:
    factor = cell()
    note("asking")
    asked_for()
    alone()
    return n * factor

@query(limit="one")
def other() -> int:
    alone()
    return cell()

@query
def total() -> int:
    return sum(each(asking, [1, 2]))
""")
    with Engine(None, processes=1, limits={"one": 1}) as db:
        db.get(rules.asked_for)
        db.get(rules.total)
        db.set(rules.cell.key(), 10)
        rules.noted()

        def meanwhile() -> Any:
            wait_until(rules.log.exists)
            return db.get(rules.other)

        assert together(lambda: db.get(rules.total), meanwhile) == [30, 10]
        assert rules.noted()[0] == {"asking": 2}
        assert db._core.limits.is_free


def test_what_a_worker_does_for_nobody_takes_no_place(make: Make) -> None:
    """The revision moves on, and then nothing is sent any more: nobody hears that the worker is done."""
    rules = make("""
@input
def cell() -> int:
    return 1

@query(workers="process", limit="one")
def slow(n: int) -> int:
    note("slow")
    time.sleep(0.2)
    return n

@query
def total() -> int:
    return sum(each(slow, range(4))) if cell() == 1 else slow(99)
""")
    with Engine(None, processes=2, limits={"one": 1}) as db:

        def change() -> None:
            wait_until(rules.log.exists)
            db.set(rules.cell.key(), 2)

        assert together(lambda: db.get(rules.total), change)[0] == 99
        assert db._core.limits.is_free


def test_limits_of_two_engines_are_not_each_other_s(make: Make) -> None:
    """A key that holds a limit of one engine asks another engine, whose limit has the same name."""
    rules = make(
        COUNTED
        + """
@query
def inners(n: int) -> int:
    return sum(each(counted, range(n, n + 3)))

@query(limit="one")
def outer() -> int:
    return OTHER.get(inners, 0)
"""
    )
    with Engine(None, limits={"one": 1}) as db, Engine(None, limits={"one": 1}) as other:
        rules.module.OTHER = other  # type: ignore[attr-defined]  # of a module made here
        assert together(lambda: db.get(rules.outer), lambda: other.get(rules.inners, 50)) == [3, 153]
        assert rules.module.most == 1
        assert db._core.limits.is_free
        assert other._core.limits.is_free


CROSSWISE = (
    COUNTED
    + """
@query(limit="one")
def asks(name: str, depth: int) -> int:
    global running, most
    running += 1
    most = max(most, running)
    if depth == DEPTH:
        MET.wait()  # each holds the limit of its engine and asks the other one
    running -= 1
    return 1 if not depth else 1 + OTHER[name].get(asks, name, depth - 1)
"""
)


def test_who_waits_for_a_key_of_another_engine_that_waits_for_room_goes_on(make: Make) -> None:
    """The key is wanted by two who need the same place in their own engine."""
    rules = make("""
ASKED = None

@query(limit="there", workers="inline")
def slow(n: int) -> int:
    note("slow")
    while not LOG.with_name("go").exists():
        time.sleep(0.001)
    return n

@query(limit="there", workers="inline")
def shared(n: int) -> int:
    return n

@query(limit="here", workers="inline", code="none")
def asks(n: int) -> int:
    note("asks")
    return ASKED.get(shared, 1) + n
""")
    with Engine(None, limits={"here": 1}) as db, Engine(None, limits={"there": 1}) as other:
        module: Any = rules.module
        module.ASKED = other

        def later(n: int) -> int:
            wait_until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= n)
            found: int = db.get(rules.asks, n)
            return found

        def go() -> None:
            wait_until(lambda: rules.log.exists() and len(rules.log.read_text().splitlines()) >= 3)
            threading.Event().wait(0.2)  # until the second one waits for the first
            rules.log.with_name("go").touch()

        found = together(lambda: other.get(rules.slow, 1), lambda: later(1), lambda: later(2), go)
        assert found[:3] == [1, 2, 3]
        assert db._core.limits.is_free
        assert other._core.limits.is_free


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("sides", [2, 3])
def test_engines_that_ask_each_other_crosswise_within_their_limits_never_wait_for_each_other(
    make: Make, depth: int, sides: int
) -> None:
    rules = make(CROSSWISE)
    with contextlib.ExitStack() as stack:
        engines: list[Engine] = [stack.enter_context(Engine(None, limits={"one": 1})) for _ in range(sides)]
        turn = {f"{at}": iter([*range(at + 1, sides), *range(at)] * depth) for at in range(sides)}

        class Next:
            def __getitem__(self, name: str) -> Engine:
                found: Engine = engines[next(turn[name])]
                return found

        module: Any = rules.module
        module.OTHER, module.DEPTH, module.MET = Next(), depth, threading.Barrier(sides)
        asked = [partial(engines[at].get, rules.asks, f"{at}", depth) for at in range(sides)]
        assert together(*asked) == [depth + 1] * sides
        assert module.most <= sides
        assert all(engine._core.limits.is_free for engine in engines)


def test_a_limit_holds_where_an_engine_is_verified(make: Make) -> None:
    rules = make(
        COUNTED
        + """
@query
def total() -> int:
    return sum(each(counted, range(8)))
"""
    )
    with Engine(None, limits={"one": 1}) as db:
        assert db.get(rules.total) == 28
        assert not db.verify().differences
        assert rules.module.most == 1


def test_a_batch_counts_once(make: Make, tmp_path: Path) -> None:
    rules = make(
        RULES
        + """
@query(batch=True, limit="one")
def many(numbers: list[int]) -> list[int]:
    note("many")
    alone()
    return numbers

@query
def all_many() -> int:
    return sum(each(many, range(20)))
"""
    )
    with Engine(None, limits={"one": 1}) as db:
        assert together(lambda: db.get(rules.all_many), lambda: db.get(rules.threads)) == [190, 28]
        assert rules.noted()[0]["many"] == 1


def test_an_interrupt_at_any_line_takes_no_place_for_good(make: Make) -> None:
    rules = make("""
@query(limit="one")
def below(n: int) -> int:
    return n

@query(workers="thread", limit="two")
def member(n: int) -> int:
    return below(n)

@query
def total() -> int:
    return sum(each(member, range(3)))
""")
    lines = struck = 0
    while struck == lines:  # the next one, until a request has no more
        lines += 1
        left = [lines]

        def trace(frame: FrameType, event: str, argument: object, left: list[int] = left) -> Any:
            if frame.f_code.co_filename != limits.__file__:
                return None
            left[0] -= event in ("call", "line")
            if left[0] == 0:
                raise KeyboardInterrupt
            return trace

        with Engine(None, limits={"one": 1, "two": 1}) as db:
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                db.get(rules.total)
            except KeyboardInterrupt:
                struck += 1
            finally:
                sys.settrace(before)
            # A tracer strikes where Python delivers no signal: before `with` gives the lock back.
            with contextlib.suppress(RuntimeError):
                while True:
                    db._core.lock.release()
            assert db._core.limits.is_free
            assert together(lambda: db.get(rules.total)) == [3]
            assert db.get(rules.total) == 3
            assert db._core.limits.is_free
    assert struck > 100
