"""`engine run`: arguments, values, summaries, and one message where a request or a query fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.commands import Command, check_refused, engine

__all__ = ["engine"]  # a fixture


def test_run_prints_the_value_and_a_summary(engine: Command) -> None:
    first = engine("run", "rules.py:report")
    assert first.out == "Row(name='a.txt', lines=2)\nRow(name='b.txt', lines=1)\n"
    assert re.fullmatch(r"executed 3, cut off 0, verified 0, read 2 in \d+\.\d\d s, revision 1\n", first.err)
    assert engine("run", "rules.py:report", "--quiet").err == ""


def test_a_change_runs_what_it_reaches_and_nothing_else(engine: Command) -> None:
    engine("run", "rules.py:report")
    assert "executed 0," in engine("run", "rules:report").err
    Path("a.txt").write_text("x\ny\n")
    again = engine("run", "rules.py:report", "--json").json
    assert (again["counts"]["executed"], again["counts"]["cut_off"]) == (1, 1)
    assert again["value"] == [{"lines": 2, "name": "a.txt"}, {"lines": 1, "name": "b.txt"}]
    assert (again["query"], again["args"], again["revision"]) == ("rules:report", [], 2)


@pytest.mark.parametrize(
    ("arguments", "out"),
    [
        (("echo", "hi"), "hi 0 RED"),
        (("echo", "hi", "3"), "hi 3 RED"),
        (("echo", "hi", "-a", "color=BLUE"), "hi 0 BLUE"),
        (("echo", "-a", "number=4", "-a", "text=a=b"), "a=b 4 RED"),
        (("echo", "--", "-x", "-3"), "-x -3 RED"),
        (("total", "[1, 2]"), "3"),
        (("total", "[1, 2]", '{"name": "a", "lines": 4}'), "7"),
        (("total", "[1, 2]", "null"), "3"),
        (("free", "3"), "3"),
        (("free", "[1, [2]]"), "(1, (2,))"),
        (("free", "words"), "'words'"),
    ],
)
def test_arguments_are_read_by_their_annotations(
    engine: Command, arguments: tuple[str, ...], out: str
) -> None:
    found = engine("run", "--no-store", f"rules.py:{arguments[0]}", *arguments[1:])
    assert found.out == out + "\n", found.err
    assert not Path(".engine").exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("rules.py:echo", "hi", "three"), ("number", "'three'", "int", "rules:echo(text: str")),
        (("rules.py:echo", "a", "1", "2"), ("3 arguments are given, it takes 2",)),
        (("rules.py:echo",), ("missing a required argument: 'text'",)),
        (("rules.py:echo", "a", "-a", "colour=RED"), ("there is no parameter colour",)),
        (("rules.py:echo", "a", "-a", "color=GREEN"), ("Color", "one of 1, 2, RED, BLUE")),
        (("rules.py:total", "[1, x]"), ("numbers", "as JSON")),
        (("rules.py:total", "[1]", '{"name": 3}'), ("row",)),
        (("rules.py:echo", "-3"), ("No such option '-3'", "goes after --")),
        (("rules.py:reprot",), ("Did you mean report?",)),
        (("rule.py:report",), ("there is no such file", "rules.py")),
        (("report",), ("no rule modules are configured",)),
        (("rules.py:report", "--workers", "0"), ("--workers", "at least 1")),
        (("rules.py:report", "--root", "nowhere"), ("nowhere", "no such directory")),
        ((), ("Missing argument 'MODULE:QUERY'", "engine run --help")),
    ],
)
def test_a_wrong_request_is_one_message(
    engine: Command, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    check_refused(engine("run", *arguments), 2, *parts)
    assert not Path(".engine").exists()


def test_a_failing_query_shows_the_users_frames(engine: Command) -> None:
    found = engine("run", "rules.py:outer", "3")
    assert (found.code, found.out) == (1, "")  # what it printed is not the answer (output W1)
    assert "looking at 3\n" in found.err
    assert "from a child\n" in found.err
    assert "rules:outer(3) failed\n" in found.err
    assert "while computing rules:outer(3) -> rules:inner(3)" in found.err
    assert "in inner" in found.err
    assert "ValueError: \\x1b[31m 3\n" in found.err
    assert "/engine/" not in found.err.replace(str(Path.cwd()), "")
    again = engine("run", "rules.py:outer", "3")
    assert again.code == 1
    assert "looking at" not in again.err
    assert "raised in an earlier process at line " in again.err
    assert 'engine forget "rules:inner(3)"' in again.err


def test_errors_of_the_engine_in_a_query_have_their_own_message(engine: Command) -> None:
    found = engine("run", "rules.py:loop_a")
    assert found.code == 1
    assert "rules:loop_a() -> rules:loop_b() -> rules:loop_a()" in found.err
    assert "Traceback" not in found.err
    missing = engine("run", "rules.py:lines", "c.txt")
    assert (missing.code, missing.out) == (1, "")
    assert "c.txt" in missing.err
    assert "while computing rules:lines('c.txt')" in missing.err
    assert engine("run", "rules.py:leaves").code == 1


def test_a_value_that_cannot_be_stored_is_still_printed(engine: Command) -> None:
    found = engine("run", "rules.py:opaque")
    assert found.code == 0
    assert found.out.startswith("<object object")
    assert "note: values of rules:opaque are kept in memory only" in found.err
    check_refused(engine("run", "rules.py:opaque", "--json"), 1, "no form in JSON")


def test_texts_are_printed_line_by_line_without_control_characters(engine: Command) -> None:
    assert engine("run", "rules.py:noisy").out == "one\n\\x1b[31mtwo\\u202e\n"
    assert engine("run", "rules.py:noisy", "--json").json["value"] == "one\n\x1b[31mtwo\u202e"


def test_the_configured_place_and_modules_are_used(engine: Command) -> None:
    Path("engine.toml").write_text('rules = ["rules.py"]\nstore = "var/store"\n')
    Path("sub").mkdir()
    assert engine("-C", "sub").code == 2
    assert engine("run", "-C", "sub", "lines", "a.txt").out == "2\n"
    assert Path("var/store/store.db").exists()


def test_reading_only_saves_nothing(engine: Command) -> None:
    engine("run", "rules.py:lines", "a.txt")
    assert engine("run", "rules.py:lines", "b.txt", "--read-only").out == "1\n"
    assert engine("rdeps", "rules:lines('b.txt')", "--json").json["known"] is False
