"""A store that may not be written is read, or refused with the cure, and reading makes nothing."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Engine
from engine.errors import StoreDamaged, StoreError, StoreForeign, StoreReadOnly, StoreUnsafe
from engine.store import Batch, open_store, opening
from tests.folders import without_privileges
from tests.stores import closed_store, command, copy, database, dump, graph

READ_ONLY_MOUNT = """
set -e
mkdir -p "$1/mount"
mount --bind "$1/s" "$1/mount"
mount -o remount,bind,ro "$1/mount"
shift
exec "$@"
"""


@pytest.mark.parametrize("has_index", [True, False])
def test_on_a_read_only_mount_the_store_is_read_and_a_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_index: bool
) -> None:
    """Without its index (-shm) a log cannot be read there; what was merged last is what is seen."""
    monkeypatch.setattr("engine.store.sqlite.CLOSE_FILE_BYTES", 0)
    probe = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("no user namespaces here: nothing can be mounted read-only")
    with open_store(tmp_path / "s") as store:
        store.write(graph(10))
        store.checkpoint()
        store.write(graph(10, revision=2))
    if not has_index:
        (tmp_path / "s/store.db-shm").unlink()
    code = """
store = open_store(Path(sys.argv[1]))
print(store.read_only, store.state.revision, len(store.nodes(range(20))), *store.notes, sep="|")
store.close()
try:
    open_store(Path(sys.argv[1]) / "none")
except StoreReadOnly as error:
    print("StoreReadOnly")
"""
    done = subprocess.run(
        [
            "unshare",
            "-Urm",
            "bash",
            "-c",
            READ_ONLY_MOUNT,
            "bash",
            tmp_path,
            *command(code, tmp_path / "mount"),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stderr == ""
    first, second = done.stdout.splitlines()
    assert first.startswith(f"True|{2 if has_index else 1}|10|The store cannot be written")
    assert ("still in its log" in first) == (not has_index)
    assert second == "StoreReadOnly"


def test_a_directory_that_cannot_be_written_falls_back_to_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root ignores mode bits, so the operating system's answer is played."""
    expected = closed_store(tmp_path)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("engine.store.opening.WriterLock.acquire", refuse)
    with open_store(tmp_path) as store:
        assert store.read_only
        assert dump(store) == expected
        assert "Permission denied" in store.notes[0]
        with pytest.raises(StoreReadOnly):
            store.write(Batch())
    with pytest.raises(StoreReadOnly):
        open_store(tmp_path / "new")


@pytest.fixture
def anybodys() -> Iterator[Path]:
    """A directory that a user without privileges may use: those of pytest belong to who runs it."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o777)
        yield Path(made)


def test_a_file_that_cannot_be_written_falls_back_to_reading(anybodys: Path) -> None:
    path = anybodys / "s"
    with without_privileges():
        expected = closed_store(path)
        database(path).chmod(0o400)
        with open_store(path) as store:
            assert store.read_only
            assert dump(store) == expected
            assert store.notes == [opening.FALLBACK.format("Permission denied")]
        database(path).chmod(0o600)
        with open_store(path) as store:
            assert not store.read_only
            store.write(graph(5, revision=9))


def test_a_directory_that_cannot_be_entered_is_refused(anybodys: Path) -> None:
    path = anybodys / "s"
    with without_privileges():
        closed_store(path)
        path.chmod(0)
        with pytest.raises(StoreReadOnly, match="Permission denied"):
            open_store(path)
        path.chmod(0o700)


@pytest.mark.parametrize("read_only", [False, True])
def test_a_path_that_is_too_long_for_sqlite_is_told_as_such(tmp_path: Path, read_only: bool) -> None:
    """It was told to check the permissions."""
    place = tmp_path.joinpath(*["a" * 100] * 5)
    place.mkdir(parents=True, mode=0o700)
    if read_only:
        closed_store(tmp_path / "short")
        copy(tmp_path / "short", place / "store")
    with pytest.raises(StoreError, match="too long"):
        open_store(place / "store", read_only=read_only)


def test_a_file_in_the_place_of_the_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(StoreForeign, match="Name another directory"):
        open_store(tmp_path / "s")
    with pytest.raises(StoreError, match="Name another store"):
        open_store(tmp_path / "s" / "t")
    assert (tmp_path / "s").read_text() == "mine"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_directory_that_others_may_write_to_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "a store"
    closed_store(path)
    path.chmod(mode)
    for read_only in (False, True):
        with pytest.raises(StoreUnsafe) as caught:
            open_store(path, read_only=read_only)
        assert f"chmod 700 '{path}'" in str(caught.value)
    path.chmod(0o700)
    open_store(path).close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_directory_or_file_of_another_user_is_refused(tmp_path: Path) -> None:
    closed_store(tmp_path / "s")
    os.chown(database(tmp_path / "s"), 12345, -1)
    with pytest.raises(StoreUnsafe):
        open_store(tmp_path / "s")
    os.chown(tmp_path / "s", 12345, -1)
    with pytest.raises(StoreUnsafe, match="chown 0"):
        open_store(tmp_path / "s")
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("mine")
    os.lchown(tmp_path / "link", 12345, -1)
    with pytest.raises(StoreUnsafe, match="symbolic link"):
        open_store(tmp_path / "link")


def test_reading_a_store_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(StoreError):
            open_store(path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_refuses_damage_and_touches_nothing(tmp_path: Path) -> None:
    closed_store(tmp_path)
    data = bytearray(database(tmp_path).read_bytes())
    data = data.replace(b"args 30", b"args 31")
    database(tmp_path).write_bytes(data)
    names = set(os.listdir(tmp_path))
    with pytest.raises(StoreDamaged):
        open_store(tmp_path, read_only=True)
    assert {"store.db-wal", "store.db-shm", *os.listdir(tmp_path)} == {"store.db-wal", "store.db-shm", *names}
    assert database(tmp_path).read_bytes() == data


def test_an_engine_that_may_not_write_its_store_says_why_and_not_that_it_was_opened_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lock: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with Engine(tmp_path / "s"):
        pass
    told = r"read_only=True\n(.*\n)*.*Open it without"
    with Engine(tmp_path / "s", read_only=True) as db, pytest.raises(StoreReadOnly, match=told):
        db.gc()
    monkeypatch.setattr("engine.store.opening.WriterLock.acquire", refuse)
    with Engine(tmp_path / "s") as db, pytest.raises(StoreReadOnly, match="Read-only file system") as refused:
        db.gc()
    assert "read_only=True" not in str(refused.value)
