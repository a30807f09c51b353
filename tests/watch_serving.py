"""Watch serving: a watch that does nothing by itself serves the store of a small project, for tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine import Engine
from engine.cli.answers import answer
from engine.watch import wire
from engine.watch.server import Server
from engine.watch.unix_socket import connect, listen, withdraw
from engine.watch.wire import Lines, Message
from tests.patience import PATIENCE, until
from tests.small_project import working_in, write_project
from tests.watch_process import PATIENT

ROOT = Path(__file__).resolve().parent.parent
START = "import sys; sys.path.insert(0, {!r}); from engine.__main__ import main; main()"
SCRIPT = [sys.executable, "-P", "-c", START.format(str(ROOT))]

RULES = """
@query
def both() -> int:
    return lines("a.txt") + lines("b.txt")

@query
def noisy() -> str:
    print("printed by a query")
    return "one\\n\\x1b[31mtwo\\u202e\\n\\ngr\\xfc\\xdfe \\U0001f600"

@query
def mixed() -> dict[str, object]:
    return {"b": (1, 2.5, None), "a": {"x": True}, "color": Color.BLUE, "nan": float("nan"), "big": 10**400}

@query
def nothing() -> str:
    return ""

@query
def none() -> None:
    return None

@query
def empties() -> tuple[str, ...]:
    return ("", "", "x", "")

@query
def long(count: int) -> str:
    return "\\n".join("x" * 99 for _ in range(count))

@query
def fails(n: int) -> int:
    raise ValueError(f"\\x1b[31m {n}")

@query
def above(n: int) -> int:
    return fails(n) + 1

@query
def unkeyable() -> int:
    return fails([print])

@query
def loop() -> int:
    return other_loop()

@query
def other_loop() -> int:
    return loop()

@query
def gated() -> int:
    while not os.path.exists("go"):
        time.sleep(0.01)
    return 1
"""


class Fake:
    """A watch that does nothing by itself."""

    def __init__(self, db: Engine) -> None:
        self.db = db
        self.synced: list[bool] = []  # `crawl` of each call
        self.stale = 0  # how many times yet rules are outdated

    def sync(self, *, crawl: bool = False) -> int:
        self.synced.append(crawl)
        return self.db.sync()

    def status(self) -> dict[str, Any]:
        return {"state": "live", "watched": ["rules:report"], "latency": {"p50": 1.25}}

    def stale_rules(self) -> tuple[str, ...]:
        self.stale -= 1
        return ("rules.py",) if self.stale >= 0 else ()


class Serving(NamedTuple):
    fake: Fake
    server: Server
    store: Path


@contextmanager
def served(project: Path) -> Iterator[Serving]:
    """A fake watch that serves the project's store."""
    store = project / ".engine"
    threads = set(threading.enumerate())
    with Engine(store, root=project) as db:
        fake = Fake(db)
        listener = listen(wire.socket_path(store))
        serves = Server(listener, fake, answer)
        try:
            yield Serving(fake, serves, store)
        finally:
            serves.close()
            withdraw(listener, wire.socket_path(store))
    until(lambda: set(threading.enumerate()) <= threads)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    write_project(tmp_path, RULES)
    with working_in(tmp_path, monkeypatch):
        yield tmp_path


@pytest.fixture
def serving(project: Path) -> Iterator[Serving]:
    with served(project) as found:
        yield found


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run([*PATIENT, *arguments], capture_output=True, text=True, timeout=600, cwd=cwd)


def by_watch(found: subprocess.CompletedProcess[str]) -> bool:
    return found.stderr.endswith(", by the watch\n")


def request_of(query: str, *args: str) -> Message:
    """A request to run a query of rules.py in the working directory."""
    here = os.getcwd()
    place = {"root": here, "store": f"{here}/.engine", "rules": [], "path": [here]}
    return {
        "do": "run",
        "place": {**place, "workers": 1, "strict": False, "depth_limit": 50_000},
        "query": f"{here}/rules.py:{query}",
        "args": args,
        "named": [],
        "json": False,
        "indent": None,
        "sync": "yes",
    }


def exchange(store: Path, line: bytes) -> list[Message]:
    """Send bytes, end, and read what comes back."""
    with connect(wire.socket_path(store), PATIENCE) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before its end
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
        found: list[Message] = []
        with suppress(ConnectionResetError):
            found.extend(iter(Lines(connection, 1 << 20).next, None))
        return found
