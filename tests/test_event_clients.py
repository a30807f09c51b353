"""Every client of a socket gets the state of now and then every event, and costs the others nothing."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from engine.errors import BadSettings
from engine.watch.event_output import CLIENTS, open_output, state_after
from engine.watch.events import Skipped, Stopped, Trouble, WatchEvent, Watching
from engine.watch.events_json import from_json
from engine.watch.subscribers import Subscribers
from engine.watch.unix_socket import connect
from tests.patience import PATIENCE, until
from tests.telling import REVISED, STARTED, named_threads, skips, with_rounded_times
from tests.threads import without_threads


def test_every_client_of_a_socket_gets_the_state_of_now_and_then_every_event(tmp_path: Path) -> None:
    path = tmp_path / "s"
    subscribers = Subscribers()
    output = open_output(f"unix:{path}")
    output.follow(subscribers.subscribe())
    with connect(path, PATIENCE) as early, connect(path, PATIENCE) as late:
        early_lines, late_lines = lines_of(early), lines_of(late)
        subscribers.publish(STARTED)
        assert next(early_lines) == next(late_lines) == with_rounded_times(STARTED)
        subscribers.publish(REVISED)
        assert next(early_lines) == next(late_lines) == with_rounded_times(REVISED)
        with connect(path, PATIENCE) as later:
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
    with connect(path, PATIENCE) as stuck, connect(path, PATIENCE) as good:
        stuck_lines, good_lines = lines_of(stuck), lines_of(good)
        assert next(stuck_lines) == next(good_lines)
        with connect(path, PATIENCE) as gone:
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
        client = connect(path, PATIENCE)
        clients.append(client)
        assert client.recv(10) != b""
    with connect(path, PATIENCE) as more:
        assert more.recv(10) == b""
    for client in clients:
        client.close()
    output.close()


def test_clients_for_which_there_is_no_thread_are_turned_away_and_the_next_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles: list[Trouble] = []
    subscribers = Subscribers()
    output = open_output(f"unix:{tmp_path}/s", tell=troubles.append)
    output.follow(subscribers.subscribe())
    subscribers.publish(STARTED)
    with monkeypatch.context() as patched:
        without_threads(patched, "engine-watch-events")
        for _ in range(3):
            with connect(tmp_path / "s", PATIENCE) as turned_away:
                assert turned_away.recv(100) == b""
        until(lambda: troubles)
    assert [one.cause for one in troubles] == ["a client could not connect: can't start new thread"]
    with connect(tmp_path / "s", PATIENCE) as second:
        assert next(lines_of(second)) == with_rounded_times(STARTED)
    output.close()


def test_a_client_may_close_its_sending_side(tmp_path: Path) -> None:
    """As `nc -U` does when its standard input ends."""
    subscribers = Subscribers()
    output = open_output(f"unix:{tmp_path}/s")
    output.follow(subscribers.subscribe())
    with connect(tmp_path / "s", PATIENCE) as client:
        client.shutdown(socket.SHUT_WR)
        subscribers.publish(STARTED)
        received = lines_of(client)
        next(received)
        subscribers.publish(Stopped(7, ""))
        assert list(received) == [Stopped(7, "")]
    output.close()


def test_the_state_of_now_follows_the_events() -> None:
    assert state_after(None, REVISED) is None
    assert state_after(None, STARTED) == STARTED
    after = state_after(STARTED, REVISED)
    assert after == attrs.evolve(STARTED, revision=8, failures=())
    assert state_after(after, skips(1)[0]) == after


# -- what they use ---------------------------------------------------------------------------------


def lines_of(client: socket.socket) -> Iterator[WatchEvent]:
    with client.makefile("rb") as file:
        for line in file:
            yield from_json(line)
