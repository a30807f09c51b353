"""`engine watch --events`: a file, a socket or standard output stays the place of events."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from engine.watch.unix_socket import connect
from tests.watch_process import TRIPLED, Watching, events_of, place, save

__all__ = ["place"]  # a fixture


def test_events_go_on_in_the_same_file_and_on_the_same_socket(place: Path) -> None:
    with Watching(place, "total", "--events", "events.jsonl") as watch:
        watch.ready()
        save(place / "rules.py", TRIPLED)
        watch.ready(2)
        save(place / "a.txt", "1\n2\n3\n")
        watch.until(lambda: "lines('a.txt')" in str(events_of(place / "events.jsonl")[-1]))
        assert watch.ends(signal.SIGINT) == 130
    kinds = [event["event"] for event in events_of(place / "events.jsonl")]
    kept = [kind for kind in kinds if kind not in ("watching", "revised")]
    assert kept == ["started", "rules_changed", "stopped", "started", "stopped"]


def test_clients_of_the_event_socket_can_come_back(place: Path) -> None:
    with Watching(place, "total", "--events", "unix:e.sock") as watch:
        watch.ready()
        assert first_event(place / "e.sock")["event"] == "started"
        save(place / "rules.py", TRIPLED)
        watch.ready(2)
        assert first_event(place / "e.sock")["event"] == "started"
        assert watch.ends(signal.SIGTERM) == 143
    assert not (place / "e.sock").exists()


def first_event(path: Path) -> dict[str, object]:
    with connect(path, 60) as client, client.makefile() as lines:
        found: dict[str, object] = json.loads(lines.readline())
        return found


def test_standard_output_stays_the_place_of_events(place: Path) -> None:
    with Watching(place, "total", "--events", "-") as watch:
        watch.until(lambda: '"started"' in watch.told())
        save(place / "rules.py", TRIPLED.replace("    ran(", "    print('noise'); ran("))
        watch.ready(2)
        assert watch.ends(signal.SIGINT) == 130
        assert all(json.loads(line)["event"] for line in watch.out)
        assert sum('"started"' in line for line in watch.out) == 2
        assert "noise" in watch.err
