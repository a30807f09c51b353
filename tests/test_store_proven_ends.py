"""A proof that is cut short, or cannot be made, leaves nothing behind and is made the next time."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Closed, ForkedEngine, StoreDamaged, StoreError
from engine.store import open_store, opening, proof, repair
from engine.store.rawfile import RawFile
from engine.store.sqlite import Store
from tests.late_proofs import always, gate, later
from tests.patience import PATIENCE
from tests.stores import closed_store, database, dump

__all__ = ["always", "gate"]  # fixtures


def proofs() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "engine-proof"]


@pytest.mark.parametrize("how", ["close", "forget"])
def test_a_store_that_ends_before_its_proof_lets_go_of_everything(
    tmp_path: Path, gate: threading.Event, how: str
) -> None:
    expected = closed_store(tmp_path)
    store = later(tmp_path)
    assert store.unproven
    assert proofs()
    if how == "close":
        store.close()
        with pytest.raises(Closed):
            store.prove()
    del store
    gc.collect()
    for thread in proofs():  # it may not have ended quite
        thread.join(PATIENCE)
    assert not proofs()
    assert RawFile._open == {}
    gate.set()
    with later(tmp_path) as store:
        assert dump(store) == expected
        assert store.notes == []


def test_a_store_that_is_forgotten_in_the_thread_of_its_proof_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed_store(tmp_path)
    held: list[Store] = []
    ready = threading.Event()

    def forgetting(raw: RawFile, **_: object) -> bytes:
        assert ready.wait(PATIENCE)
        held.clear()  # the last reference: its finalizer runs here
        return b""

    monkeypatch.setattr(RawFile, "digest", forgetting)
    held.append(later(tmp_path))
    (thread,) = proofs()
    ready.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert RawFile._open == {}


def test_a_forked_child_is_refused_and_waits_for_no_thread_of_its_parent(
    tmp_path: Path, gate: threading.Event
) -> None:
    expected = closed_store(tmp_path)
    shutil.copytree(tmp_path, tmp_path / "other")
    (tmp_path / "other").chmod(0o700)
    with later(tmp_path) as store:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                gate.set()
                with open_store(tmp_path / "other") as other:
                    assert dump(other) == expected
                store.nodes([1])
            except ForkedEngine:
                code = 42
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
        gate.set()
        assert dump(store) == expected


def test_where_no_thread_can_be_had_the_file_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = closed_store(tmp_path)

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        store = later(tmp_path)
    with store:
        assert not store.prove()
        assert dump(store) == expected


def test_a_disk_that_cannot_be_read_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = closed_store(tmp_path)

    def failing(raw: RawFile, **_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(RawFile, "digest", failing)
        with later(tmp_path) as store:
            for _ in range(2):
                with pytest.raises(StoreError, match="Input/output") as caught:
                    store.nodes([1])
                assert not isinstance(caught.value, StoreDamaged)
    with later(tmp_path) as store:
        assert dump(store) == expected


def test_a_file_that_was_read_in_vain_is_read_again_by_who_asks_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = closed_store(tmp_path)
    real, reads = RawFile.digest, []

    def failing(raw: RawFile, **how: Any) -> bytes:
        reads.append(how)
        if len(reads) < 3:
            raise OSError(errno.EIO, "Input/output error")
        return real(raw, **how)

    monkeypatch.setattr(RawFile, "digest", failing)
    with later(tmp_path) as store:
        for _ in range(2):
            with pytest.raises(StoreError, match="Input/output"):
                store.nodes([1])
        assert (dump(store), len(reads)) == (expected, 3)


@pytest.mark.parametrize("step", ["holds", "audit", "merge"])
def test_interrupted_while_it_is_proven_a_store_is_proven_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    expected = closed_store(tmp_path)
    data = database(tmp_path).read_bytes()
    database(tmp_path).write_bytes(data[:96] + b"\0\0\0\1" + data[100:])

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    owner: Any = {"holds": proof.Proof, "audit": repair, "merge": opening}[step]
    with later(tmp_path) as store:
        with monkeypatch.context() as patched:
            patched.setattr(owner, step, stop)
            with pytest.raises(KeyboardInterrupt):
                store.nodes([1])
        assert store.unproven
        assert dump(store) == expected
        assert store.notes == [opening.AUDITED]
    with later(tmp_path) as store:
        assert not store.prove()
