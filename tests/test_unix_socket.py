"""A Unix socket is its owner's alone, and taken over only from who is dead."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from engine.watch.unix_socket import connect, listen, peer_user, withdraw
from tests.patience import PATIENCE


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_socket_is_ours_alone_whatever_the_umask_is(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "s"
    before = os.umask(umask)
    try:
        listener = listen(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.lstat().st_mode) == 0o600
    withdraw(listener, path)
    assert not path.exists()


def test_what_a_dead_process_left_is_replaced_and_what_answers_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    left = listen(path)
    with pytest.raises(OSError, match="answers") as caught:
        listen(path)
    assert caught.value.errno == errno.EADDRINUSE
    left.close()  # as a killed process does: the file stays
    with pytest.raises(ConnectionRefusedError):
        connect(path, 1.0)
    listener = listen(path)
    with connect(path, 1.0) as client:
        assert peer_user(client) in (None, os.geteuid())
    withdraw(listener, path)


def test_a_socket_is_not_withdrawn_under_who_took_it_over(tmp_path: Path) -> None:
    path = tmp_path / "s"
    old = listen(path)
    path.unlink()
    new = listen(path)
    withdraw(old, path)
    with connect(path, 1.0):
        pass
    withdraw(new, path)
    assert not path.exists()
    withdraw(new, path)


def test_of_many_who_listen_at_once_one_does(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen(path).close()
    got: list[socket.socket] = []
    refused: list[int | None] = []
    start = threading.Barrier(8)

    def attempt() -> None:
        start.wait()
        try:
            got.append(listen(path))
        except OSError as error:
            refused.append(error.errno)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(got) == 1
    assert refused == [errno.EADDRINUSE] * 7
    withdraw(got[0], path)


def test_a_path_may_be_longer_than_an_address(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120) / ("é\udcff" * 20)
    folder.mkdir(parents=True)
    path = folder / "s"
    listener = listen(path)
    with connect(path, 1.0) as client:
        answer, _ = listener.accept()
        with answer:
            answer.sendall(b"yes")
            assert client.recv(3) == b"yes"
    with pytest.raises(OSError, match="answers"):
        listen(path)
    withdraw(listener, path)
    assert os.listdir(folder) == []


def test_nothing_but_a_socket_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("s")
    listener = listen(tmp_path / "s")
    for name in ("file", "link", "."):
        with pytest.raises(OSError, match="not"):
            listen(f"{tmp_path}/{name}")
    for name in ("", "\0abstract", "no/such/folder", "n" * 300):
        with pytest.raises(OSError, match=r"."):
            listen(tmp_path / name if name else name)
    withdraw(listener, tmp_path / "s")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_queue_is_waited_for_only_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("s")  # an address has 107 bytes
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(0)
    with listener, socket.socket(socket.AF_UNIX) as first:
        first.connect(str(path))
        with pytest.raises(TimeoutError):
            connect(path, 0.05)
        with pytest.raises(OSError, match="answers"):
            listen(path)
