"""`engine watch` as people meet it: signals, streams, options, other commands."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine import Engine
from engine.cli.answers import _variables
from engine.rules.env import variable
from engine.watch.unix_socket import connect
from tests.watch_process import (
    SCRIPT,
    TRIPLED,
    Asked,
    Watching,
    environment,
    events_of,
    project,
    save,
)

SAVES = 20  # of a file that is asked for at once


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return project(tmp_path / "a project")  # with a space


# -- events ----------------------------------------------------------------------------------------


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


def test_a_run_that_finds_a_watch_just_starting_is_answered_by_it(place: Path) -> None:
    lock = place / ".engine" / "lock"
    for _ in range(3):
        with Watching(place, "total") as watch:
            watch.until(lambda: lock.exists() and lock.read_text())
            found = Asked(place, "run", "total")
            assert (found.code, found.err.endswith(", by the watch\n")) == (0, True), found.err
            assert watch.ends(signal.SIGINT) == 130


def test_a_store_that_is_removed_is_made_again_and_the_watch_can_be_asked_as_before(place: Path) -> None:
    """`git clean -dfx` does it."""
    with Watching(place, "total") as watch:
        watch.ready()
        shutil.rmtree(place / ".engine")
        save(place / "a.txt", "1\n2\n3\n4\n")
        watch.until(lambda: (place / ".engine" / "watch.sock").exists())
        watch.until(lambda: "by the watch" in Asked(place, "run", "total").err)
        alone = Asked(place, "run", "total", "--no-store", "-q")
        assert Asked(place, "run", "total", "-q").out == alone.out
        assert "Traceback" not in watch.told()
        assert watch.ends(signal.SIGINT) == 130
    assert Asked(place, "run", "total", "-q").out == alone.out


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


# -- the end ---------------------------------------------------------------------------------------


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


# -- options -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["", "--scan", "--poll", "--no-store"])
def test_a_value_is_printed_each_time_that_it_is_another_one(place: Path, mode: str) -> None:
    pause = 1.1 if mode == "--poll" else 0.0  # watchfiles sees one save a second then
    with Watching(
        place, "number", "number", "rules:lines('b.txt')", "--print", *([mode] if mode else [])
    ) as watch:
        watch.prints("1", "2")
        time.sleep(pause)
        save(place / "a.txt", "2\n")
        watch.prints("1", "2", "2")
        time.sleep(pause)
        save(place / "a.txt", "two\n")
        watch.says("failed: rules:number()")
        time.sleep(pause)
        save(place / "a.txt", "2\n")
        watch.prints("1", "2", "2", "2")
        time.sleep(pause)
        save(place / "a.txt", " 2 \n")  # the same number
        save(place / "b.txt", "")
        watch.prints("1", "2", "2", "2", "0")
        assert (place / ".engine").exists() == (mode != "--no-store")
        assert watch.ends(signal.SIGINT) == 130


def test_quiet_tells_only_what_goes_wrong(place: Path) -> None:
    with Watching(place, "number", "--quiet", "--print", "--deltas") as watch:
        watch.prints("1")
        save(place / "a.txt", "2\n")
        watch.prints("1", "2")
        assert watch.err == []
        save(place / "a.txt", "no number\n")
        watch.says("failed: rules:number()")


def test_a_query_that_fails_at_the_start_is_told_and_heals(place: Path) -> None:
    save(place / "a.txt", "one\n")
    with Watching(place, "number", "total", "--print") as watch:
        watch.prints("103")
        watch.says("failed: rules:number()")
        shown = Asked(place, "status").out
        assert "failing: rules:number(): ValueError" in shown
        save(place / "a.txt", "7\n")
        watch.prints("103", "7")


@pytest.mark.parametrize("address", ["0", "unix:metrics.sock"])
def test_metrics_stay_at_their_address_when_rules_change(place: Path, address: str) -> None:
    with Watching(place, "total", "--metrics", address) as watch:
        watch.ready()
        found = re.search(r"metrics at (\S+)", watch.told())
        assert found is not None
        for number in range(2):
            if number:
                save(place / "rules.py", TRIPLED)
                watch.ready(2)
            if address == "0":
                with urllib.request.urlopen(f"http://{found[1]}/metrics", timeout=30) as answer:
                    text = answer.read().decode()
            else:
                with connect(place / "metrics.sock", 60) as client:
                    client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                    with client.makefile() as lines:
                        text = lines.read()
            assert "engine_watch_revision" in text
        assert watch.ends(signal.SIGINT) == 130


def test_a_root_that_goes_away_ends_it_or_is_waited_for(place: Path) -> None:
    other = place / "root"
    other.mkdir()
    (other / "a.txt").write_text("1\n")
    options = ("rules.py:total", "--root", str(other), "--store", str(place / "store"), "--print")
    with Watching(place, *options) as watch:
        watch.ready()
        shutil.rmtree(other)
        assert watch.ends() == 2
        assert "the root is gone" in watch.told()
        assert "--wait-root" in watch.told()
    other.mkdir()
    (other / "a.txt").write_text("1\n")
    with Watching(place, *options, "--wait-root") as watch:
        watch.prints("101")
        shutil.rmtree(other)
        watch.says("the root is gone")
        other.mkdir()
        (other / "a.txt").write_text("1\n2\n")
        watch.until(lambda: watch.out[-1] == "102")
        assert watch.ends(signal.SIGINT) == 130


def test_a_project_that_is_removed_and_put_back_is_waited_for(place: Path) -> None:
    store = str(place.parent / "store")
    with Watching(place, "total", "--print", "--wait-root", "--store", store) as watch:
        watch.prints("103")
        shutil.rmtree(place)
        watch.says("the root is gone")
        project(place)
        (place / "a.txt").write_text("1\n2\n")
        watch.until(lambda: watch.out[-1] == "104")
        assert watch.ends(signal.SIGINT) == 130


REFUSED = {
    (): "Missing argument 'KEY...'",
    ("nosuch",): "no such query",
    ("rules.py:nosuch",): "no such query",
    ("lines",): "missing a required argument",
    ("total", "--print", "--events", "-"): "--print and --events -",
    ("total", "--poll", "--scan"): "--poll and --scan",
    ("total", "--audit", "0"): "above 0",
    ("total", "--audit", "nan"): "above 0",
    ("total", "--metrics", "everywhere"): "there is no port in it",
    ("total", "--events", "missing/file"): "No such file or directory",
}


def test_wrong_requests_are_refused_with_a_message(place: Path) -> None:
    def refused(arguments: tuple[str, ...]) -> Asked:
        return Asked(place, "watch", "--no-store", *arguments)

    with ThreadPoolExecutor(2) as pool:
        for (arguments, message), asked in zip(REFUSED.items(), pool.map(refused, REFUSED), strict=True):
            assert (asked.code, message in asked.err) == (2, True), (arguments, asked.err)


def test_a_second_watch_and_commands_that_change_the_store_say_who_has_it(place: Path) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        for arguments in (["watch", "total"], ["gc"], ["forget", "*"]):
            asked = Asked(place, *arguments)
            assert (asked.code, f"process {watch.process.pid}," in asked.err) == (75, True)
        assert Asked(place, "run", "total").by_watch


# -- other commands meanwhile ------------------------------------------------------------------------


def test_what_was_saved_before_a_command_is_in_its_answer(place: Path) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        for number in range(SAVES):
            (place / "a.txt").write_text("1\n" * number)
            asked = Asked(place, "run", "total", "--sync")
            assert (asked.out, asked.by_watch) == (f"{number + 102}\n", True)


def test_who_sees_the_first_answer_can_ask_the_watch(place: Path) -> None:
    (place / "there.py").write_text(
        "import os, time\nfrom engine import query\nfrom engine.cli import serving\n"
        "listen = serving.listen\n"
        "def slowly(path):\n    time.sleep(1.0)\n    return listen(path)\n"
        "serving.listen = slowly\n"
        "@query\ndef socket_is_there() -> bool:\n    return os.path.exists('.engine/watch.sock')\n"
    )
    with Watching(place, "there.py:socket_is_there", "--print") as watch:
        watch.prints("True")
        assert watch.ends(signal.SIGINT) == 130


def test_commands_that_look_are_answered_by_the_watch_as_the_store_would(place: Path) -> None:
    looks = [["why", "total"], ["deps", "rules:total()"], ["rdeps", "rules:lines('a.txt')", "--json"]]
    with Watching(place, "total") as watch:
        watch.ready()
        answered = [Asked(place, *look).out for look in looks]
        shown = Asked(place, "status").out
        assert f"watch: process {watch.process.pid}, started" in shown
        assert "keeps right rules:total()" in shown
        assert "{" not in shown
        assert watch.ends(signal.SIGINT) == 130
    assert answered == [Asked(place, *look).out for look in looks]


def test_who_has_another_environment_is_not_given_an_answer_of_ours(place: Path) -> None:
    with Watching(place, "total", env=environment(COLOUR="red")) as watch:
        watch.ready()
        assert Asked(place, "run", "total", env=environment(COLOUR="blue")).by_watch  # nobody read it yet
        assert Asked(place, "run", "shell", env=environment(COLOUR="red")).out == "red\n"
        asked = Asked(place, "run", "shell", env=environment(COLOUR="blue"))
        assert (asked.code, asked.out, "another value of COLOUR" in asked.err) == (75, "", True)
        asked = Asked(place, "run", "shell", "--read-only", env=environment(COLOUR="blue"))
        assert (asked.code, asked.out) == (0, "blue\n")


def test_a_variable_that_is_read_for_the_first_time_is_compared_before_it_is_answered(place: Path) -> None:
    with Watching(place, "total", env=environment(COLOUR="red")) as watch:
        watch.ready()
        asked = Asked(place, "run", "shell", env=environment(COLOUR="blue"))
        assert (asked.code, asked.out, "another value of COLOUR" in asked.err) == (75, "", True)


def test_the_variables_that_were_read_are_known_of_an_engine_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        with Engine(tmp_path / "store") as db:
            assert db.get(variable, "ENGINE_TEST_COLOUR") is None
            assert _variables(db) == ("ENGINE_TEST_COLOUR",)
            assert db.get(variable, "ENGINE_TEST_SHAPE") is None
            assert _variables(db) == ("ENGINE_TEST_COLOUR", "ENGINE_TEST_SHAPE")
            db.forget("*")
            shutil.rmtree(tmp_path / "store", ignore_errors=True)
