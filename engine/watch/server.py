"""Server: the socket of a watch. Takes connections, reads one request from each, sends what answers it.

What a request means is not known here: `answer` turns it into messages, of which the last one ends it.

Invariants
    S1  A request is worked on in a thread of its own, at most CONNECTIONS at once; others wait in the queue
        of the kernel.
    S2  No lock of the engine is held while something is sent, so who does not read costs one thread, for
        SEND_SECONDS.
    S3  While a request is worked on, its client hears from us every PULSE_SECONDS, and is noticed when it
        goes: what was not begun is dropped. A query that runs is let run to its end, for its value is kept.
    S4  `close` takes CLOSE_SECONDS at most. A thread in which a query still runs ends with the query.

What queries print goes where the standard output of this process goes; the command that serves points it
to standard error once, for all its threads.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from typing import Any, Final, Protocol

from attrs import asdict

from engine import Counts, Engine
from engine.watch import wire
from engine.watch.unix_socket import SHORT_SECONDS, peer_user
from engine.watch.wire import Lines, Malformed, Message

CONNECTIONS: Final = 64  # threads; requests wait for one another at the engine's lock anyway
REQUEST_SECONDS: Final = 10.0  # clients write their request at once, before they wait for anything
SEND_SECONDS: Final = 10.0  # for each piece of an answer: clients do nothing but read
PULSE_SECONDS: Final = 0.5  # a fraction of what clients take for silence
CLOSE_SECONDS: Final = 0.7  # whoever stops a watch waits a second, and the engine has to close too
_SHORT_OF: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Served(Protocol):
    """What a server needs to know of a watch."""

    @property
    def db(self) -> Engine:
        """The engine that answers."""
        ...

    def sync(self, *, crawl: bool = False) -> int:
        """Return when everything saved before is seen by the next `get`; how many inputs differed."""
        ...

    def status(self) -> dict[str, Any]:
        """Figures of the watch, ready for JSON."""
        ...

    def stale_rules(self) -> tuple[str, ...]:
        """The loaded rule files whose code on disk is newer than what runs."""
        ...


Answer = Callable[[Message, Served], Generator[Message, None, None]]


class Server:
    """Serves from the moment it is made until `close`. Threads and signal handlers may call its methods.

    listener    a socket that listens; it is closed with the server, its file is left to its owner
    answer      from a request to messages. It raises nothing
    """

    def __init__(self, listener: socket.socket, served: Served, answer: Answer) -> None:
        self.served = served
        self.answer = answer
        self._listener = listener
        self._listener.setblocking(False)  # a client may be gone between `poll` and `accept`
        self._changed = threading.Condition()
        self._connections: set[_Connection] = set()
        self._accepting = True
        self._open = True
        self._asleep, self._waker = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept, name="engine-serve", daemon=True)
        self._acceptor.start()
        self._pulse = threading.Thread(target=self._keep_pulse, name="engine-serve-pulse", daemon=True)
        self._pulse.start()

    def pause(self) -> None:
        """Take no more connections; those to come wait, for us or for who inherits the listening socket."""
        with self._changed:
            if not self._accepting:
                return
            self._accepting = False
            self._changed.notify_all()
        self._waker.send(b".")
        self._acceptor.join()

    def close(self) -> None:
        """Stop serving. Requests under way lose their connection, and their clients ask elsewhere."""
        deadline = time.monotonic() + CLOSE_SECONDS
        self.pause()
        with self._changed:
            if not self._open:
                return
            self._open = False
            self._changed.notify_all()
            connections = list(self._connections)
        self._listener.close()
        for connection in connections:
            connection.end()
        self._pulse.join()
        for connection in connections:
            connection.thread.join(max(0.0, deadline - time.monotonic()))
        self._asleep.close()
        self._waker.close()

    def left(self, connection: _Connection) -> None:
        """A connection has ended."""
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    # -- threads -------------------------------------------------------------------------------

    def _accept(self) -> None:
        poller = select.poll()
        poller.register(self._listener, select.POLLIN)
        poller.register(self._asleep, select.POLLIN)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._accepting or len(self._connections) < CONNECTIONS)
                if not self._accepting:
                    return
            if any(found == self._asleep.fileno() for found, _ in poller.poll()):
                continue
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                continue
            except OSError as error:
                if error.errno not in _SHORT_OF:
                    raise
                time.sleep(SHORT_SECONDS)
                continue
            connection = _Connection(self, accepted)
            with self._changed:
                self._connections.add(connection)
                self._changed.notify_all()
            try:
                connection.thread.start()
            except RuntimeError:  # there is no thread for it: it asks again, or elsewhere
                connection.leave()
                time.sleep(SHORT_SECONDS)

    def _keep_pulse(self) -> None:
        """Tell clients that their request is worked on (S3). Asleep while there is none."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._open or self._connections)
                self._changed.wait_for(lambda: not self._open, timeout=PULSE_SECONDS)
                if not self._open:
                    return
                connections = list(self._connections)
            for connection in connections:
                connection.pulse()


class _Connection:
    """One client: reads its request, sends the answer."""

    def __init__(self, server: Server, connection: socket.socket) -> None:
        self.thread = threading.Thread(target=self._run, name="engine-serve-request", daemon=True)
        self._server = server
        self._socket = connection
        self._sending = threading.Lock()  # held while one line is sent
        self._ending = threading.Lock()  # so that `end` never meets a descriptor that is another's by now
        self._poller = select.poll()
        self._poller.register(connection, select.POLLOUT)
        self._before: Counts | None = None  # of the engine when the work began
        self._gone = False  # nobody reads any more
        self._closed = False

    def pulse(self) -> None:
        """Say that we are at it, if the answer does not say so itself; notice a client that has gone."""
        if self._before is None or not self._sending.acquire(blocking=False):
            return
        try:
            if self._closed or self._gone:
                return
            state = sum(found for _, found in self._poller.poll(0))
            if state & (select.POLLHUP | select.POLLERR):
                self._gone = True
            elif state & select.POLLOUT:
                counts = asdict(self._server.served.db.counts() - self._before)
                line = wire.encoded({"progress": counts})
                self._gone = self._socket.send(line) != len(line)
        except OSError:  # it went between the two calls
            self._gone = True
        finally:
            self._sending.release()

    def end(self) -> None:
        """Take the connection from whoever waits on it, be it for a client that does not read."""
        with self._ending:
            if not self._closed:
                self._gone = True
                with suppress(OSError):  # on some systems, where the client has gone
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            self.leave()

    def leave(self) -> None:
        """It is over: give back the descriptor, and the place among the connections."""
        with self._sending, self._ending:
            self._closed = True
            self._socket.close()
        self._server.left(self)

    def _serve(self) -> None:
        if peer_user(self._socket) not in (None, os.geteuid(), 0):
            return  # the mode of the file keeps others out; this is for a file system without modes
        try:
            request = Lines(self._socket, wire.MAX_REQUEST).next(REQUEST_SECONDS)
        except Malformed as error:
            self._send({"error": {"text": f"the request is malformed: {error}", "exit_code": 2}})
            return
        except OSError:  # it went, or says nothing: there is nobody to tell
            return
        if request is None:
            return
        differs = wire.difference(request)
        if differs:
            self._send({"refused": differs, "because": "version"})
        else:
            self._answer(request)

    def _answer(self, request: Message) -> None:
        self._before = self._server.served.db.counts()
        self._socket.settimeout(SEND_SECONDS)
        with closing(self._server.answer(request, self._server.served)) as messages:
            for message in messages:
                if not self._send(message):
                    return

    def _send(self, message: Message) -> bool:
        """Whether the client is still there."""
        line = wire.encoded(message)
        with self._sending:
            if not self._gone:
                try:
                    self._socket.sendall(line)
                except OSError:  # gone, or not reading: nobody to tell
                    self._gone = True
            return not self._gone
