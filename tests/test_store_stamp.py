"""A large file that still has the stamp of its seal is not read at an opening; any other one is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.errors import StoreDamaged
from engine.store import open_store, opening, proof, seal
from engine.store.rawfile import RawFile
from tests.stores import closed_store, database, dump, sql

Write = Callable[[Path], None]


@pytest.fixture(autouse=True)
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each time that a file was read as a whole. No file is too small for stamps."""
    found: list[int] = []
    real = RawFile.digest

    def digest(raw: RawFile, *, beside: bool = False, stopped: Callable[[], bool] = lambda: False) -> bytes:
        found.append(raw.size())
        return real(raw, beside=beside, stopped=stopped)

    monkeypatch.setattr(RawFile, "digest", digest)
    for module in (opening, proof):
        monkeypatch.setattr(module, "WORTH_BYTES", -1)
    return found


def left(directory: Path) -> None:
    """A closed store whose seal is younger than its last write."""
    closed_store(directory)
    while os.lstat(directory / "store.seal").st_mtime_ns <= os.lstat(database(directory)).st_ctime_ns:
        time.sleep(0.002)
        os.utime(directory / "store.seal")


def is_read(directory: Path, read: list[int], *, writes: bool = True) -> bool:
    """Whether an opening and a look at all reads the file as a whole; the store is as it was left."""
    read.clear()
    with open_store(directory, read_only=not writes, proves_later=writes) as store:
        dump(store)
        assert (store.notes, store.state.revision) == ([], 1)
    return bool(read)


@pytest.mark.parametrize("writes", [True, False])
def test_a_file_that_nobody_wrote_to_is_not_read_as_a_whole(
    tmp_path: Path, read: list[int], writes: bool
) -> None:
    left(tmp_path)
    assert not is_read(tmp_path, read, writes=writes)


def same_bytes(file: Path) -> None:
    with open(file, "r+b") as opened:
        head = opened.read(100)
        opened.seek(0)
        opened.write(head)


def touched(file: Path) -> None:
    found = os.lstat(file)
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def copied(file: Path) -> None:
    found = os.lstat(file)
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    copy.chmod(0o600)
    os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
    os.replace(copy, file)


@pytest.mark.parametrize("write", [same_bytes, touched, copied])
def test_a_file_that_was_written_to_is_read_once_and_has_a_new_stamp_then(
    tmp_path: Path, read: list[int], write: Write
) -> None:
    left(tmp_path)
    write(database(tmp_path))
    assert is_read(tmp_path, read)
    assert not is_read(tmp_path, read)


def test_a_small_file_is_read_all_the_same(
    tmp_path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    left(tmp_path)
    monkeypatch.setattr(proof, "WORTH_BYTES", 4 << 20)
    assert is_read(tmp_path, read)


def test_the_seal_of_another_store_that_lies_there_by_now_is_left_alone(tmp_path: Path) -> None:
    for name in ("one", "other"):
        left(tmp_path / name)
    touched(database(tmp_path / "one"))
    with open_store(tmp_path / "one", proves_later=True) as store:
        for file in ("store.db", "store.seal"):
            os.replace(tmp_path / "other" / file, tmp_path / "one" / file)
        before = (tmp_path / "one" / "store.seal").stat()
        store.prove()
        assert os.path.samestat(before, (tmp_path / "one" / "store.seal").stat())


def test_who_reads_only_makes_no_new_seal(tmp_path: Path, read: list[int]) -> None:
    left(tmp_path)
    touched(database(tmp_path))
    for _ in range(2):
        assert is_read(tmp_path, read, writes=False)


@pytest.mark.parametrize("writes", [True, False])
def test_what_another_program_changed_is_found_although_it_took_the_times_back(
    tmp_path: Path, read: list[int], writes: bool
) -> None:
    left(tmp_path)
    before = os.lstat(database(tmp_path))
    sql(tmp_path, "UPDATE node SET changed_at = 0")
    os.utime(database(tmp_path), ns=(before.st_atime_ns, before.st_mtime_ns))
    with (
        pytest.raises(StoreDamaged),
        open_store(tmp_path, read_only=not writes, proves_later=writes) as store,
    ):
        store.prove()
    assert read


def test_a_stamp_vouches_for_a_day(tmp_path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    left(tmp_path)
    monkeypatch.setattr(seal, "VOUCHES_SECONDS", 0.0)
    assert is_read(tmp_path, read)
    assert is_read(tmp_path, read)


def test_a_stamp_of_the_future_vouches_for_nothing(tmp_path: Path, read: list[int]) -> None:
    left(tmp_path)
    later = time.time() + 3600
    os.utime(tmp_path / "store.seal", (later, later))
    assert is_read(tmp_path, read)


def test_a_stamp_vouches_for_nothing_after_the_system_has_started_anew(
    tmp_path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before may not have come to the disk."""
    left(tmp_path)
    boot = tmp_path / "boot"
    boot.write_text("0a-1b\n")
    monkeypatch.setattr(seal, "BOOT", boot)
    assert is_read(tmp_path, read)
    assert not is_read(tmp_path, read)


def test_where_nobody_knows_when_the_system_started_every_file_is_read(
    tmp_path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seal, "BOOT", tmp_path / "nothing")
    closed_store(tmp_path)
    for _ in range(2):
        assert is_read(tmp_path, read)


def test_a_seal_as_old_as_the_last_write_vouches_for_nothing(tmp_path: Path, read: list[int]) -> None:
    """One more write in the same tick of the clock would leave the same stamp."""
    left(tmp_path)
    written = os.lstat(database(tmp_path)).st_ctime_ns
    os.utime(tmp_path / "store.seal", ns=(written, written))
    assert is_read(tmp_path, read)


def test_what_is_written_while_the_file_is_read_to_be_sealed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stamp is taken first: else it would be that of a file of which nobody knows the digest."""
    real = RawFile.digest

    def digest(raw: RawFile, *, beside: bool = False, stopped: Callable[[], bool] = lambda: False) -> bytes:
        found = real(raw, beside=beside, stopped=stopped)
        time.sleep(0.02)
        with open(database(tmp_path), "r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last[0] ^ 1]))
        time.sleep(0.02)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(RawFile, "digest", digest)
        left(tmp_path)
    with pytest.raises(StoreDamaged), open_store(tmp_path, proves_later=True) as store:
        store.prove()
