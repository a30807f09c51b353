"""`engine watch` as people start it: its options, what it prints, the root it waits for, what it refuses."""

from __future__ import annotations

import re
import shutil
import signal
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.watch.unix_socket import connect
from tests.watch_process import TRIPLED, Asked, Watching, place, project, save

__all__ = ["place"]  # a fixture


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


def test_of_a_table_the_rows_are_printed(place: Path) -> None:
    save(
        place / "lines.py",
        "from attrs import frozen\nfrom engine import query, table\n"
        "from engine.rules.files import read_text\n\n\n"
        "@frozen\nclass Line:\n    text: str\n\n\n"
        "@query\ndef files() -> tuple[str, ...]:\n    return ('a.txt',)\n\n\n"
        "@table(each=files)\ndef lines(path: str) -> tuple[Line, ...]:\n"
        "    return tuple(map(Line, read_text(path).split()))\n",
    )
    save(place / "a.txt", "one\n")
    with Watching(place, "lines.py:lines", "--print") as watch:
        watch.prints("Line(text='one')")
        save(place / "a.txt", "one two\n")
        watch.prints("Line(text='one')", "Line(text='one')", "Line(text='two')")
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
                with urllib.request.urlopen(f"http://{found[1]}/metrics", timeout=600) as answer:
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
        assert "end the watch" not in watch.told()  # it ends by itself
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
