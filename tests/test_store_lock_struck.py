"""An interrupt at any place of taking or releasing a lock leaves none behind."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from engine.errors import StoreInUse
from engine.store import ending, lock, merging, ongoing, open_store, opening, proof, seal
from engine.store.lock import Held, WriterLock, hold_as_reader, keep_readers_out, make_lock_file
from engine.store.rawfile import RawFile
from tests.patience import until
from tests.stores import closed_store, database, graph

PLACES = {one.__file__ for one in (ending, lock, merging, ongoing, proof, threading)}


@contextmanager
def struck(nth: int) -> Iterator[None]:
    """Raise where Python looks for signals: where a function of ours begins, and where one in C has ended."""
    left = nth

    def look(frame: FrameType, event: str, _: object) -> None:
        nonlocal left
        if frame.f_code.co_filename in PLACES and event in ("call", "c_return"):
            left -= 1
            if left == 0:
                sys.setprofile(None)
                raise KeyboardInterrupt

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


def each_place(act: Callable[[], None], ended: Callable[[], None]) -> int:
    """Do something with an interrupt at each place in turn, and look what it left; how many there are."""
    nth = 0
    while True:
        nth += 1
        try:
            with struck(nth):
                act()
        except KeyboardInterrupt:
            ended()
        else:
            return nth - 1


def test_who_is_struck_while_it_takes_the_lock_of_writers_has_none(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    taken: list[WriterLock] = []

    def is_free() -> None:
        WriterLock.acquire(path).release()

    assert each_place(lambda: taken.append(WriterLock.acquire(path)), is_free) > 8
    with pytest.raises(StoreInUse):
        is_free()
    taken[0].release()
    is_free()


def test_who_is_struck_while_it_releases_the_lock_of_writers_can_release_it_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    held = WriterLock.acquire(path)

    def again() -> None:
        nonlocal held
        held.release()
        held = WriterLock.acquire(path)

    assert each_place(lambda: held.release(), again) > 4
    assert held.fd == -1
    WriterLock.acquire(path).release()


def test_who_is_struck_while_it_takes_the_lock_of_readers_has_none(tmp_path: Path) -> None:
    path = tmp_path / "lock.readers"
    make_lock_file(path)

    def is_free() -> None:
        free, mine = keep_readers_out(path)
        mine.release()
        assert free

    def check(take: Callable[[], Held | None]) -> None:
        taken: list[Held | None] = []
        assert each_place(lambda: taken.append(take()), is_free) > 4
        with pytest.raises(AssertionError):
            is_free()
        assert taken[0] is not None
        taken[0].release()
        is_free()

    check(lambda: hold_as_reader(path))
    check(lambda: keep_readers_out(path)[1])


def test_who_is_struck_while_it_stops_a_merge_can_stop_it_again(tmp_path: Path) -> None:
    """An `Event` that was struck as it was set could never be set again."""

    def begun() -> ongoing.Ongoing:
        def work(one: ongoing.Ongoing) -> None:
            while not one.is_stopped:
                time.sleep(0.001)

        one = ongoing.Ongoing(work, threading.RLock(), keep_readers_out(tmp_path / "lock")[1])
        one.start()
        return one

    one = begun()

    def again() -> None:
        nonlocal one
        waits = threading.Thread(target=one.stop, daemon=True)
        waits.start()
        waits.join(120)
        assert one.is_over
        one = begun()

    assert each_place(lambda: one.stop(), again) > 1
    assert one.is_over


@pytest.mark.parametrize("act", ["holds", "stop"])
def test_who_is_struck_while_it_waits_for_a_proof_can_do_so_again(tmp_path: Path, act: str) -> None:
    """The lock of an `Event` stayed taken: the thread of the proof never ended, and nor did who waited."""
    closed_store(tmp_path)
    raw = RawFile.open(database(tmp_path))
    found = seal.read_seal(tmp_path / "store.seal")
    assert found is not None
    one = proof.Proof(raw, found)

    def again() -> None:
        nonlocal one
        waits = threading.Thread(target=getattr(one, act), daemon=True)
        waits.start()
        waits.join(120)
        assert not waits.is_alive()
        one = proof.Proof(raw, found)

    assert each_place(lambda: getattr(one, act)(), again) > 0
    one.stop()
    raw.close()
    until(lambda: RawFile._open == {})


def test_a_store_that_is_struck_while_it_closes_can_be_closed_again(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(graph(5))

    def again() -> None:
        nonlocal store
        store.close()
        store = open_store(tmp_path)
        assert store.state.revision == 1
        assert set(store.notes) <= {opening.AUDITED}, "the merge may have been struck"
        store.write(graph(5))

    assert each_place(lambda: store.close(), again) > 10
    assert store._opened.is_shut
    with open_store(tmp_path) as store:
        assert (store.notes, store.state.revision) == ([], 1)
