"""Events go to files and to standard output, and what is lost on the way is counted."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from engine.errors import BadSettings
from engine.watch.event_output import EventOutput, open_output
from engine.watch.events import Figures, Revised, Skipped, Stopped, Trouble
from engine.watch.events_json import from_json, to_json
from engine.watch.subscribers import Subscribers
from tests.patience import PATIENCE, until
from tests.telling import CHECKOUT, EXAMPLES, named_threads, revision_of, skips


def test_a_file_gets_the_lines_after_those_it_has_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for _ in range(2):
        write_all(open_output(str(path)), EXAMPLES)
    assert path.read_text().splitlines() == [*EXAMPLES.values()] * 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_end_of_an_output_writes_what_is_queued(tmp_path: Path) -> None:
    subscribers = Subscribers()
    output = open_output(str(tmp_path / "e"))
    output.follow(subscribers.subscribe())
    for event in skips(*range(500)):
        subscribers.publish(event)
    output.close()
    assert [from_json(line) for line in (tmp_path / "e").read_text().splitlines()] == skips(*range(500))


def test_trouble_with_a_file_is_told_once_and_what_was_lost_is_counted() -> None:
    told: list[Trouble] = []
    subscribers = Subscribers()
    output = open_output("/dev/full", tell=told.append)
    output.follow(subscribers.subscribe())
    for event in skips(1, 2, 3):
        subscribers.publish(event)
    output.close()
    assert [(one.place, one.cause) for one in told] == [
        ("/dev/full", "events cannot be written: No space left on device")
    ]
    assert not output.gone


def test_a_full_disk_costs_the_events_that_came_meanwhile_and_no_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Trouble] = []
    room = [10]  # bytes that can be written before the disk is full
    real_write = os.write

    def write(fd: int, data: memoryview) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real_write(fd, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr("engine.watch.event_output.os.write", write)
    subscribers = Subscribers()
    output: Any = open_output(str(tmp_path / "e"), tell=told.append)
    output.follow(subscribers.subscribe())
    for event in (Revised(4, 3, (), (), 0, (), (), Figures()), *skips(1)):
        subscribers.publish(event)
    until(lambda: output._lost == 2)
    room[0] = 1_000_000
    subscribers.publish(skips(2)[0])
    output.close()
    first, *rest = (tmp_path / "e").read_text().splitlines()
    assert first == to_json(Revised(4, 3, (), (), 0, (), (), Figures()))[:10]
    assert [from_json(line) for line in rest] == [Skipped(2, 4), *skips(2)]
    assert len(told) == 1


def test_a_reader_of_standard_output_that_goes_away_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    gone = threading.Event()
    monkeypatch.setattr("engine.watch.event_output.os.dup", lambda fd: writer)
    subscribers = Subscribers()
    output = open_output("-", on_gone=gone.set)
    output.follow(subscribers.subscribe())
    subscribers.publish(revision_of(1))
    assert from_json(os.read(reader, 10_000)) == revision_of(1)
    assert (output.gone, gone.is_set()) == (False, False)
    os.close(reader)
    assert gone.wait(PATIENCE)  # although there is nothing to tell
    assert (output.gone, gone.is_set()) == (True, True)
    output.close()


def test_a_reader_that_takes_nothing_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr("engine.watch.event_output.os.dup", lambda fd: writer)
    monkeypatch.setattr("engine.watch.event_output.DRAIN_SECONDS", 0.05)
    subscribers = Subscribers()
    output = open_output("-")
    output.follow(subscribers.subscribe())
    for event in skips(*range(2_000)):
        subscribers.publish(event)
    output.close()
    until(lambda: not named_threads("engine-watch-events"))
    os.close(reader)


def test_standard_output_stays_that_of_the_command_when_queries_print_elsewhere() -> None:
    program = """
import os
from engine.watch.event_output import open_output
from engine.watch.events import Stopped
from engine.watch.subscribers import Subscribers
subscribers = Subscribers()
output = open_output("-")
os.dup2(2, 1)
output.follow(subscribers.subscribe())
print("from a query", flush=True)
subscribers.publish(Stopped(21, "interrupted"))
output.close()
"""
    answer = subprocess.run(
        [sys.executable, "-c", program],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert answer.stdout.splitlines() == [EXAMPLES[Stopped(21, "interrupted")]]
    assert answer.stderr == "from a query\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "No such file"),
        (".", "Is a directory"),
        ("no/such/folder", "No such file"),
        ("a\0b", "null (byte|character)"),  # the latter since 3.13
        ("unix:", "not a socket"),
        ("unix:no/such/folder", "No such file"),
        (f"unix:{'n' * 200}", "too long"),
    ],
)
def test_an_output_that_cannot_be_opened_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSettings, match=reason):
        open_output(text)


def test_a_fifo_without_a_reader_is_refused_and_one_that_loses_its_reader_is_trouble(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(BadSettings, match="Start the reader"):
        open_output(str(path))
    told: list[Trouble] = []
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    subscribers = Subscribers()
    output = open_output(str(path), tell=told.append)
    output.follow(subscribers.subscribe())
    os.close(reader)
    subscribers.publish(skips(1)[0])
    output.close()
    assert [one.cause for one in told] == ["events cannot be written: Broken pipe"]


def write_all(output: EventOutput, events: Any) -> None:
    subscribers = Subscribers()
    output.follow(subscribers.subscribe())
    for event in events:
        subscribers.publish(event)
    output.close()
