"""Metrics server: shows a look at a watch to this machine, and to nobody else.

Invariants
    M1  Only this machine can ask: a loopback address or a Unix socket (0600), `GET /metrics` and nothing
        else, and no `Host` that a web page elsewhere could have brought here (DNS rebinding).
    M2  A client costs one thread for REQUEST_SECONDS at most, whatever it sends or does not read; there are
        CLIENTS at most, and what it does never reaches standard error.
    M3  No name is looked up, and no connection is made from here.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final

from engine.errors import BadSettings
from engine.watch.metrics import CONTENT_TYPE, render
from engine.watch.progress import Progress
from engine.watch.unix_socket import SHORT_SECONDS, listen, withdraw

SILENCE_SECONDS: Final = 2.0  # of a client that has begun a request
REQUEST_SECONDS: Final = 5.0  # for a request and its answer; Prometheus gives up after 10
CLIENTS: Final = 16  # at once
POLL_SECONDS: Final = 0.25  # between two looks for clients that take too long
CLOSE_SECONDS: Final = 1.0  # to wait for answers that are being written


class MetricsServer:
    """Answers `GET /metrics` until it is closed. Made by `serve_metrics`."""

    def __init__(self, server: _Server, address: str, close_listener: Callable[[], None]) -> None:
        self._server = server
        self.address = address  # as it can be given to a client: `127.0.0.1:9464`, `unix:/run/x`
        self._close_listener = close_listener
        self._closed = False
        self._thread = threading.Thread(
            target=server.serve_forever,
            kwargs={"poll_interval": POLL_SECONDS},
            name="engine-watch-metrics",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Free the port, or remove the socket's file. Takes about a second at most."""
        if self._closed:
            return
        self._closed = True
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        try:
            self._close_listener()
        except OSError as error:
            logging.getLogger("engine").warning("%s could not be removed: %s", self.address, error.strerror)

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def serve_metrics(address: str, progress: Callable[[], Progress]) -> MetricsServer:
    """Show `progress` at `PORT`, `HOST:PORT` (loopback only, port 0 for any free one), or `unix:PATH`.

    BadSettings: it is no such address, or taken.
    """
    try:
        if address.startswith("unix:"):
            path = os.path.abspath(address.removeprefix("unix:"))
            listener = listen(path)
            server = _Server(listener, progress)
            return MetricsServer(server, f"unix:{path}", lambda: withdraw(listener, path))
        host, port = _loopback(address)
        family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
        listener = socket.create_server((str(host), port), family=family, backlog=CLIENTS)
    except OSError as error:
        raise BadSettings(
            metrics=address, reason=error.strerror or error, hint="Name another port or path."
        ) from None
    name = f"[{host}]" if host.version == 6 else str(host)
    return MetricsServer(_Server(listener, progress), f"{name}:{listener.getsockname()[1]}", listener.close)


def _loopback(address: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host in ("", "localhost") and not address.startswith(":") else host
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
        raise BadSettings(
            metrics=address, reason="there is no port in it", hint="Name PORT, 127.0.0.1:PORT or unix:PATH."
        )
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        found = None
    if found is None or not found.is_loopback:
        raise BadSettings(
            metrics=address,
            reason=f"{host or 'every address'} is not a loopback address",
            hint="Only this machine may ask: name PORT, 127.0.0.1:PORT, [::1]:PORT or unix:PATH.",
        )
    return found, int(port)


class Handler(BaseHTTPRequestHandler):
    timeout = SILENCE_SECONDS
    server_version = "engine"
    sys_version = ""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, _Server), "it is made by no other"
        # A web page may send its reader's browser here under another name; to a file it cannot.
        by_network = server.socket.family != socket.AF_UNIX
        if by_network and not _is_here(self.headers.get("Host", "")):
            self._answer(403, "text/plain", "This is shown to this machine only.\n")
        elif self.path.partition("?")[0] != "/metrics":
            self._answer(404, "text/plain", "There is only /metrics here.\n")
        else:
            self._answer(200, CONTENT_TYPE, render(server.progress()))

    def _answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode("utf-8")
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return  # standard error belongs to the command


class _Server(ThreadingMixIn, TCPServer):
    daemon_threads = True

    def __init__(self, listener: socket.socket, progress: Callable[[], Progress]) -> None:
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.socket.close()  # of TCPServer's own making; the one that listens is already there
        self.socket = listener
        self.progress = progress
        self._changed = threading.Condition()
        self._until: dict[socket.socket, float] = {}

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            time.sleep(SHORT_SECONDS)  # out of descriptors: the client is still there, and so is `select`
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._changed:
            if len(self._until) >= CLIENTS:
                return False
            self._until[request] = time.monotonic() + REQUEST_SECONDS
            return True

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._until.pop(request, None)
            self._changed.notify_all()

    def service_actions(self) -> None:
        self._cut_off(time.monotonic())

    def _cut_off(self, now: float) -> None:
        with self._changed:
            for request, until in self._until.items():
                if until < now:
                    _end(request)

    def server_close(self) -> None:
        super().server_close()
        self._cut_off(float("inf"))
        with self._changed:
            self._changed.wait_for(lambda: not self._until, CLOSE_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that goes away or is too slow is its own business; everything else is ours.
        if not isinstance(sys.exc_info()[1], OSError):
            logging.getLogger("engine").exception("metrics could not be shown")


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended already


def _is_here(host: str) -> bool:
    """Whether a `Host` header names this machine in a way that no name server had a say in."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
