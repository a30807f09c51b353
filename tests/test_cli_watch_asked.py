"""Other commands, while `engine watch` runs, are answered by it as the store would answer them."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

from engine import Engine
from engine.cli.answers import variables_read
from engine.rules.env import variable
from tests.watch_process import PATIENT, SCRIPT, Asked, Watching, environment, place, save

__all__ = ["place"]  # a fixture

OPENS_NOTHING = "from engine.cli import session; session.reading = session.writing = None; from engine."
BY_WATCH = (*SCRIPT[:-1], SCRIPT[-1].replace("from engine.", OPENS_NOTHING))
SAVES = 20  # of a file that is asked for at once


def test_what_was_saved_before_a_command_is_in_its_answer(place: Path) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        for number in range(SAVES):
            (place / "a.txt").write_text("1\n" * number)
            asked = Asked(place, "run", "total", "--sync")
            assert (asked.out, asked.by_watch) == (f"{number + 102}\n", True)


def test_a_watch_takes_arguments_by_name_from_whoever_asks(place: Path) -> None:
    named = ("rules.py:lines", "-a", "path=b.txt")
    with Watching(place, "total") as watch:
        watch.ready()
        for command, part in (("run", "2\n"), ("why", "lines('b.txt')"), ("deps", "read_text('b.txt')")):
            found = Asked(place, command, *named, start=BY_WATCH)
            assert (found.code, part in found.out) == (0, True), found.err
        found = Asked(place, "changes", *named, "--cursor", "x", start=BY_WATCH)
        assert (found.code, found.out) == (0, "R1 rules:lines('b.txt')\n  2\n"), found.err


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


def test_a_run_that_finds_a_watch_just_starting_is_answered_by_it(place: Path) -> None:
    lock = place / ".engine" / "lock"
    for _ in range(3):
        with Watching(place, "total") as watch:
            watch.until(lambda: lock.exists() and lock.read_text())
            found = Asked(place, "run", "total", start=PATIENT)
            assert (found.code, found.err.endswith(", by the watch\n")) == (0, True), found.err
            assert watch.ends(signal.SIGINT) == 130


def test_a_store_that_is_removed_is_made_again_and_the_watch_can_be_asked_as_before(place: Path) -> None:
    """`git clean -dfx` does it."""
    with Watching(place, "total") as watch:
        watch.ready()
        watch.until(lambda: is_removed(place / ".engine"))
        save(place / "a.txt", "1\n2\n3\n4\n")
        watch.until(lambda: (place / ".engine" / "watch.sock").exists())
        watch.until(lambda: "by the watch" in Asked(place, "run", "total").err)
        alone = Asked(place, "run", "total", "--no-store", "-q")
        assert Asked(place, "run", "total", "-q").out == alone.out
        assert "Traceback" not in watch.told()
        assert watch.ends(signal.SIGINT) == 130
    assert Asked(place, "run", "total", "-q").out == alone.out


def is_removed(directory: Path) -> bool:
    """Removes it; False where the watch put a file into it meanwhile."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


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
            assert variables_read(db) == ("ENGINE_TEST_COLOUR",)
            assert db.get(variable, "ENGINE_TEST_SHAPE") is None
            assert variables_read(db) == ("ENGINE_TEST_COLOUR", "ENGINE_TEST_SHAPE")
            db.forget("*")
            shutil.rmtree(tmp_path / "store", ignore_errors=True)
