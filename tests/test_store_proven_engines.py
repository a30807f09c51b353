"""An engine answers nothing before its store is proven, and what is found damaged late is set aside once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, each, query
from engine.rules.files import read_text
from engine.store import State, opening, proof, repair
from tests.damage import damage_cases
from tests.late_proofs import Beside, always, gate
from tests.stores import copy, database

__all__ = ["always", "gate"]  # fixtures


@query
def length(path: str) -> int:
    return len(read_text(path))


@query
def lengths(count: int) -> int:
    return sum(each(length, [f"{number}.txt" for number in range(count)]))


COUNT = 40
RIGHT = sum(range(COUNT))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(COUNT):
        (tmp_path / f"{number}.txt").write_text("x" * number)
        os.utime(tmp_path / f"{number}.txt", (1, 1))
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(lengths, COUNT) == RIGHT
    return tmp_path


ASKED: dict[str, Callable[[Engine], object]] = {
    "get": lambda db: db.get(lengths, COUNT),
    "sync": lambda db: db.sync(),
    "revision": lambda db: db.revision,
    "notes": lambda db: db.notes(),
    "names": lambda db: db.query_names(),
    "why": lambda db: db.why(lengths.key(COUNT)),
    "dependencies": lambda db: db.dependencies(lengths.key(COUNT)),
    "store": lambda db: db.store,
    "forget": lambda db: db.forget("nothing"),
    "gc": lambda db: db.gc(),
    "verify": lambda db: db.verify(),
    "snapshot": lambda db: db.snapshot().__enter__(),
    "close": lambda db: db.close(),
}


@pytest.mark.parametrize("what", ASKED)
def test_an_engine_answers_nothing_before_its_store_is_proven(
    root: Path, gate: threading.Event, what: str
) -> None:
    with Engine(root / "store", root=root) as db:
        beside = Beside(lambda: ASKED[what](db))
        try:
            assert beside.waits(), beside.result
        finally:
            gate.set()  # or closing would wait for it
        assert not isinstance(beside.ended(), Exception)
        if what != "close":
            assert db.get(lengths, COUNT) == RIGHT


@pytest.mark.parametrize("what", ASKED)
def test_a_damaged_store_is_set_aside_whatever_is_asked_first(root: Path, what: str) -> None:
    data = bytearray(database(root / "store").read_bytes())
    data[-3000:] = bytes(3000)  # values, mostly: nothing that a start reads
    database(root / "store").write_bytes(data)
    with Engine(root / "store", root=root) as db:
        ASKED[what](db)
        if what != "close":
            assert what == "notes" or "computed again" in db.notes()[0]
            assert db.get(lengths, COUNT) == RIGHT
            db.check_invariants()
    assert list((root / "store").glob("store.corrupt-*"))
    with Engine(root / "store", root=root) as db:
        assert db.get(lengths, COUNT) == RIGHT
        assert db.notes() == ()
        assert (db.counts().executed == 0) == (what != "close")


@pytest.mark.parametrize("what", ["names", "why", "store", "sync", "get"])
def test_a_damaged_store_is_read_once_and_set_aside_once_however_many_threads_ask(
    root: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Each thread that asked before it was set aside had read it again, and set aside the next one."""
    data = bytearray(database(root / "store").read_bytes())
    data[-3000:] = bytes(3000)
    database(root / "store").write_bytes(data)
    audits: list[None] = []
    real = repair.audit
    ASKERS = 6
    ready = threading.Barrier(ASKERS)

    def slow(*given: Any) -> None:
        audits.append(None)
        time.sleep(0.05)  # so that all others wait for it
        real(*given)

    def ask() -> object:
        ready.wait()
        return ASKED[what](db)

    monkeypatch.setattr(repair, "audit", slow)
    with Engine(root / "store", root=root) as db:
        threads = [Beside(ask) for _ in range(ASKERS)]
        assert not [found for one in threads if isinstance(found := one.ended(), Exception)]
        assert db.get(lengths, COUNT) == RIGHT
        assert len(db.notes()) == 1
    assert len(audits) == 1
    aside = [path.name for path in (root / "store").glob("store.corrupt-*")]
    assert len([name for name in aside if not name.endswith(("-wal", "-shm"))]) == 1


def test_with_any_damage_an_engine_gives_the_right_answer_and_says_what_it_cost(root: Path) -> None:
    clean = database(root / "store").read_bytes()
    aside = kept = 0
    for name, apply in damage_cases(len(clean))[::3]:
        data = bytearray(clean)
        apply(data)
        directory = copy(root / "store", root / "bad")
        database(directory).write_bytes(data)
        with Engine(directory, root=root, synchronous="NORMAL") as db:
            assert db.get(lengths, COUNT) == RIGHT, name
            notes = "".join(db.notes())
            if db.counts().executed:
                assert "computed again" in notes or not data, name
                aside += 1
            else:
                assert data == clean or opening.AUDITED in notes, name
                kept += 1
            db.check_invariants()
    assert aside > 40
    assert kept > 40


def test_an_interrupted_start_is_proven_by_the_next_request(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: proof.Proof) -> bool:
        raise KeyboardInterrupt

    with Engine(root / "store", root=root) as db:
        with monkeypatch.context() as patched:
            patched.setattr(proof.Proof, "holds", stop)
            with pytest.raises(KeyboardInterrupt):
                db.get(lengths, COUNT)
        assert db.get(lengths, COUNT) == RIGHT
        db.check_invariants()
        assert db.store is not None
        assert db.store.state != State()


def test_a_store_is_read_while_the_world_is_looked_at(root: Path, gate: threading.Event) -> None:
    """What the thread is for: the stamps of all inputs are taken before anybody waits for it."""
    with Engine(root / "store", root=root) as db:
        beside = Beside(lambda: db.get(lengths, COUNT))
        while db.counts().stamped < COUNT:
            assert beside.waits()
        assert beside.waits()
        assert db.counts().read == 0
        gate.set()
        assert beside.ended() == RIGHT
        assert db.counts().executed == 0


def test_a_reader_waits_for_the_proof_when_it_opens(root: Path) -> None:
    with Engine(root / "store", root=root, read_only=True) as db:
        assert db.store is not None
        assert not db.store.unproven
        assert db.get(lengths, COUNT) == RIGHT
