"""Metrics: the text, and the server that shows it to this machine only."""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadSettings
from engine.event import What
from engine.watch.metrics import render
from engine.watch.metrics_server import MetricsServer, serve_metrics
from engine.watch.progress_tracker import ProgressTracker
from engine.watch.unix_socket import connect
from tests.patience import PATIENCE, until
from tests.telling import CHECKOUT, REVISED, STARTED, named_threads


def test_metrics_are_well_formed_and_say_what_the_tracker_knows() -> None:
    tracker = ProgressTracker(running=lambda: ("k",), clock=lambda: 1_000.0)
    tracker.started(STARTED)
    tracker.state("live")
    tracker.event_seen(990.5)
    tracker.pending(paths=2, keys=3, oldest_at=999.0)
    for _ in range(3):
        tracker.record(What.EXECUTED, 'm:q"\\\n{}', "a.py", 1_500)
    tracker.record(What.CUT_OFF, "m:r", None, 500)
    tracker.record(What.VERIFIED, "m:r", None, 0)
    tracker.revised(REVISED)
    families = parsed(render(tracker.snapshot()))
    states = {
        (f'state="{name}"',): float(name == "live") for name in ("starting", "crawling", "live", "doubtful")
    }
    assert families["state"] == ("gauge", states)
    assert families["info"] == ("gauge", {('mode="events"',): 1.0})
    assert families["executed_total"] == ("counter", {(): 4.0})
    assert families["cut_off_total"] == ("counter", {(): 1.0})
    assert families["verified_total"] == ("counter", {(): 1.0})
    assert families["lag_seconds"] == ("gauge", {(): 1.0})
    assert families["last_event_timestamp_seconds"] == ("gauge", {(): 990.5})
    assert families["last_crawl_timestamp_seconds"] == ("gauge", {})
    latency = {('quantile="0.5"',): 0.014, ('quantile="0.95"',): 0.014, ('quantile="0.99"',): 0.014}
    assert families["latency_seconds"] == ("summary", {**latency, ("sum",): 0.014, ("count",): 1.0})
    quoted = ('query="m:q\\"\\\\\\\\n{}"',)
    assert families["query_runs_total"] == ("counter", {quoted: 3.0, ('query="m:r"',): 1.0})
    assert families["query_seconds_total"] == ("counter", {quoted: 0.0045, ('query="m:r"',): 0.0005})


def test_only_the_slowest_hundred_queries_have_metrics_and_no_series_occurs_twice() -> None:
    tracker = ProgressTracker(clock=lambda: 0.0)
    for number in range(150):
        tracker.record(What.EXECUTED, f"m:q{number:03}", None, 1_000 - number)
    tracker.record(What.EXECUTED, "m:\x1b", None, 5_000)
    tracker.record(What.EXECUTED, "m:\\x1b", None, 5_000)
    runs = parsed(render(tracker.snapshot()))["query_runs_total"][1]
    assert len(runs) == 99
    assert runs['query="m:\\\\x1b"',] == 2.0
    assert ('query="m:q097"',) in runs
    assert ('query="m:q098"',) not in runs


def test_metrics_in_the_documentation_are_those_there_are() -> None:
    page = (CHECKOUT / "docs" / "events.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`engine_watch_(\w+)", page))
    assert named == set(parsed(render(ProgressTracker(clock=lambda: 0.0).snapshot())))


@pytest.mark.parametrize("address", ["0", "127.0.0.1:0", "localhost:0", "127.0.0.9:0", "unix:m"])
def test_metrics_are_served_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tracker = ProgressTracker(clock=lambda: 0.0)
    with serve_metrics(address, tracker.snapshot) as server:
        head, body = http(server, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert head.startswith("HTTP/1.0 200 ")
        assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
        assert body == render(tracker.snapshot())
        name = server.address
    assert os.listdir(tmp_path) == []
    with serve_metrics(name, tracker.snapshot) as again:  # the port, or the path, is free
        assert again.address == name


@pytest.mark.parametrize(
    "address",
    ["", "x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "65536", "9" * 5000, ":80", "0.0.0.0:80", "[::]:80",
     "10.0.0.1:80", "example.org:80", "*:80", "localhost.example.org:80", "unix:", "unix:no/such/folder"],
)  # fmt: skip
def test_metrics_are_not_served_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSettings, match="metrics"):
        serve_metrics(address, ProgressTracker().snapshot)


def test_a_port_that_is_taken_is_a_clear_error() -> None:
    tracker = ProgressTracker()
    with serve_metrics("0", tracker.snapshot) as server, pytest.raises(BadSettings, match="in use"):
        serve_metrics(server.address, tracker.snapshot)


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "404"),
        (b"GET /metrics/x HTTP/1.0\r\n\r\n", "404"),
        (b"GET /metrics?name[]=x HTTP/1.0\r\n\r\n", "200"),
        (b"GET /metrics HTTP/1.1\r\nHost: [::1]:9464\r\n\r\n", "200"),
        (b"GET /metrics HTTP/1.1\r\nHost: rebound.example.org:9464\r\n\r\n", "403"),
        (b"POST /metrics HTTP/1.0\r\n\r\n", "501"),
        (b"GET " + b"a" * 200_000, "414"),
        (b"GET /metrics HTTP/1.0\r\n" + b"a: b\r\n" * 1_000, "431"),
        (b"\x16\x03\x01 \xff\x1b HTTP/1.0\r\n\r\n", "501"),
    ],
)
def test_only_get_metrics_is_answered(request_: bytes, code: str, capfd: pytest.CaptureFixture[str]) -> None:
    with serve_metrics("0", ProgressTracker().snapshot) as server:
        head, _ = http(server, request_)
        assert head.split(" ")[1] == code
    assert capfd.readouterr() == ("", "")


def test_clients_that_send_nothing_little_or_no_end_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.watch.metrics_server.Handler.timeout", 0.2)
    monkeypatch.setattr("engine.watch.metrics_server.REQUEST_SECONDS", 0.5)
    with serve_metrics("0", ProgressTracker().snapshot) as server:
        silent, slow, endless = (client_of(server) for _ in range(3))
        with silent, slow, endless:
            with suppress(ConnectionError):  # on a busy machine their time may be over already
                slow.sendall(b"GET /met")
                endless.sendall(b"POST /metrics HTTP/1.0\r\nContent-Length: 1000000000\r\n\r\n")
                endless.sendall(b"x" * 100_000)
            until(lambda: " 200 " in http(server, b"GET /metrics HTTP/1.0\r\n\r\n")[0])
            assert silent.recv(10) == b""
            until(lambda: dripping(slow))  # never silent, and still ended
            until(lambda: dripping(endless))


def test_more_clients_than_the_server_takes_are_turned_away_and_it_closes_under_them() -> None:
    server = serve_metrics("0", ProgressTracker().snapshot)
    clients = [client_of(server) for _ in range(16)]
    for client in clients:
        client.sendall(b"GET ")
    until(lambda: len(named_threads("Thread-")) >= 16)
    with client_of(server) as more:
        more.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert ended(more)
    server.close()
    server.close()
    for client in clients:
        assert ended(client)
        client.close()


def test_where_no_descriptors_are_left_the_server_waits_for_some_and_does_not_spin(tmp_path: Path) -> None:
    path = str(tmp_path / "metrics")
    with serve_metrics(f"unix:{path}", ProgressTracker().snapshot) as server:
        tries: list[float] = []
        accept = server._server.socket.accept

        class Short:
            """The listener, of a process that has no descriptor for another client."""

            def __getattr__(self, name: str) -> Any:
                return getattr(listener, name)

            def accept(self) -> Any:
                tries.append(time.monotonic())
                if len(tries) < 4:
                    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
                return accept()

        listener = server._server.socket
        server._server.socket = Short()  # type: ignore[assignment]  # as much of one as is asked for
        with connect(path, PATIENCE) as client:
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.0 200")
        assert tries[3] - tries[0] > 0.2


def test_metrics_that_cannot_be_made_are_logged_and_the_next_scrape_works(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = ProgressTracker()
    answers = iter([lambda: 1 / 0, tracker.snapshot])
    with serve_metrics("0", lambda: next(answers)()) as server:  # type: ignore[arg-type, return-value]  # the first fails
        assert http(server, b"GET /metrics HTTP/1.0\r\n\r\n") == ("", "")
        assert " 200 " in http(server, b"GET /metrics HTTP/1.0\r\n\r\n")[0]
    assert "ZeroDivisionError" in caplog.text
    assert capfd.readouterr() == ("", "")


# -- what they use ----------------------------------------------------------------------------------


def client_of(server: MetricsServer) -> socket.socket:
    if server.address.startswith("unix:"):
        return connect(server.address.removeprefix("unix:"), PATIENCE)
    host, _, port = server.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def http(server: MetricsServer, request: bytes) -> tuple[str, str]:
    """Head and body of the answer; both empty if there is none."""
    with client_of(server) as client:
        answer = b""
        try:
            client.sendall(request)
            while piece := client.recv(65536):
                answer += piece
        except ConnectionError:  # it was answered before all of it was read
            pass
    head, _, body = answer.decode().replace("\r\n", "\n").partition("\n\n")
    return head, body


def dripping(client: socket.socket) -> bool:
    """Send one byte more; whether the connection is over."""
    try:
        client.sendall(b"x")
        return bool(select.select([client], [], [], 0.01)[0]) and ended(client)
    except ConnectionError:
        return True


def ended(client: socket.socket) -> bool:
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        return True
    return True


def parsed(text: str) -> dict[str, tuple[str, dict[tuple[str, ...], float]]]:
    """A checking reader of the text format: kind and samples of each family."""
    families: dict[str, tuple[str, dict[tuple[str, ...], float]]] = {}
    assert text.endswith("\n")
    name = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ")[2].removeprefix("engine_watch_")
            assert name not in families
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2] == f"engine_watch_{name}"
            families[name] = (line.split(" ")[3], {})
            assert name.endswith("_total") == (families[name][0] == "counter")
        else:
            found = re.fullmatch(r'engine_watch_(\w+)(?:\{(\w+="(?:[^"\\\n]|\\[\\"n])*")\})? (\S+)', line)
            assert found, line
            series, labels, value = found.groups()
            assert series in (name, f"{name}_sum", f"{name}_count")
            part = (labels,) if labels else (series.removeprefix(f"{name}_"),) if series != name else ()
            assert part not in families[name][1]
            families[name][1][part] = float(value)
    return families
