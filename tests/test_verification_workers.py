"""A verification has workers as the engine has them: what kills its worker is a failure, and ends nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from engine import Engine
from engine.parallel.executor import Executor
from engine.parallel.processes import Processes
from tests.patience import until
from tests.workers import SQUARES, Rules, children, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]  # fixtures
HERE = os.getpid()

DEADLY = """
@query(workers="process")
def risky(n: int) -> int:
    note(n)
    if n == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return n

@query
def survey() -> str:
    try:
        return str(each(risky, range(16)))
    except Exception as error:
        return type(error).__name__
"""


def test_a_key_that_kills_its_worker_is_no_difference(make: Make, tmp_path: Path) -> None:
    rules = make(DEADLY)
    with Engine(tmp_path / "store", processes=2) as db:
        assert db.get(rules.survey) == "WorkerLost"
        rules.noted()
        found = db.verify()
        assert (found.differences, found.compared) == ((), 17)
        counts, pids = rules.noted()
        assert counts["5"] == 4, "once, and once more alone, in either engine"
        assert HERE not in pids


def test_keys_of_a_sample_run_in_workers_too(make: Make) -> None:
    rules = make(DEADLY)
    with Engine(None, processes=2) as db:
        db.get(rules.survey)
        rules.noted()
        found = db.verify(sample=100)
        assert (found.differences, found.compared) == ((), 15)
        counts, pids = rules.noted()
        assert HERE not in pids, "also those that nobody asked for as a group"
        assert sorted(counts) == sorted([*map(str, range(16))])


def test_workers_of_a_verification_end_with_it(make: Make, others: None) -> None:
    rules = make(SQUARES)
    with Engine(None, processes=2) as db:
        db.get(rules.squares)
        before = children()
        assert not db.verify(rules.squares).differences
        until(lambda: children() == before)


def test_a_verification_does_not_open_an_executor_of_the_host_again(make: Make) -> None:
    rules = make(SQUARES)
    opened: list[bytes] = []

    class Own(Processes):
        def open(self, setup: bytes) -> None:
            opened.append(setup)
            super().open(setup)

    executor: Executor = Own(2)
    with Engine(None, executor=executor) as db:
        db.get(rules.squares)
        rules.noted()
        assert not db.verify(rules.squares).differences
        assert rules.noted()[1] == {HERE}
    assert len(opened) == 1
