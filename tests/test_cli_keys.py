"""`engine why`, `deps` and `rdeps` take keys as they are displayed, and say what is wrong with others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.query import REGISTRY
from tests.commands import Command, check_refused, engine

__all__ = ["engine"]  # a fixture


def test_why_takes_displayed_keys_and_arguments(engine: Command) -> None:
    engine("run", "rules.py:report")
    Path("a.txt").write_text("1\n")
    engine("run", "rules.py:report")
    for key in (("rules:lines('a.txt')",), ("rules.py:lines", "a.txt"), ("rules:lines", "a.txt")):
        found = engine("why", *key)
        assert found.code == 0, found.err
        assert found.out.startswith("rules:lines('a.txt') ran last because engine.rules.files:read_text")
        assert "R2" in found.out
    document = engine("why", "rules:lines('a.txt')", "--json").json
    assert document["why"]["chain"][0]["key"] == "engine.rules.files:read_text('a.txt')"
    assert engine("why", "rules:lines('new.txt')").out == "rules:lines('new.txt') was never computed\n"


def test_of_a_stored_key_whose_module_cannot_be_loaded_it_is_said_which_and_why(
    engine: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine("run", "rules.py:report")
    Path("rules.py").rename("other.py")
    monkeypatch.delitem(REGISTRY, "rules:report")  # as in another process
    sys.modules.pop("rules")
    found = engine("why", "rules:report")
    assert found.code == 0
    assert found.out.startswith("rules:report() ran last because it had never run")
    for part in ("note: the code of rules:report is not compared", "module: rules", "cause:"):
        assert part in found.err


ECHO = ("-a", "color=BLUE", "-a", "text=x")


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (("why",), "ran last because it had never run"),
        (("deps", "--json"), '"known": true'),
        (("rdeps", "--json"), '"known": true'),
    ],
)
def test_whoever_takes_arguments_takes_them_by_name_as_engine_run_does(
    engine: Command, command: tuple[str, ...], part: str
) -> None:
    assert engine("run", "rules.py:echo", *ECHO).out == "x 0 BLUE\n"
    found = engine(*command, "rules.py:echo", *ECHO)
    assert (found.code, part in found.out) == (0, True), found
    mixed = engine(*command, "rules.py:echo", "x", *ECHO[:2])
    assert mixed == found
    twice = engine(*command, "rules.py:echo", *ECHO, "-a", "text=y")
    check_refused(twice, 2, "text=y", "text is given twice")
    for wrong in ("colour=BLUE", "text", "color=GREEN"):
        check_refused(engine(*command, "rules.py:echo", "-a", wrong), 2, "echo(text: str, number: int = 0")


def test_arguments_by_name_of_a_stored_key_need_its_module(
    engine: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine("run", "rules.py:echo", *ECHO)
    Path("rules.py").rename("other.py")
    monkeypatch.delitem(REGISTRY, "rules:echo")  # as in another process
    sys.modules.pop("rules")
    check_refused(engine("why", "rules:echo", *ECHO), 2, "module: rules", "cause:")


def test_deps_and_rdeps_list_keys(engine: Command) -> None:
    engine("run", "rules.py:report")
    assert engine("deps", "rules:report()").out == "rules:lines('a.txt')\nrules:lines('b.txt')\n"
    assert engine("deps", "rules:report", "--json").json["dependencies"][0] == "rules:lines('a.txt')"
    assert engine("rdeps", "rules:lines('b.txt')").out == "rules:report()\n"
    never = engine("deps", "rules:lines('c.txt')")
    assert (never.code, never.out) == (0, "")
    assert "was never computed" in never.err


def test_what_a_listing_prints_can_be_asked_for(engine: Command) -> None:
    engine("run", "rules.py:total", "[1]", '{"name": "x", "lines": 1}')
    engine("run", "rules.py:total", "[1]")
    for key in ("rules:total((1,), Row(name='x', lines=1))", "rules:total((1,), None)"):
        assert engine("deps", key, "--json").json["known"] is True, key


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("rules:lines(__import__('os'))", ("is not a literal",)),
        ("rules:lines(a.txt)", ("cause: a.txt is not a literal\n", "Put texts in quotes.")),
        ("rules.py:lines('a.txt'", ("Close the parenthesis", "\"rules.py:lines('a', 3)\"")),
        ("rules.py:lines", ("missing a required argument", "\"rules.py:lines('a', 3)\"")),
        ("rules:lines('a)", ("cannot be read",)),
        ("rules:lines('a…b)", ("it is shortened", "one by one")),
        ("rules:lines(path='a')", ("by position",)),
        ("rules:linse('a.txt')", ("Did you mean lines?",)),
        ("nowhere:lines('a.txt')", ("there is no such module",)),
    ],
)
def test_a_key_that_cannot_be_read_is_explained(engine: Command, key: str, parts: tuple[str, ...]) -> None:
    engine("run", "rules.py:report")
    check_refused(engine("why", key), 2, *parts)


@pytest.mark.parametrize("command", ["watch", "verify"])
def test_where_several_keys_are_given_an_argument_goes_into_the_word_of_its_key(
    engine: Command, command: str
) -> None:
    check_refused(engine(command, "rules.py:lines", "a.txt"), 2, "\"rules.py:lines('a', 3)\"")
