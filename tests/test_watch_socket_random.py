"""Random clients of a watch: what they send, leave half sent and do not read harms nobody who asks.

CLIENTS=5000 has so many of them.
"""

from __future__ import annotations

import json
import os
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from engine.cli.report import BUG
from engine.watch import server, wire
from engine.watch.client import ask, sync
from engine.watch.unix_socket import connect
from tests.patience import until
from tests.watch_serving import Serving, project, request_of, served

__all__ = ["project"]  # a fixture

CLIENTS = int(os.environ.get("CLIENTS", "250"))
STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 1.5, 10**400, "", "\0", "\ud800", "x" * 1_000),
    *([], ["a"], {}, {"a": {"b": []}}),
)


class Clients:
    """Each method is one client; what it keeps open is closed by a later one."""

    def __init__(self, serving: Serving, seed: int) -> None:
        self.store = serving.store
        self.random = random.Random(seed)
        self.open: list[socket.socket] = []
        self.saved = 0

    def come(self) -> str:
        """One client, and which."""
        name = self.random.choice([name for name in dir(self) if name.startswith("do_")])
        getattr(self, name)()
        while len(self.open) > self.random.randrange(12):
            self.open.pop(self.random.randrange(len(self.open))).close()
        return name

    def line(self) -> bytes:
        return wire.encoded({**wire.identity(), **self.request()})

    def request(self) -> wire.Message:
        choose = self.random.choice
        match self.random.randrange(6):
            case 0:
                return {"do": choose(("status", "sync"))}
            case 1:
                place = request_of("none")["place"]
                key = choose(("rules:report()", "rules:none()", "nothing()"))
                return {"do": choose(("why", "deps", "rdeps")), "place": place, "key": key, "args": []}
            case 2:
                return request_of("long", choose(("0", "10", "30000")))
            case 3:
                return request_of("fails", str(self.random.randrange(5)))
            case 4:
                return request_of("echo", str(self.random.randrange(100)))
            case _:
                return request_of(choose(("report", "mixed", "noisy", "loop", "nonsense")))

    def spoiled(self, value: Any) -> Any:
        """A value in which some things are others, or are missing."""
        if self.random.random() < 0.1:
            return self.random.choice(STRANGE)
        if isinstance(value, dict):
            kept = {name: one for name, one in value.items() if self.random.random() > 0.03}
            return {
                name: self.spoiled(one) if self.random.random() < 0.3 else one for name, one in kept.items()
            }
        if isinstance(value, list | tuple):
            return [self.spoiled(one) for one in value]
        return value

    def sent(self, data: bytes) -> socket.socket:
        """A connection on which as much was sent as was taken; it stays open for now."""
        connection = connect(wire.socket_path(self.store), 120)  # also where the path is long
        self.open.append(connection)
        try:
            connection.sendall(data)
        except (BrokenPipeError, ConnectionResetError):  # refused before its end
            return connection
        return connection

    def heard(self, connection: socket.socket) -> list[bytes]:
        """The lines that come back until the end; all are whole."""
        found = b""
        try:
            while piece := connection.recv(1 << 16):
                found += piece
        except ConnectionResetError:  # there was more of the request than was read
            return found.split(b"\n")[:-1]
        assert found.endswith(b"\n")
        return found.split(b"\n")[:-1]

    # -- clients -------------------------------------------------------------------------------

    def do_ask(self) -> None:
        self.saved += 1
        Path("a.txt").write_text("line\n" * self.saved)
        if self.random.random() < 0.5:
            found = ask(self.store, request_of("lines", "a.txt"))
        else:
            sync(self.store)
            found = ask(self.store, {**request_of("lines", "a.txt"), "sync": "no"})
        assert found.out == f"{self.saved}\n", "older than its own sync"

    def do_go_at_once(self) -> None:
        self.sent(self.line()).close()

    def do_go_unheard(self) -> None:
        self.sent(self.line()).shutdown(socket.SHUT_RD)

    def do_stop_amid_the_line(self) -> None:
        line = self.line()
        self.sent(line[: self.random.randrange(len(line))])

    def do_end_amid_the_line(self) -> None:
        line = self.line()
        connection = self.sent(line[: self.random.randrange(1, len(line) - 1)])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""

    def do_say_nothing(self) -> None:
        self.sent(b"")

    def do_not_read(self) -> None:
        self.sent(wire.encoded({**wire.identity(), **request_of("long", "30000")}))

    def do_send_garbage(self) -> None:
        garbage = self.random.randbytes(self.random.randrange(300)).replace(b"\n", b"") + b"\n"
        (line,) = self.heard(self.sent(garbage))
        assert b"malformed" in line

    def do_send_too_much(self) -> None:
        self.sent(b"x" * self.random.choice((1 << 16, 1 << 20, (16 << 20) + 1)))

    def do_send_two(self) -> None:
        self.heard(self.sent(self.line() + self.line()))

    def do_send_in_pieces(self) -> None:
        line = self.line()
        middle = self.random.randrange(len(line))
        connection = self.sent(line[:middle])
        connection.sendall(line[middle:])
        assert json.loads(self.heard(connection)[-1]).keys() & {"ok", "error", "refused"}

    def do_send_what_makes_no_sense(self) -> None:
        asked = {**wire.identity(), **{name: self.spoiled(one) for name, one in self.request().items()}}
        last = json.loads(self.heard(self.sent(json.dumps(asked).encode() + b"\n"))[-1])
        assert BUG not in str(last.get("error")), (asked, last)


@pytest.mark.limit(60 + CLIENTS)
@pytest.mark.parametrize("seed", range(2))
def test_random_clients_harm_nobody_and_leave_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    for name in ("REQUEST_SECONDS", "SEND_SECONDS"):
        monkeypatch.setattr(server, name, 0.5)
    with served(project) as serving:
        before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        clients = Clients(serving, seed)
        for _ in range(CLIENTS // 2):
            clients.come()
        clients.do_ask()
        for connection in clients.open:
            connection.close()
        until(lambda: not serving.server._connections)
        if before:
            assert len(os.listdir("/proc/self/fd")) <= before
    assert not caplog.records
