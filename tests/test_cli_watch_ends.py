"""A signal ends `engine watch` whatever runs, and a reader that goes away ends it quietly."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from engine import Engine
from engine.watch.unix_socket import connect
from tests.watch_process import SCRIPT, TRIPLED, Asked, Watching, environment, place, save

__all__ = ["place"]  # a fixture


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("total", signal.SIGINT),
        ("total", signal.SIGHUP),
        ("steps", signal.SIGINT),
        ("deaf", signal.SIGTERM),
        ("spins", signal.SIGINT),
    ],
)
def test_a_signal_ends_it_whatever_runs(place: Path, query: str, number: int) -> None:
    with Watching(place, query) as watch:
        watch.says("crawling")
        if query == "total":
            watch.ready()
        else:
            time.sleep(0.3)
        assert watch.ends(number) == 128 + number
        assert "Traceback" not in watch.told()
    left = {path.name for path in (place / ".engine").iterdir()}
    assert not [name for name in left if name.startswith(("watch", "cookies"))]
    with Engine(place / ".engine") as db:
        assert not db.notes()


@pytest.mark.parametrize(
    ("options", "kept"), [((), "everything computed is kept"), (("--no-store",), "nothing is saved")]
)
def test_what_became_of_the_work_is_told_at_the_end(place: Path, options: tuple[str, ...], kept: str) -> None:
    with Watching(place, "total", *options) as watch:
        watch.says("watching 1 key")
        assert watch.ends(signal.SIGINT) == 130
        assert watch.told().splitlines()[-1] == f"interrupted: the watch ended, {kept}"


@pytest.mark.parametrize("waits", [False, True])
def test_a_socket_that_cannot_be_removed_is_left_without_a_word(place: Path, waits: bool) -> None:
    refusing = """import os
unlink = os.unlink
def refused(name, **options):
    if name == "watch.sock":
        raise PermissionError(1, "Operation not permitted")
    unlink(name, **options)
os.unlink = refused
"""
    with Watching(place, "total", start=(*SCRIPT[:-1], refusing + SCRIPT[-1])) as watch:
        watch.ready()
        if waits:
            save(place / "rules.py", "def x(:\n")
            watch.says("the watch waits")
            assert "waiting" in Asked(place, "status").out
        assert watch.ends(signal.SIGINT) == 130
        assert "Operation" not in watch.told()
    assert (place / ".engine" / "watch.sock").is_socket()
    save(place / "rules.py", TRIPLED)
    assert Asked(place, "run", "total").out == "109\n"


def test_the_second_signal_ends_it_at_once(place: Path) -> None:
    with Watching(place, "deaf") as watch:
        watch.says("crawling")
        watch.process.send_signal(signal.SIGINT)
        assert watch.ends(signal.SIGINT) == 130


def test_a_signal_ends_it_although_nobody_reads_and_clients_wait(place: Path) -> None:
    stuck, kept = os.pipe()
    with (
        os.fdopen(stuck),
        Watching(place, "total", "--events", "-", stdout=kept) as watch,
    ):
        os.set_blocking(kept, False)
        while True:
            try:
                os.write(kept, b"." * 4096)
            except BlockingIOError:
                break
        os.close(kept)
        watch.ready()
        with connect(place / ".engine" / "watch.sock", 60):
            asked = subprocess.Popen(
                [*SCRIPT, "run", "deaf"], cwd=place, env=environment(), stderr=subprocess.DEVNULL
            )
            try:
                watch.until(lambda: "deaf" in (place / "ran.log").read_text())
                assert watch.ends(signal.SIGTERM) == 143
            finally:
                asked.kill()
                asked.wait()


@pytest.mark.parametrize("option", ["--print", "--events=-"])
def test_a_reader_that_goes_away_ends_it_quietly(place: Path, option: str) -> None:
    reading, writing = os.pipe()
    with (
        os.fdopen(writing, "w") as theirs,
        Watching(place, "total", option, "--quiet", stdout=theirs) as watch,
    ):
        theirs.close()
        with os.fdopen(reading) as lines:
            assert lines.readline()
        assert watch.ends() == 0
        assert watch.err == []


def test_under_nohup_it_survives_sighup(place: Path) -> None:
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *SCRIPT]
    with Watching(place, "total", start=ignoring) as watch:
        watch.ready()
        watch.process.send_signal(signal.SIGHUP)
        save(place / "rules.py", TRIPLED)
        watch.ready(2)
        watch.process.send_signal(signal.SIGHUP)
        assert Asked(place, "run", "total").by_watch
        assert watch.ends(signal.SIGINT) == 130


def test_who_waits_for_a_stopped_watch_is_told_so_and_gets_its_answer_when_that_goes_on(place: Path) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        watch.process.send_signal(signal.SIGSTOP)
        with Watching(place, "total", command="run") as asking:
            asking.says("the watch of this store says nothing: it is waited for")
            watch.process.send_signal(signal.SIGCONT)
            asking.prints("103")


def test_a_stopped_process_catches_up_when_it_goes_on(place: Path) -> None:
    with Watching(place, "total", "--print") as watch:
        watch.ready()
        watch.process.send_signal(signal.SIGSTOP)
        for number in range(20):
            save(place / f"n{number}.txt", "1\n")
        time.sleep(1.5)
        watch.process.send_signal(signal.SIGCONT)
        assert Asked(place, "run", "total").out == "123\n"
        watch.until(lambda: watch.out[-1] == "123")
