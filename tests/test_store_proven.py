"""A store whose file is compared with its seal beside other things: the verdict may come late, not never."""

from __future__ import annotations

import errno
import gc
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, each, query
from engine.errors import Closed, ForkedEngine, StoreDamaged, StoreError
from engine.rules.files import read_text
from engine.store import Batch, State, open_store, opening, proof, repair
from engine.store.rawfile import RawFile
from engine.store.sqlite import Store
from tests.stores import closed_store, copy, database, dump, node
from tests.test_store_damage import damage_cases

SECONDS = 30.0


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are proven later too."""
    monkeypatch.setattr(opening, "WORTH_BYTES", -1)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until it is set, no proof comes to an end, unless it is stopped."""
    opened = threading.Event()
    real = RawFile.digest

    def slow(raw: RawFile, *, beside: bool = False, stopped: Callable[[], bool] = lambda: False) -> bytes:
        while beside and not opened.wait(0.001) and not stopped():
            pass
        return real(raw, beside=beside, stopped=stopped)

    monkeypatch.setattr(RawFile, "digest", slow)
    yield opened
    opened.set()


def later(directory: Path) -> Store:
    return open_store(directory, synchronous="OFF", proves_later=True)


def proofs() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "engine-proof"]


class Beside:
    """A call in another thread."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self.result: object = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._call()
        except Exception as error:  # told by `ended`
            self.result = error

    def waits(self) -> bool:
        self._thread.join(0.05)
        return self._thread.is_alive()

    def ended(self) -> object:
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        return self.result


# -- a store ---------------------------------------------------------------------------------------------


def told(store: Store, directory: Path) -> tuple[object, ...]:
    """What can be seen of an opening: rows, notes and files, without the moment in their names.

    And without what was found first: reading may find a row before the audit comes to it.
    """

    def timeless(text: str) -> str:
        return re.sub(r"\d{8}T\d{6}Z", "<now>", re.sub(r"damaged \(.*?\);", "damaged;", text))

    names = sorted(timeless(name) for name in os.listdir(directory))
    return dump(store), [timeless(note) for note in store.notes], store.audited, names


def as_proven_at_once(directory: Path) -> tuple[object, ...]:
    try:
        with open_store(directory, synchronous="OFF") as store:
            return told(store, directory)
    except StoreError as error:
        return type(error), error.headline


def as_proven_later(directory: Path) -> tuple[object, ...]:
    try:
        with later(directory) as store:
            try:
                with store.early():
                    store.queries()
                    store.input_blocks()
                store.prove()
            except StoreDamaged as damage:
                if store.unproven:
                    with pytest.raises(StoreDamaged):
                        store.nodes([1])
                store.start_over(damage.fields.get("reason") or opening.reason_of(damage))
            assert not store.unproven
            return told(store, directory)
    except StoreError as error:
        return type(error), error.headline


def test_after_any_damage_the_late_verdict_is_that_of_an_opening_that_waits(tmp_path: Path) -> None:
    closed_store(tmp_path / "good")
    clean = database(tmp_path / "good").read_bytes()
    aside = 0
    for name, apply in damage_cases(len(clean))[::2]:
        data = bytearray(clean)
        apply(data)
        found = []
        for see in (as_proven_at_once, as_proven_later):
            directory = copy(tmp_path / "good", tmp_path / "bad")
            database(directory).write_bytes(data)
            found.append(see(directory))
        assert found[0] == found[1], name
        aside += "store.corrupt" in str(found[0])
    assert aside > 50


def test_a_file_that_is_in_order_under_another_seal_is_kept_and_sealed_again(tmp_path: Path) -> None:
    expected = closed_store(tmp_path)
    free = database(tmp_path).read_bytes()
    at = 96  # which library wrote the file last: SQLite itself does not care
    database(tmp_path).write_bytes(free[:at] + b"\0\0\0\1" + free[at + 4 :])
    with later(tmp_path) as store:
        assert (store.notes, store.audited) == ([], False)
        assert store.prove()
        assert (store.notes, store.audited) == ([opening.AUDITED], True)
        assert not store.prove()
        assert dump(store) == expected
    with later(tmp_path) as store:
        assert not store.prove()


def test_before_the_proof_nothing_is_read_or_written(tmp_path: Path, gate: threading.Event) -> None:
    closed_store(tmp_path)
    calls: list[Callable[[Store], object]] = [
        lambda store: store.nodes([1]),
        lambda store: store.find(1, b""),
        lambda store: store.readers([1]),
        lambda store: store.derived.collections(),
        lambda store: store.write(Batch(nodes=[node(70)], state=store.state._replace(revision=9))),
        lambda store: store.checkpoint(),
        lambda store: store.tidy(),
        lambda store: store.compact(),
        lambda store: store.connection,
        lambda store: store.check_invariants(),
    ]
    for call in calls:
        gate.clear()
        with later(tmp_path) as store:
            before = database(tmp_path).read_bytes(), store.files.wal_size()
            with store.early():
                assert store.queries()
                beside = Beside(partial(call, store))
                assert beside.waits()  # it is not the thread that is in `early`
            assert (database(tmp_path).read_bytes(), store.files.wal_size()) == before
            gate.set()
            assert not isinstance(beside.ended(), Exception)


def test_in_early_what_a_start_needs_is_read_and_a_write_waits(tmp_path: Path, gate: threading.Event) -> None:
    closed_store(tmp_path)
    with later(tmp_path) as store, store.early():
        assert [row.id for row in store.queries()] == [1, 2, 3]
        assert len(store.input_blocks()) == 1
        assert store.unproven
        threading.Timer(0.05, gate.set).start()
        store.write(Batch(nodes=[node(70)], state=store.state._replace(revision=9)))
        assert not store.unproven


def test_an_error_in_early_is_told_when_the_proof_holds(tmp_path: Path) -> None:
    closed_store(tmp_path)
    with later(tmp_path) as store:
        with pytest.raises(KeyError), store.early():
            raise KeyError
        assert not store.unproven


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
        thread.join(SECONDS)
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
        assert ready.wait(SECONDS)
        held.clear()  # the last reference: its finalizer runs here
        return b""

    monkeypatch.setattr(RawFile, "digest", forgetting)
    held.append(later(tmp_path))
    (thread,) = proofs()
    ready.set()
    thread.join(SECONDS)
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


# -- an engine -------------------------------------------------------------------------------------------


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
        assert beside.waits()
        gate.set()
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
