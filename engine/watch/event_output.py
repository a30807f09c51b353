"""Event output: the JSON lines of a watch, for other programs: on standard output, in a file, on a socket.

Invariants
    O1  Nothing here is waited for by the engine: every line is written by a daemon thread from a mailbox.
    O2  What could not be written is counted, and the next line that can be written is a `skipped`.
    O3  A client of the socket gets one `started` with the state of now first, and then every event: what
        it reads is complete, whenever it came.
    O4  A client that is slow loses events with a `skipped`, one that is gone is dropped; no other notices.
    O5  `close` writes what is still queued, for at most DRAIN_SECONDS, and removes the socket's file.
    O6  Files and sockets are made 0600. An existing file is appended to, never cut.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

import attrs

from engine.errors import BadSettings
from engine.watch.events import Revised, Skipped, Started, Trouble, WatchEvent
from engine.watch.events_json import to_json
from engine.watch.subscribers import Mailbox, Subscribers
from engine.watch.unix_socket import listen, withdraw

DRAIN_SECONDS: Final = 1.0  # Ctrl-C has to end a watch within about a second
LOOK_SECONDS: Final = 1.0  # between two looks whether an idle reader is still there
STEP_SECONDS: Final = 0.1  # between two looks whether to give up on a reader that takes nothing
PIECE_BYTES: Final = 4096  # PIPE_BUF of Linux: a pipe that polls as writable takes so much at once
CLIENTS: Final = 64  # of one socket; each costs a thread and a mailbox

Tell = Callable[[Trouble], object]


class EventOutput(Protocol):
    """Where the events of one watch are written to."""

    def follow(self, mailbox: Mailbox) -> None:
        """Write the events of this mailbox from now on, in a thread. Once."""

    @property
    def gone(self) -> bool:
        """Whether the reader of standard output has gone, so that nobody wants the watch any more."""
        ...

    def close(self) -> None:
        """Write what is queued, and end. Takes a bit more than DRAIN_SECONDS at most."""


def open_output(
    text: str, *, tell: Tell | None = None, on_gone: Callable[[], object] | None = None
) -> EventOutput:
    """The output that `text` names: `-` for standard output, `unix:PATH`, or the path of a file.

    tell        called once for each bout of trouble with the file or the socket, from the output's thread
    on_gone     called once when the reader of standard output has gone

    BadSettings: it cannot be opened.
    """
    try:
        if text == "-":
            # Our own descriptor: the command sends what queries print to standard error meanwhile.
            return _Lines(os.dup(1), "standard output", tell, on_gone or _nothing)
        if text.startswith("unix:"):
            return _SocketOutput(os.path.abspath(text.removeprefix("unix:")), tell)
        return _Lines(_open_file(text), text, tell, None)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadSettings(events=text, reason=reason, hint=_hint(error)) from None


def _nothing() -> None:
    return


def _open_file(path: str) -> int:
    # O_NONBLOCK: a FIFO that nobody reads says so instead of waiting. Files do not know it.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    return os.open(path, flags, 0o600)


def _hint(error: Exception) -> str:
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return "Name another path, or connect to that one."
        case errno.ENXIO:
            return "Start the reader of this FIFO first."
        case errno.EEXIST:
            return "Name a path where nothing lies, or an old socket."
    return "Name `-`, a file, or `unix:PATH`."


class _Abandoned(Exception):
    """The output was closed while its reader took nothing."""


class _Lines:
    """Events of a mailbox as lines into one descriptor, which it owns.

    on_gone     None: a reader that has gone is trouble like any other, and may come back
    """

    def __init__(self, fd: int, place: str, tell: Tell | None, on_gone: Callable[[], object] | None) -> None:
        self._fd = fd
        self._place = place
        self._tell = tell
        self._on_gone = on_gone
        self._piece = None if stat.S_ISREG(os.fstat(fd).st_mode) else PIECE_BYTES
        self._mailbox: Mailbox | None = None
        self._thread: threading.Thread | None = None
        self._abandoned = threading.Event()
        self._torn = False  # the last line was written in part
        self._lost = 0
        self._revision = 0
        self._told = False
        self.gone = False

    def follow(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        thread = threading.Thread(target=self._run, name="engine-watch-events", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            mailbox.close()
            self._close_fd()
            raise
        self._thread = thread

    def close(self) -> None:
        self.finish()
        self.wait(time.monotonic() + DRAIN_SECONDS)
        self.abandon()
        self.wait(time.monotonic() + 2 * STEP_SECONDS)

    def finish(self) -> None:
        """Take no more events; the thread ends when it has written those that are here."""
        if self._mailbox is not None:
            self._mailbox.finish()
        else:
            self._close_fd()

    def wait(self, deadline: float) -> None:
        """For the end of the thread, after `finish`. Not inside of it: there it ends by itself."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def abandon(self) -> None:
        """Give up on a reader that takes nothing."""
        self._abandoned.set()

    @property
    def ended(self) -> bool:
        """Whether its thread is done."""
        return self._thread is not None and not self._thread.is_alive()

    # -- its thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        assert self._mailbox is not None
        try:
            with self._mailbox as mailbox:
                while not self.gone:
                    try:
                        event = mailbox.get(LOOK_SECONDS)
                    except TimeoutError:
                        self._look()
                        continue
                    if event is None:
                        break
                    self._write_event(event)
        except _Abandoned:
            return
        finally:
            self._close_fd()
        if self.gone and self._on_gone is not None:
            self._on_gone()

    def _write_event(self, event: WatchEvent) -> None:
        try:
            if self._lost:
                self._write_line(to_json(Skipped(self._lost, self._revision)))
                self._lost = 0
            self._write_line(to_json(event))
            self._told = False
        except OSError as error:
            if self._on_gone is not None and error.errno in (errno.EPIPE, errno.ECONNRESET):
                self.gone = True
                return
            self._lost += event.events if isinstance(event, Skipped) else 1
            self._revision = getattr(event, "revision", self._revision)
            self._complain(error)

    def _write_line(self, line: str) -> None:
        # A line that was cut by a full disk is ended first, so that this one is whole.
        rest = memoryview((("\n" if self._torn else "") + line + "\n").encode("ascii"))
        while rest:
            self._wait_until_writable()
            try:
                written = os.write(self._fd, rest[: self._piece])
            except BlockingIOError:
                self._abandoned.wait(STEP_SECONDS)
                continue
            self._torn = rest[written - 1] != ord("\n")
            rest = rest[written:]

    def _wait_until_writable(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        while not poll.poll(STEP_SECONDS * 1000):
            if self._abandoned.is_set():
                raise _Abandoned

    def _look(self) -> None:
        """Notice a reader that went away while there was nothing to tell."""
        if self._on_gone is None:
            return
        poll = select.poll()
        poll.register(self._fd, 0)
        self.gone = bool(poll.poll(0))

    def _complain(self, error: OSError) -> None:
        if self._told or self._tell is None:
            return
        self._told = True
        reason = error.strerror or str(error)
        self._tell(
            Trouble(
                place=self._place,
                cause=f"events cannot be written: {reason}",
                remedy="They are counted, and written again as soon as that works.",
            )
        )

    def _close_fd(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class _SocketOutput:
    """Events for everybody who connects to a Unix socket."""

    gone = False

    def __init__(self, path: str, tell: Tell | None) -> None:
        self._path = path
        self._tell = tell
        self._listener = listen(path)
        self._lock = threading.Lock()  # an event comes to all clients before or after a new one, not amid
        self._subscribers = Subscribers()
        self._clients: list[_Lines] = []
        self._now: Started | None = None
        self._mailbox: Mailbox | None = None
        self._threads: list[threading.Thread] = []
        self._ending = threading.Event()

    def follow(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        for name, target in (("events", self._pass_on), ("clients", self._accept)):
            self._threads.append(threading.Thread(target=target, name=f"engine-watch-{name}", daemon=True))
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        if self._ending.is_set():
            return
        deadline = time.monotonic() + DRAIN_SECONDS
        if self._mailbox is not None:
            self._mailbox.finish()
        for thread in self._threads[:1]:
            thread.join(DRAIN_SECONDS)  # it only copies: it never waits for a client
        self._ending.set()
        try:
            withdraw(self._listener, self._path)  # this ends `accept`, too
        except OSError as error:
            self._complain(f"its file could not be removed: {error.strerror}")
        for thread in self._threads[1:]:
            thread.join(DRAIN_SECONDS)
        for client in self._clients:
            client.finish()
        for client in self._clients:
            client.wait(deadline)
        for client in self._clients:
            client.abandon()
        for client in self._clients:
            client.wait(deadline + 2 * STEP_SECONDS)

    # -- its threads -----------------------------------------------------------------------------

    def _pass_on(self) -> None:
        assert self._mailbox is not None
        with self._mailbox as mailbox:
            for event in mailbox:
                with self._lock:
                    self._now = state_after(self._now, event)
                    self._subscribers.publish(event)

    def _accept(self) -> None:
        told = False
        while not self._ending.is_set():
            try:
                connection, _ = self._listener.accept()
                self._welcome(connection)
                told = False
            except (OSError, RuntimeError) as error:
                if not self._ending.is_set() and not told:
                    told = True
                    self._complain(f"a client could not connect: {getattr(error, 'strerror', error)}")
                # Out of descriptors the client waits in the queue, out of threads it may come again at once.
                self._ending.wait(STEP_SECONDS)

    def _welcome(self, connection: socket.socket) -> None:
        self._clients = [client for client in self._clients if not client.ended]
        if len(self._clients) >= CLIENTS:
            connection.close()
            return
        connection.setblocking(False)
        client = _Lines(connection.detach(), self._path, None, _nothing)
        with self._lock:
            mailbox = self._subscribers.subscribe(first=() if self._now is None else (self._now,))
        client.follow(mailbox)
        self._clients.append(client)

    def _complain(self, cause: str) -> None:
        if self._tell is not None:
            self._tell(Trouble(place=self._path, cause=cause))


def state_after(now: Started | None, event: WatchEvent) -> Started | None:
    """The `Started` that says what is right after `event`: for who comes later. None: nothing is yet."""
    match event:
        case Started():
            return event
        case Revised() if now is not None:
            return attrs.evolve(now, revision=event.revision, failures=event.failures)
    return now
