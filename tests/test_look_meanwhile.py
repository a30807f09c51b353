"""What happens while a look goes on, or before it is taken, makes no wrong answer and no deadlock."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from engine import Engine, attempt, input
from engine.attempt import Gate, insist
from engine.errors import Cancelled
from engine.look import look_at
from engine.query import info_of
from engine.request import answer_once
from tests.looking import db, looked, node_of, shouted, taken, trusting, write
from tests.patience import PATIENCE
from tests.threads import run_all

__all__ = ["db", "trusting"]


def test_a_look_at_lists_that_were_built_anew_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    with Engine(tmp_path / "store", root=tmp_path) as db:
        db.get(shouted, "a")
        (tmp_path / "a").write_text("2!")
        found = looked(db, "a")
        db.gc()
        with pytest.raises(Cancelled):
            taken(db, found)
        assert db.get(shouted, "a") == "2!"


def test_after_an_interrupted_change_only_a_whole_sync_looks(db: Engine) -> None:
    write(db, a="1")
    db.get(shouted, "a")
    node = node_of(db, "a")
    db._core.torn = True
    with db._core.sync_lock, pytest.raises(Cancelled):
        look_at(db._core, [node])
    db.sync()
    assert db.get(shouted, "a") == "1"


def test_a_look_without_the_right_to_look_is_refused(db: Engine) -> None:
    with pytest.raises(AssertionError):
        look_at(db._core)


gate = threading.Event()
entered = threading.Event()


@input(observed=True)
def slow_world() -> int:
    if threading.current_thread().name == "looking":
        entered.set()
        gate.wait(PATIENCE)
    return 1


def test_a_request_that_lost_patience_waits_for_no_look(tmp_path: Path) -> None:
    """A look waits for patience at its end: a request that held it while waiting for the look would hang."""
    gate.clear()
    entered.clear()
    with Engine(tmp_path / "store") as db:
        core = db._core
        db.get(slow_world)
        looking = threading.Thread(target=db.sync, name="looking", daemon=True)
        tries: list[Gate] = []

        def overtaken(patience: Gate) -> object:
            tries.append(patience)
            if len(tries) <= attempt.PATIENCE:
                raise Cancelled
            assert patience is core.patience
            looking.start()
            assert entered.wait(PATIENCE)
            core.synced = False  # as after a collection
            threading.Timer(0.05, gate.set).start()
            return answer_once(core, info_of(slow_world), (), patience)

        assert run_all(lambda: insist(core, overtaken)) == [1]
        looking.join(PATIENCE)
        assert not looking.is_alive()


class Struck:
    """A lock; an interrupt comes just after it was taken with a timeout, before that is noted anywhere."""

    def __init__(self) -> None:
        self.real = threading.RLock()
        self.release = self.real.release
        self._is_owned = self.real._is_owned  # type: ignore[attr-defined]  # as a Condition asks it

    def acquire(self, timeout: float) -> bool:
        assert self.real.acquire(timeout=timeout)
        raise KeyboardInterrupt

    def __enter__(self) -> bool:
        return self.real.acquire()

    def __exit__(self, *_: object) -> None:
        self.real.release()


def test_an_interrupt_just_after_patience_was_asked_for_keeps_nobody_waiting(db: Engine) -> None:
    db._core.patience = struck = Struck()  # type: ignore[assignment]  # it does what the lock does
    with pytest.raises(KeyboardInterrupt):
        db.sync()
    taken: list[bool] = []

    def other() -> None:
        taken.append(struck.real.acquire(timeout=1.0))
        struck.real.release()

    run_all(other)
    assert taken == [True]
