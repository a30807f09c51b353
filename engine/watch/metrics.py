"""Metrics: a look at a watch in the text format of Prometheus (0.0.4), and the small server that shows it.

Invariants
    M1  Every name is declared once (HELP, TYPE), base units, counters end in `_total`; labels are escaped,
        and no series occurs twice.
    M2  Only this machine can ask: a loopback address or a Unix socket (0600), `GET /metrics` and nothing
        else, and no `Host` that a web page elsewhere could have brought here (DNS rebinding).
    M3  A client costs one thread for REQUEST_SECONDS at most, whatever it sends or does not read; there are
        CLIENTS at most, and what it does never reaches standard error.
    M4  No name is looked up, and no connection is made from here.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from engine.errors import BadSettings, escaped
from engine.watch.progress import Progress, Spent
from engine.watch.unix_socket import listen, withdraw

if TYPE_CHECKING:
    from socketserver import BaseServer

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
STATES: Final = ("starting", "crawling", "live", "doubtful")
SILENCE_SECONDS: Final = 2.0  # of a client that has begun a request
REQUEST_SECONDS: Final = 5.0  # for a request and its answer; Prometheus gives up after 10
CLIENTS: Final = 16  # at once
POLL_SECONDS: Final = 0.25  # between two looks for clients that take too long
CLOSE_SECONDS: Final = 1.0  # to wait for answers that are being written

Sample = tuple[dict[str, str], float]


def render(progress: Progress) -> str:
    """The text that a scrape gets."""
    return "".join(
        f"# HELP engine_watch_{name} {help}\n# TYPE engine_watch_{name} {kind}\n" + "".join(lines)
        for name, kind, help, lines in _families(progress)
    )


def _families(now: Progress) -> Iterable[tuple[str, str, str, list[str]]]:
    def one(name: str, kind: str, help: str, *samples: Sample) -> tuple[str, str, str, list[str]]:
        return name, kind, help, [_line(name, labels, value) for labels, value in samples]

    states = dict.fromkeys((*STATES, now.state))
    yield one(
        "state",
        "gauge",
        "1 for the state that the file watcher is in.",
        *(({"state": state}, int(state == now.state)) for state in states),
    )
    yield one("info", "gauge", "How changes are noticed.", ({"mode": now.mode}, 1))
    for name, help, value in (
        ("revision", "The last committed revision.", now.revision),
        ("pending_paths", "Places to look at.", now.pending_paths),
        ("pending_keys", "Keys to bring up to date.", now.pending_keys),
        ("running_keys", "Keys whose functions run.", len(now.running)),
        ("failing_keys", "Keys whose value is an error.", now.failing),
        ("files", "Observed inputs that have a place.", now.observed_files),
        ("directories", "Directories with a watch on them.", now.directories),
        ("lag_seconds", "Age of the oldest change that is not yet committed.", now.lag),
        ("last_event_timestamp_seconds", "When something was reported last.", now.last_event_at),
        ("last_crawl_timestamp_seconds", "When everything was last looked at.", now.last_crawl_at),
        ("last_crawl_seconds", "How long that took.", now.last_crawl_seconds),
    ):
        yield one(name, "gauge", help, *(() if value is None else (({}, value),)))
    for name, help, value in (
        ("revisions_total", "Revisions committed.", now.revisions),
        ("crawls_total", "Times everything was looked at.", now.crawls),
        ("audited_total", "Members of tables and folds compared with what is kept.", now.audited),
        ("disagreements_total", "Differences that audits found.", now.disagreements),
        ("executed_total", "Functions run.", now.executed),
        ("cut_off_total", "Functions run whose value was equal.", now.cut_off),
        ("failed_total", "Functions run that raised.", now.failed),
        ("verified_total", "Keys proven to hold without running.", now.verified),
        ("read_total", "Observed inputs whose content was new.", now.read),
    ):
        yield one(name, "counter", help, ({}, value))
    yield "latency_seconds", "summary", "From a save to its commit, over the last revisions.", _summary(now)
    queries = _by_label(now.queries)
    yield one(
        "query_runs_total",
        "counter",
        "Runs of the slowest queries, reads of inputs included.",
        *(({"query": name}, runs) for name, (runs, _) in queries.items()),
    )
    yield one(
        "query_seconds_total",
        "counter",
        "Time of those runs.",
        *(({"query": name}, seconds) for name, (_, seconds) in queries.items()),
    )


def _summary(now: Progress) -> list[str]:
    quantiles = (("0.5", now.latency_p50), ("0.95", now.latency_p95), ("0.99", now.latency_p99))
    return [
        *(
            _line("latency_seconds", {"quantile": part}, float("nan") if value is None else value / 1000)
            for part, value in quantiles
        ),
        _line("latency_seconds_sum", {}, now.latency_sum / 1000),
        _line("latency_seconds_count", {}, now.latency_count),
    ]


def _by_label(queries: Iterable[Spent]) -> dict[str, tuple[int, float]]:
    """Runs and seconds. Two names may look the same when they are escaped: they are added up."""
    found: dict[str, tuple[int, float]] = {}
    for one in queries:
        runs, seconds = found.get(label := escaped(one.name), (0, 0.0))
        found[label] = (runs + one.count, seconds + one.total / 1000)
    return found


def _line(name: str, labels: dict[str, str], value: float) -> str:
    shown = ",".join(f'{label}="{_label(text)}"' for label, text in labels.items())
    number = str(value) if isinstance(value, int) else "NaN" if value != value else repr(round(value, 9))
    return f"engine_watch_{name}{f'{{{shown}}}' if shown else ''} {number}\n"


def _label(text: str) -> str:
    return escaped(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


# -- showing them --------------------------------------------------------------------------------


class MetricsServer:
    """Answers `GET /metrics` until it is closed. Made by `serve_metrics`."""

    def __init__(self, server: BaseServer, address: str, close_listener: Callable[[], None]) -> None:
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
            server = _server(listener, progress)
            return MetricsServer(server, f"unix:{path}", lambda: withdraw(listener, path))
        host, port = _loopback(address)
        family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
        listener = socket.create_server((str(host), port), family=family, backlog=CLIENTS)
    except OSError as error:
        raise BadSettings(
            metrics=address, reason=error.strerror or error, hint="Name another port or path."
        ) from None
    name = f"[{host}]" if host.version == 6 else str(host)
    return MetricsServer(_server(listener, progress), f"{name}:{listener.getsockname()[1]}", listener.close)


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


def _server(listener: socket.socket, progress: Callable[[], Progress]) -> BaseServer:
    from http.server import BaseHTTPRequestHandler
    from socketserver import TCPServer, ThreadingMixIn

    class Handler(BaseHTTPRequestHandler):
        timeout = SILENCE_SECONDS
        server_version = "engine"
        sys_version = ""

        def do_GET(self) -> None:
            # A web page may send its reader's browser here under another name; to a file it cannot.
            by_network = listener.family != socket.AF_UNIX
            if by_network and not _is_here(self.headers.get("Host", "")):
                self._answer(403, "text/plain", "This is shown to this machine only.\n")
            elif self.path.partition("?")[0] != "/metrics":
                self._answer(404, "text/plain", "There is only /metrics here.\n")
            else:
                self._answer(200, CONTENT_TYPE, render(progress()))

        def _answer(self, code: int, kind: str, text: str) -> None:
            body = text.encode("utf-8")
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return  # standard error belongs to the command

    class Server(ThreadingMixIn, TCPServer):
        daemon_threads = True

        def __init__(self) -> None:
            super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
            self.socket.close()  # of TCPServer's own making; the one that listens is already there
            self.socket = listener
            self._changed = threading.Condition()
            self._until: dict[socket.socket, float] = {}

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
            import sys

            # A client that goes away or is too slow is its own business; everything else is ours.
            if not isinstance(sys.exc_info()[1], OSError):
                logging.getLogger("engine").exception("metrics could not be shown")

    return Server()


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
