"""The socket of a watch: who may ask, hostile and absent clients, many at once, and messages in pieces."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.cli.answers import answer
from engine.watch import client, server, wire
from engine.watch.client import NotServed, ask
from engine.watch.unix_socket import connect
from engine.watch.wire import Lines, Malformed, Message
from tests.patience import PATIENCE, until
from tests.threads import without_threads
from tests.watch_serving import SCRIPT, Serving, exchange, project, request_of, serving

__all__ = ["project", "serving"]  # fixtures


# -- the socket --------------------------------------------------------------------------------


def test_the_socket_is_private(serving: Serving) -> None:
    assert stat.S_IMODE((serving.store / wire.SOCKET).lstat().st_mode) == 0o600


def test_another_user_is_not_answered(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "peer_user", lambda connection: os.geteuid() + 1)
    assert exchange(serving.store, wire.encoded(request_of("none"))) == []
    assert serving.fake.synced == []


HOSTILE: list[tuple[str, bytes, int]] = [  # what is sent, and how many messages come back
    ("nothing", b"", 0),
    ("half a line", b'{"version": 1, ', 0),
    ("an empty line", b"\n", 1),
    ("binary", bytes(range(256)) * 100 + b"\n", 1),
    ("not an object", b"[1, 2]\n", 1),
    ("deep", b"[" * 1_000_000 + b"\n", 1),
    ("deep objects", b'{"a":' * 200_000 + b"\n", 1),
    ("an endless number", b'{"version": ' + b"9" * 100_000 + b"}\n", 1),
    ("10 MB of a line", b'"' + b"x" * 10_000_000 + b'"\n', 1),
    ("20 MB of a line", b"x" * 20_000_000 + b"\n", 1),
    ("a request of HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1),
]


@pytest.mark.parametrize(("line", "replies"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_garbage_is_refused_and_harms_nobody(serving: Serving, line: bytes, replies: int) -> None:
    found = exchange(serving.store, line)
    assert len(found) == replies
    for message in found:
        assert message["error"]["exit_code"] == 2
        assert message["error"]["text"].startswith("the request is malformed: ")
    assert ask(serving.store, request_of("none")).out == "None\n"


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"do": None},
        {"do": "shutdown"},
        {"do": ["run"]},
        {"do": "run"},
        {"do": "run", "place": 3},
        {"do": "run", "place": {}, "query": 3},
        {"do": "why", "key": {}},
        {"do": "sync", "crawl": "maybe"},
    ],
    ids=str,
)
def test_requests_that_make_no_sense_are_answered_so(serving: Serving, request_: Message) -> None:
    (found,) = exchange(serving.store, wire.encoded({**wire.identity(), **request_}))
    assert found["error"]["exit_code"] == 2
    assert serving.fake.synced == []


@pytest.mark.parametrize("text", ["/a\0b", "/a\ud800b"], ids=ascii)
def test_texts_that_name_no_file_make_a_request_malformed(serving: Serving, text: str) -> None:
    asked = request_of("none")
    spoiled = [{**asked, "place": {**asked["place"], name: text}} for name in ("root", "store")]
    spoiled.append({**asked, "place": {**asked["place"], "path": [text]}})
    if "\0" not in text:  # an argument may have one, and is no text but a list
        spoiled.append({**asked, "args": text})
    for request_ in spoiled:
        (found,) = exchange(serving.store, wire.encoded({**wire.identity(), **request_}))
        assert found["error"]["exit_code"] == 2
        assert found["error"]["text"].startswith("the request is malformed: ")


def test_fifty_clients_at_once_are_all_answered(serving: Serving) -> None:
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda n: ask(serving.store, request_of("echo", str(n))).out, range(200)))
    assert replies == [f"{n} 0 RED\n" for n in range(200)]


def test_more_clients_than_threads_wait_their_turn(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    now: list[Message] = []  # what is answered at the same time
    most = 0

    def counting(request: Message, served: server.Served) -> Generator[Message, None, None]:
        nonlocal most
        now.append(request)
        most = max(most, len(now))
        try:
            yield from answer(request, served)
        finally:
            now.pop()

    monkeypatch.setattr(serving.server, "answer", counting)
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda n: ask(serving.store, request_of("echo", str(n))).out, range(40)))
    assert replies == [f"{n} 0 RED\n" for n in range(40)]
    assert 1 <= most <= 3


def test_a_client_for_which_there_is_no_thread_is_sent_away_and_the_next_one_is_not(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        without_threads(patched, "engine-serve-request")
        assert exchange(serving.store, b"") == []
        until(lambda: not serving.server._connections)
    assert ask(serving.store, request_of("echo", "next")).out == "next 0 RED\n"


def test_a_client_that_says_nothing_is_dropped(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.2)
    with connect(wire.socket_path(serving.store), 120) as connection:
        connection.sendall(b'{"half":')
        assert connection.recv(1) == b""


def test_a_client_that_does_not_read_holds_up_nobody(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SEND_SECONDS", 1.0)
    with connect(wire.socket_path(serving.store), 120) as connection:
        connection.sendall(wire.encoded({**wire.identity(), **request_of("long", "100000")}))
        until(lambda: serving.fake.db.counts().executed == 1)
        assert ask(serving.store, request_of("echo", "other")).out == "other 0 RED\n"
        until(lambda: not serving.server._connections)


def test_a_hundred_megabytes_arrive_whole(serving: Serving) -> None:
    reply = ask(serving.store, {**request_of("long", "1000000"), "json": True}, silence=60)
    value = json.loads(reply.out)["value"]
    assert (len(value), value.count("x")) == (99_999_999, 99_000_000)


def test_a_client_that_goes_is_noticed_and_what_was_not_begun_is_dropped(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PULSE_SECONDS", 0.02)
    reached = threading.Event()
    go = threading.Event()
    done: list[str] = []

    def slow(request: Message, served: server.Served) -> Generator[Message, None, None]:
        reached.set()
        assert go.wait(120)
        yield {"progress": {}}
        done.append("the rest of the work")

    monkeypatch.setattr(serving.server, "answer", slow)
    with connect(wire.socket_path(serving.store), 120) as connection:
        connection.sendall(wire.encoded({**wire.identity(), "do": "status"}))
        assert reached.wait(120)
    go.set()
    until(lambda: not serving.server._connections)
    assert done == []


def test_a_request_that_takes_longer_than_the_silence_is_answered_since_it_is_heard_of(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silence is counted from word to word: any end of the whole would be past at the first of them."""
    assert server.PULSE_SECONDS < client.SILENCE_SECONDS
    monkeypatch.setattr(server, "PULSE_SECONDS", 0.05)
    waits: list[float] = []
    heard: list[Message] = []

    @contextmanager
    def patient(path: Path, seconds: float) -> Iterator[socket.socket]:
        waits.append(seconds)
        with connect(path, PATIENCE) as connection:  # of each word, however slow the machine
            yield connection

    def hear(counts: Message) -> None:
        heard.append(counts)
        if len(heard) == 5:
            (serving.store.parent / "go").touch()

    monkeypatch.setattr("engine.watch.client.connect", patient)
    reply = ask(serving.store, request_of("gated"), silence=0.001, progress=hear)
    assert reply.out == "1\n"
    assert set(heard[0]) == set(reply.last["ok"]["counts"])
    assert set(waits) == {0.001}


def test_an_interrupted_command_ends_at_once_and_its_query_is_let_finish(serving: Serving) -> None:
    command = subprocess.Popen(
        [*SCRIPT, "run", "rules.py:gated"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: serving.fake.synced == [False] and "rules" in sys.modules)
    command.send_signal(signal.SIGINT)
    assert command.communicate(timeout=600) == ("", "interrupted\n")
    assert command.returncode == 130
    (serving.store.parent / "go").touch()
    until(lambda: not serving.server._connections)


def test_closing_waits_for_no_client_and_leaves_nothing(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUEST_SECONDS", "SEND_SECONDS"):
        monkeypatch.setattr(server, name, 3600.0)  # how long it would wait for a client
    idle = [connect(wire.socket_path(serving.store), 5) for _ in range(5)]
    deaf = connect(wire.socket_path(serving.store), 5)
    deaf.sendall(wire.encoded({**wire.identity(), **request_of("long", "100000")}))
    until(lambda: serving.fake.db.counts().executed == 1)
    serving.server.close()
    serving.server.close()
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("engine-serve")])
    for connection in (*idle, deaf):
        connection.close()
    with pytest.raises(NotServed):
        ask(serving.store, request_of("none"))


# -- messages ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [[], [""], ["", ""], ["a"], ["a", "", "b"], ["x" * 1_000_000], ["y"] * 300_000, [""] * 300_000],
    ids=lambda lines: f"{len(lines)} of {len(lines[0]) if lines else 0}",
)
def test_pieces_are_small_and_make_up_the_lines(lines: list[str]) -> None:
    found = [message["out"] for message in wire.pieces(iter(lines))]
    assert "".join(found) == "".join(f"{line}\n" for line in lines)
    assert all(len(piece) <= wire.PIECE + wire.PIECE for piece in found)


def test_lines_arrive_in_any_pieces() -> None:
    messages: list[Message] = [{"n": n, "text": "é\n\ud800" * n} for n in range(40)]
    data = b"".join(map(wire.encoded, messages))
    for size in (1, 7, 1000):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            writer = threading.Thread(target=send_in_pieces, args=(theirs, data, size))
            writer.start()
            arriving = Lines(ours, 10_000)
            found = list(iter(arriving.next, None))
            writer.join()
        assert found == messages


def test_a_line_that_is_too_long_is_not_kept() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x" * 2000)
        with pytest.raises(Malformed, match="longer than 1000 bytes"):
            Lines(ours, 1000).next()


def send_in_pieces(connection: socket.socket, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        connection.sendall(data[start : start + size])
    connection.shutdown(socket.SHUT_WR)
