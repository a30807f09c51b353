"""Serving: processes that stay and do the actions of a build tool, so that no step starts an interpreter.

As build tools call them persistent workers. They end when the build ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers import actions

WORKERS = os.cpu_count() or 1


def compiled(state: str) -> str:
    """The client program, compiled into the state; its path."""
    os.makedirs(state, exist_ok=True)
    program = f"{state}/client"
    source = Path(__file__).parent / "client.c"
    subprocess.run([compiler() or "cc", "-O2", "-o", program, str(source)], check=True)
    return program


def compiler() -> str | None:
    """The C compiler of this machine."""
    return shutil.which("cc") or shutil.which("gcc")


@contextmanager
def served(path: str) -> Iterator[None]:
    """Workers for the time of a build, behind a socket; a path of at most 100 bytes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    workers = [_forked(listener) for _ in range(WORKERS)]
    listener.close()
    try:
        yield
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGTERM)
            os.waitpid(worker, 0)
        os.unlink(path)


def _forked(listener: socket.socket) -> int:
    child = os.fork()
    if not child:
        _work(listener)
    return child


def _work(listener: socket.socket) -> None:
    while True:
        line, _ = listener.accept()
        with line:
            words = _received(line).decode("utf-8", "surrogateescape").split("\0")
            try:
                perform(*words[:-1])
                line.send(b"0")
            except Exception:  # whatever it is, the build has to fail and to say why
                traceback.print_exc(file=sys.stdout)
                line.send(b"1")


def _received(line: socket.socket) -> bytes:
    return b"".join(iter(lambda: line.recv(65536), b""))


def perform(what: str, root: str, state: str, path: str = "") -> None:
    """One action."""
    if what == "summarise":
        actions.summarise(root, state, path)
    elif what == "resolve":
        actions.resolve_with_list(state, path)
    elif what == "index":
        actions.make_index(state, actions.listed(state))
    else:
        raise ValueError(f"no such action: {what}")
