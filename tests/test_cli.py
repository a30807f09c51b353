"""Every command: what it prints, what it answers with, and what it says when the request is wrong."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from engine.__main__ import answer
from engine.cli import COMMANDS, group
from engine.cli.convert import convert
from engine.cli.output import plain, shown
from engine.errors import UnstorableValue
from engine.memory import LIMIT

RULES = """\
import enum, os, sys
from pathlib import Path
from typing import Literal
from attrs import frozen
from engine import each, query
from engine.rules.files import read_text

@frozen
class Row:
    name: str
    lines: int

class Color(enum.Enum):
    RED = 1
    BLUE = 2

@query
def lines(path: str) -> int:
    return len(read_text(path).splitlines())

@query
def report() -> tuple[Row, ...]:
    return tuple(Row(path, lines(path)) for path in ("a.txt", "b.txt"))

@query
def echo(text: str, number: int = 0, *, color: Color = Color.RED) -> str:
    return f"{text} {number} {color.name}"

@query
def total(numbers: tuple[int, ...], row: Row | None = None) -> int:
    return sum(numbers) + (row.lines if row else 0)

@query
def free(value) -> str:
    return repr(value)

@query
def outer(n: int) -> int:
    return inner(n) + 1

@query
def inner(n: int) -> int:
    print("looking at", n)
    os.system("echo from a child")
    raise ValueError(f"\\x1b[31m {n}")

@query
def loop_a() -> int:
    return loop_b()

@query
def loop_b() -> int:
    return loop_a()

@query
def leaves() -> int:
    sys.exit(7)

@query
def opaque() -> object:
    return object()

@query
def noisy() -> str:
    return "one\\n\\x1b[31mtwo\\u202e"
"""


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        document = json.loads(self.out)
        assert document["schema"] == 1
        assert self.out == json.dumps(document, sort_keys=True) + "\n"  # W3
        assert self.out.isascii()
        return document


Command = Callable[..., Answer]


@pytest.fixture
def engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run the command line in a project that holds rules.py, a.txt and b.txt."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("ENGINE_")]:
        monkeypatch.delenv(name)
    Path("rules.py").write_text(RULES)
    Path("a.txt").write_text("1\n2\n")
    Path("b.txt").write_text("3\n")
    loaded, path = set(sys.modules), list(sys.path)

    def forget_modules() -> None:
        for name in set(sys.modules) - loaded:
            if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
                del sys.modules[name]
        sys.path[:] = path

    def run(*arguments: str) -> Answer:
        forget_modules()  # as a new process would have it
        capfd.readouterr()
        code = answer(list(arguments))
        out, err = capfd.readouterr()
        assert "\x1b" not in out + err  # W2
        return Answer(code, out, err)

    yield run
    forget_modules()


def check_refused(found: Answer, code: int, *parts: str) -> None:
    assert found.code == code, found
    assert found.out == ""
    assert "Traceback" not in found.err
    for part in parts:
        assert part in found.err, found.err


# -- run ---------------------------------------------------------------------------------------


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
    assert (found.code, found.out) == (1, "")  # what it printed is not the answer (W1)
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


# -- looking -----------------------------------------------------------------------------------


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


def test_status_and_db_describe_the_store(engine: Command) -> None:
    assert engine("status").out.endswith("nothing was stored here yet\n")
    assert engine("status", "--json").json["exists"] is False
    assert not Path(".engine").exists()  # E2
    engine("run", "rules.py:report")
    Path("a.txt").write_text("1\n")
    engine("run", "rules.py:report")
    status = engine("status", "--json").json
    assert (status["revision"], status["nodes"], status["inputs"], status["suspects"]) == (2, 5, 2, 0)
    assert status["revisions"][0]["number"] == 2
    shown_status = engine("status").out
    assert "revision  2" in shown_status
    assert "5, 2 of them observed inputs" in shown_status
    assert engine("db", "--json").json["nodes_of"]["rules:lines"] == 2
    assert "rules:lines" in engine("db").out
    assert "CREATE TABLE node" in engine("db", "--schema").out


@pytest.mark.parametrize("command", [("why", "rules:report()"), ("deps", "rules:report"), ("db",), ("gc",)])
def test_without_a_store_one_is_told_to_run_first(engine: Command, command: tuple[str, ...]) -> None:
    check_refused(engine(*command), 73, "nothing was stored here yet", "engine run")
    assert not Path(".engine").exists()


# -- keeping -----------------------------------------------------------------------------------


def test_forget_lets_keys_run_again(engine: Command) -> None:
    engine("run", "rules.py:report")
    assert engine("forget", "rules:lines*").out == "2 keys forgotten\n"
    again = engine("run", "rules.py:report", "--json").json["counts"]
    assert (again["executed"], again["cut_off"]) == (2, 2)
    assert engine("forget", "nothing*", "--json").json["forgotten"] == 0


def test_gc_deletes_what_nobody_asked_for(engine: Command) -> None:
    engine("run", "rules.py:report")
    text = Path("rules.py").read_text().replace('("a.txt", "b.txt")', '("a.txt",)')
    Path("rules.py").write_text(text)
    engine("run", "rules.py:report")
    collected = engine("gc", "--json").json
    assert (collected["deleted"], collected["kept"]) == (2, 3)
    assert "deleted 0 of 3 nodes" in engine("gc").out
    assert "executed 0," in engine("run", "rules.py:report").err


# -- stores that cannot be used ----------------------------------------------------------------


def test_a_store_of_a_newer_version_is_left_alone(engine: Command) -> None:
    engine("run", "rules.py:report")
    store = Path(".engine/store.db")
    data = bytearray(store.read_bytes())
    data[60:64] = (999).to_bytes(4, "big")
    store.write_bytes(data)
    Path(".engine/store.seal").unlink()  # else the seal says that the version is damage
    for command in (("run", "rules.py:report"), ("status",), ("gc",)):
        check_refused(engine(*command), 76, "newer", "999")
    assert store.read_bytes() == bytes(data)


def test_a_foreign_file_in_the_place_of_the_store_is_left_alone(engine: Command) -> None:
    Path(".engine").mkdir(mode=0o700)
    Path(".engine/store.db").write_text("a diary")
    check_refused(engine("run", "rules.py:report"), 76, "not a store of the engine", "store.db")
    assert Path(".engine/store.db").read_text() == "a diary"
    check_refused(engine("run", "rules.py:report", "--store", "a.txt"), 76, "a.txt", "Name another")


def test_a_store_in_use_can_be_looked_at_and_answers_without_saving(engine: Command) -> None:
    engine("run", "rules.py:report")
    from engine import Engine

    with Engine(".engine"):
        check_refused(engine("run", "rules.py:report"), 75, "in use", str(os.getpid()), "--read-only")
        assert engine("run", "rules.py:report", "--read-only", "-q").out.startswith("Row")
        assert engine("deps", "rules:report").code == 0
        assert engine("status").code == 0


def test_a_directory_that_others_may_write_to_is_refused(engine: Command) -> None:
    Path(".engine").mkdir()
    Path(".engine").chmod(0o777)
    check_refused(engine("run", "rules.py:report"), 73, "not private", "chmod")


# -- the command line itself -------------------------------------------------------------------


def test_config_shows_values_and_origins(engine: Command) -> None:
    Path("pyproject.toml").write_text("[tool.engine]\nworkers = 3\n")
    found = engine("config", "--show-origin")
    assert re.search(r"^workers +3 +.*pyproject.toml \[tool.engine\]$", found.out, re.M)
    assert re.search(r"^strict +false +default$", found.out, re.M)
    document = engine("config", "--json", "--store", "elsewhere").json["settings"]
    assert document["max_memory"] == {"value": LIMIT, "origin": "default"}
    assert document["store"] == {"value": str(Path.cwd() / "elsewhere"), "origin": "--store"}
    assert document["workers"]["value"] == 3


def test_a_wrong_configuration_is_one_message_for_every_command(engine: Command) -> None:
    Path("engine.toml").write_text("workers = 'two'\n")
    for command in (("run", "rules.py:report"), ("status",), ("config",), ("gc",), ("forget", "*")):
        check_refused(engine(*command), 2, "engine.toml", "workers", "'two'", "at least 1")


def test_an_unknown_command_is_told_with_the_one_meant(engine: Command) -> None:
    check_refused(engine("rnu"), 2, "There is no command 'rnu'. Did you mean run?")
    check_refused(engine("frobnicate"), 2, "There are: run, watch, ")
    check_refused(engine("status", "--jsn"), 2, "--json")
    check_refused(engine("-C", "src", "status"), 2, "after the command, as in: engine run -C ...")


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(group, [*command, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: group {' '.join(command)}".rstrip())
    assert "  -h, --help" in result.output
    assert "\x08" not in result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(engine: Command, shell: str) -> None:
    assert "_ENGINE_COMPLETE" in engine("completion", shell).out


# -- values ------------------------------------------------------------------------------------


def test_values_are_shown_as_trees() -> None:
    from attrs import frozen

    @frozen
    class Part:
        name: str
        sizes: tuple[int, ...]

    value = {"first": Part("x", (1, 2)), "second": (), "third": None}
    assert list(shown(value)) == [
        "first:", "  name: x", "  sizes:", "    1", "    2", "second: (none)", "third: None",
    ]  # fmt: skip
    assert list(shown(frozenset({2, 1}))) == ["1", "2"]
    assert list(shown(())) == list(shown("")) == []
    assert list(shown((("a", 1), ("b", 2)))) == ["a  1", "b  2"]
    assert list(shown(b"\xff")) == ["b'\\xff'"]


def test_json_has_one_form_for_each_value() -> None:
    assert plain({2: {3, 1}, 1: Path("a/b")}) == {"1": "a/b", "2": [1, 3]}
    assert json.dumps(plain("\udc80")) == '"\\udc80"'
    with pytest.raises(UnstorableValue, match="no form in JSON"):
        plain(object())


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("1e3", float, 1000.0),
        ("yes", bool, True),
        ("x", bytes, b"x"),
        ("a/b", Path, Path("a/b")),
        ("2026-11-22", __import__("datetime").date, __import__("datetime").date(2026, 11, 22)),
        ("3", int | str, 3),
        ("x", int | str, "x"),
        ("null", str | None, None),
        ('["a"]', frozenset[str], frozenset({"a"})),
        ('{"a": [1]}', dict[str, list[int]], {"a": [1]}),
        ('["a/b"]', tuple[Path, ...], (Path("a/b"),)),
    ],
)
def test_texts_become_values_of_the_annotation(text: str, hint: Any, value: object) -> None:
    found = convert(text, hint)
    assert (found, type(found)) == (value, type(value))
