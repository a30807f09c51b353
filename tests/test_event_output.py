"""Events for other programs: Unix sockets, files, standard output."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from engine.errors import BadSettings
from engine.watch.event_output import CLIENTS, EventOutput, open_output, state_after
from engine.watch.events import (
    Figures,
    Revised,
    Skipped,
    Stopped,
    Trouble,
    WatchEvent,
    Watching,
)
from engine.watch.events_json import from_json, to_json
from engine.watch.subscribers import Subscribers
from engine.watch.unix_socket import connect, listen, peer_user, withdraw
from tests.telling import (
    CHECKOUT,
    EXAMPLES,
    REVISED,
    SOON,
    STARTED,
    named_threads,
    revision_of,
    skips,
    until,
    with_rounded_times,
)

# -- Unix sockets -----------------------------------------------------------------------------------


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
        thread.join(SOON)
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


# -- outputs ----------------------------------------------------------------------------------------


def test_a_file_gets_the_lines_after_those_it_has_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        write_all(open_output(str(path)), EXAMPLES)
    assert path.read_text().splitlines() == [*EXAMPLES.values()] * 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_end_of_an_output_writes_what_is_queued(tmp_path: Path) -> None:
    subscribers = Subscribers()
    output = open_output(str(tmp_path / "e"))
    output.follow(subscribers.subscribe())
    for event in skips(*range(500)):
        subscribers.publish(event)
    output.close()
    assert [from_json(line) for line in (tmp_path / "e").read_text().splitlines()] == skips(*range(500))


def test_trouble_with_a_file_is_told_once_and_what_was_lost_is_counted() -> None:
    told: list[Trouble] = []
    subscribers = Subscribers()
    output = open_output("/dev/full", tell=told.append)
    output.follow(subscribers.subscribe())
    for event in skips(1, 2, 3):
        subscribers.publish(event)
    output.close()
    assert [(one.place, one.cause) for one in told] == [
        ("/dev/full", "events cannot be written: No space left on device")
    ]
    assert not output.gone


def test_a_full_disk_costs_the_events_that_came_meanwhile_and_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Trouble] = []
    room = [10]  # bytes that can be written before the disk is full
    real_write = os.write

    def write(fd: int, data: memoryview) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real_write(fd, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr("engine.watch.event_output.os.write", write)
    subscribers = Subscribers()
    output: Any = open_output(str(tmp_path / "e"), tell=told.append)
    output.follow(subscribers.subscribe())
    for event in (Revised(4, 3, (), (), 0, (), (), Figures()), *skips(1)):
        subscribers.publish(event)
    until(lambda: output._lost == 2)
    room[0] = 1_000_000
    subscribers.publish(skips(2)[0])
    output.close()
    first, *rest = (tmp_path / "e").read_text().splitlines()
    assert first == to_json(Revised(4, 3, (), (), 0, (), (), Figures()))[:10]
    assert [from_json(line) for line in rest] == [Skipped(2, 4), *skips(2)]
    assert len(told) == 1


def test_a_reader_of_standard_output_that_goes_away_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    gone = threading.Event()
    monkeypatch.setattr("engine.watch.event_output.os.dup", lambda fd: writer)
    subscribers = Subscribers()
    output = open_output("-", on_gone=gone.set)
    output.follow(subscribers.subscribe())
    subscribers.publish(revision_of(1))
    assert from_json(os.read(reader, 10_000)) == revision_of(1)
    assert (output.gone, gone.is_set()) == (False, False)
    os.close(reader)
    assert gone.wait(SOON)  # although there is nothing to tell
    assert (output.gone, gone.is_set()) == (True, True)
    output.close()


def test_a_reader_that_takes_nothing_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr("engine.watch.event_output.os.dup", lambda fd: writer)
    monkeypatch.setattr("engine.watch.event_output.DRAIN_SECONDS", 0.05)
    subscribers = Subscribers()
    output = open_output("-")
    output.follow(subscribers.subscribe())
    for event in skips(*range(2_000)):
        subscribers.publish(event)
    output.close()
    until(lambda: not named_threads("engine-watch-events"))
    os.close(reader)


def test_standard_output_stays_that_of_the_command_when_queries_print_elsewhere() -> None:
    program = """
import os
from engine.watch.event_output import open_output
from engine.watch.events import Stopped
from engine.watch.subscribers import Subscribers
subscribers = Subscribers()
output = open_output("-")
os.dup2(2, 1)
output.follow(subscribers.subscribe())
print("from a query", flush=True)
subscribers.publish(Stopped(21, "interrupted"))
output.close()
"""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=SOON,
        check=True,
    )
    assert answer.stdout.splitlines() == [EXAMPLES[Stopped(21, "interrupted")]]
    assert answer.stderr == "from a query\n"


def test_every_client_of_a_socket_gets_the_state_of_now_and_then_every_event(tmp_path: Path) -> None:
    path = tmp_path / "s"
    subscribers = Subscribers()
    output = open_output(f"unix:{path}")
    output.follow(subscribers.subscribe())
    with connect(path, SOON) as early, connect(path, SOON) as late:
        early_lines, late_lines = lines_of(early), lines_of(late)
        subscribers.publish(STARTED)
        assert next(early_lines) == next(late_lines) == with_rounded_times(STARTED)
        subscribers.publish(REVISED)
        assert next(early_lines) == next(late_lines) == with_rounded_times(REVISED)
        with connect(path, SOON) as later:
            later_lines = lines_of(later)
            first = next(later_lines)
            assert first == attrs.evolve(STARTED, revision=8, failures=(), seconds=0.042)
            subscribers.publish(Stopped(8, "over"))
            assert [list(one) for one in (early_lines, late_lines, later_lines)] == [[Stopped(8, "over")]] * 3
    output.close()
    assert not path.exists()


def test_the_socket_of_an_output_is_private_and_taken_once(tmp_path: Path) -> None:
    output = open_output(f"unix:{tmp_path}/s")
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    with pytest.raises(BadSettings, match="another process answers there"):
        open_output(f"unix:{tmp_path}/s")
    output.close()
    output.close()
    assert os.listdir(tmp_path) == []


def test_a_client_that_is_slow_or_gone_costs_the_others_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s"
    subscribers = Subscribers()
    output = open_output(f"unix:{path}")
    output.follow(subscribers.subscribe())
    subscribers.publish(STARTED)
    with connect(path, SOON) as stuck, connect(path, SOON) as good:
        stuck_lines, good_lines = lines_of(stuck), lines_of(good)
        assert next(stuck_lines) == next(good_lines)
        with connect(path, SOON) as gone:
            assert next(lines_of(gone)) is not None
        big = "x" * 10_000
        for number in range(1_500):
            subscribers.publish(Watching("live", big, str(number)))
            assert next(good_lines) == Watching("live", big, str(number))
        subscribers.publish(Stopped(7, ""))
        assert list(good_lines) == [Stopped(7, "")]
        rest = list(stuck_lines)
        skipped = [event for event in rest if isinstance(event, Skipped)]
        assert len(skipped) == 1
        assert rest[-1] == Stopped(7, "")
        assert skipped[0].events + len(rest) - 1 == 1_501
    output.close()
    until(lambda: not named_threads("engine-watch-events"))


def test_more_clients_than_a_socket_takes_are_turned_away(tmp_path: Path) -> None:
    path = tmp_path / "s"
    subscribers = Subscribers()
    output = open_output(f"unix:{path}")
    output.follow(subscribers.subscribe())
    subscribers.publish(STARTED)
    clients = []
    for _ in range(CLIENTS):
        client = connect(path, SOON)
        clients.append(client)
        assert client.recv(10) != b""
    with connect(path, SOON) as more:
        assert more.recv(10) == b""
    for client in clients:
        client.close()
    output.close()


def test_a_client_may_close_its_sending_side(tmp_path: Path) -> None:
    """As `nc -U` does when its standard input ends."""
    subscribers = Subscribers()
    output = open_output(f"unix:{tmp_path}/s")
    output.follow(subscribers.subscribe())
    with connect(tmp_path / "s", SOON) as client:
        client.shutdown(socket.SHUT_WR)
        subscribers.publish(STARTED)
        received = lines_of(client)
        next(received)
        subscribers.publish(Stopped(7, ""))
        assert list(received) == [Stopped(7, "")]
    output.close()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "No such file"),
        (".", "Is a directory"),
        ("no/such/folder", "No such file"),
        ("a\0b", "null (byte|character)"),  # the latter since 3.13
        ("unix:", "not a socket"),
        ("unix:no/such/folder", "No such file"),
        (f"unix:{'n' * 200}", "too long"),
    ],
)
def test_an_output_that_cannot_be_opened_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSettings, match=reason):
        open_output(text)


def test_a_fifo_without_a_reader_is_refused_and_one_that_loses_its_reader_is_trouble(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(BadSettings, match="Start the reader"):
        open_output(str(path))
    told: list[Trouble] = []
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    subscribers = Subscribers()
    output = open_output(str(path), tell=told.append)
    output.follow(subscribers.subscribe())
    os.close(reader)
    subscribers.publish(skips(1)[0])
    output.close()
    assert [one.cause for one in told] == ["events cannot be written: Broken pipe"]


def test_the_state_of_now_follows_the_events() -> None:
    assert state_after(None, REVISED) is None
    assert state_after(None, STARTED) == STARTED
    after = state_after(STARTED, REVISED)
    assert after == attrs.evolve(STARTED, revision=8, failures=())
    assert state_after(after, skips(1)[0]) == after


# -- what they use ----------------------------------------------------------------------------------


def write_all(output: EventOutput, events: Any) -> None:
    subscribers = Subscribers()
    output.follow(subscribers.subscribe())
    for event in events:
        subscribers.publish(event)
    output.close()


def lines_of(client: socket.socket) -> Iterator[WatchEvent]:
    with client.makefile("rb") as file:
        for line in file:
            yield from_json(line)
