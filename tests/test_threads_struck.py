"""What strikes a member of a group that threads share ends the group, and leaves nobody waiting."""

from __future__ import annotations

import threading
import time

import pytest

from engine import Engine, each, query
from engine.claims import Claims
from engine.locate import locate
from engine.query import info_of
from tests.patience import PATIENCE, until
from tests.striking import strike


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_strikes_a_member_of_a_group_ends_the_request_whoever_ran_it(
    workers: int, error: type[BaseException]
) -> None:
    """Swallowed in a group, it would be as if nobody had pressed Ctrl-C: the answer came all the same."""
    runs: list[int] = []

    @query
    def member(number: int) -> int:
        runs.append(number)
        if number == 5 and runs.count(5) == 1:
            raise error
        return number

    @query
    def whole() -> int:
        return sum(each(member, range(12)))

    with Engine(None, workers=workers) as db:
        with pytest.raises(error):
            db.get(whole)
        assert db.get(whole) == sum(range(12))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_after_what_strikes_a_member_of_a_group_no_other_member_begins(error: type[BaseException]) -> None:
    begun = threading.Barrier(3, timeout=PATIENCE)
    runs: list[int] = []
    with Engine(None, workers=3) as db:
        core = db._core

        @query
        def member(number: int) -> int:
            runs.append(number)
            if len(runs) <= 3:
                begun.wait()  # three run at once
            if number == 0:
                raise error
            while first in core.claims.held:
                time.sleep(0.001)  # until that one is over
            return number

        @query
        def whole() -> int:
            return sum(each(member, range(30)))

        with core.lock:
            first = locate(core, info_of(member), (0,))
        with pytest.raises(error):
            db.get(whole)
        assert sorted(runs) == [0, 1, 2]


def test_a_member_that_waits_for_one_whose_claim_an_interrupt_left_behind_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = threading.Event()
    outcomes: list[BaseException | int] = []
    with Engine(None, workers=2) as db:
        core = db._core

        @query
        def member(number: int) -> int:
            if number:
                return 1 + member(0)
            until(lambda: len(core.claims.waiting) == 1, "the other member never waited")
            waits.set()
            return 0

        @query
        def whole() -> int:
            return sum(each(member, range(2)))

        def ask() -> None:
            try:
                outcomes.append(db.get(whole))
            except KeyboardInterrupt as error:
                outcomes.append(error)

        strike(monkeypatch, Claims, "give_back")
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()
        assert waits.is_set()
        assert isinstance(outcomes[0], KeyboardInterrupt)
        assert db.get(whole) == 1
        db.check_invariants()
