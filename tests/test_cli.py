"""The command line itself: help, configuration, completion, and what it says of commands it does not know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import COMMANDS, group
from engine.cli.completing import complete
from engine.memory import LIMIT
from tests.commands import Command, check_refused, engine

__all__ = ["engine"]  # a fixture
CHECKOUT = Path(__file__).resolve().parent.parent


def test_config_shows_values_and_origins(engine: Command) -> None:
    Path("pyproject.toml").write_text("[tool.engine]\nworkers = 3\n")
    found = engine("config", "--show-origin")
    assert re.search(r"^workers +3 +.*pyproject.toml \[tool.engine\]$", found.out, re.M)
    assert re.search(r"^strict +false +default$", found.out, re.M)
    document = engine("config", "--json", "--store", "elsewhere").json["settings"]
    assert document["max_memory"] == {"value": LIMIT, "origin": "default"}
    assert document["store"] == {"value": str(Path.cwd() / "elsewhere"), "origin": "--store"}
    assert document["workers"]["value"] == 3


def test_limits_of_the_configuration_hold_for_what_runs(engine: Command) -> None:
    Path("engine.toml").write_text("limits = {gpu = 1}\n")
    assert re.search(r"^limits +gpu=1$", engine("config").out, re.M)
    assert engine("config", "--json").json["settings"]["limits"]["value"] == {"gpu": 1}
    Path("rules.py").write_text(
        "from engine import query\n\n\n@query(limit='net')\ndef fetched() -> int:\n    return 1\n"
    )
    assert "none of those that the engine has: gpu" in engine("run", "rules.py:fetched").err


COUNT = ("rules.py:count",)
ASKED = {
    "run": COUNT, "graph": ("cycles",), "search": ("count",), "why": COUNT, "deps": COUNT, "rdeps": COUNT,
    "status": (), "db": (), "verify": COUNT, "audit": ("rules.py:total",), "forget": ("nothing*",),
    "gc": (), "config": (),
}  # fmt: skip
RULES = """\
from engine import Sum, fold, query

@query
def keys() -> tuple[int, ...]:
    return (1, 2)

@query
def same(key: int) -> int:
    return key

total = fold(each=keys, of=same, into=Sum())

@query
def count() -> int:
    return total()
"""


def test_programs_find_the_fields_that_the_docs_name(engine: Command) -> None:
    text = (CHECKOUT / "docs" / "cli.md").read_text(encoding="utf-8").partition("## Answers for programs")[2]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text.partition("## Configuration")[0], re.MULTILINE)
    Path("rules.py").write_text(RULES)
    assert [command for command, _ in rows] == list(ASKED)
    for command, fields in rows:
        found = engine(command, *ASKED[command], "--json").json
        named = set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", fields)))
        inner = found.get("why", {})
        assert {*found, *inner} == named | {"schema"}, command
        assert found["schema"] == 1


def test_a_wrong_configuration_is_one_message_for_every_command(engine: Command) -> None:
    Path("engine.toml").write_text("workers = 'two'\n")
    for command in (("run", "rules.py:report"), ("status",), ("config",), ("gc",), ("forget", "*")):
        check_refused(engine(*command), 2, "engine.toml", "workers", "'two'", "at least 1")


def test_an_unknown_command_is_told_with_the_one_meant(engine: Command) -> None:
    check_refused(engine("rnu"), 2, "There is no command 'rnu'. Did you mean run?")
    check_refused(engine("rules.py:report"), 2, "To compute a query: engine run rules.py:report")
    check_refused(engine("frobnicate"), 2, "There are: run, watch, ")
    check_refused(engine("status", "--jsn"), 2, "--json")
    check_refused(engine("-C", "src", "status"), 2, "after the command, as in: engine run -C ...")
    told = "after the command, as in: engine graph COMMAND --no-store ..."
    check_refused(engine("graph", "--no-store", "callers", "area"), 2, told)


def test_a_group_without_a_command_shows_its_help_once(engine: Command) -> None:
    for command in ((), ("graph",)):
        found = engine(*command)
        told = found.out + found.err
        assert told.count("Usage:") == 1
        assert "Commands:" in told
        assert "See engine" not in told


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(group, [*command, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: group {' '.join(command)}".rstrip())
    assert "  -h, --help" in result.output
    assert "\x08" not in result.output


@pytest.mark.parametrize("command", [(), ("graph",)])
def test_no_line_of_a_list_of_commands_is_cut_off(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(group, [*command, "--help"], terminal_width=80)
    listed = result.output.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert len(listed) >= 15
    assert [line for line in listed if line.endswith("...")] == []


def test_the_choices_of_an_argument_are_told_in_lines_of_their_own(engine: Command) -> None:
    check_refused(engine("completion"), 2, "Choose from:\n  bash,\n  zsh,\n  fish\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(engine: Command, shell: str) -> None:
    assert "_ENGINE_COMPLETE" in engine("completion", shell).out


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("engine wa", "plain,watch"),
        ("engine run --st", "plain,--strict\nplain,--store"),
        ("engine completion z", "plain,zsh"),
        ("engine run tools/ru", "file,tools/ru"),
        ("engine run rules.py:lines a", "file,a"),
        ("engine status --store ", "file,"),
    ],
)
def test_what_is_no_command_and_no_option_is_completed_as_a_file(
    typed: str, offered: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", f"{typed.count(' ')}")
    monkeypatch.setenv("_ENGINE_COMPLETE", "bash_complete")
    with pytest.raises(SystemExit):
        complete()
    assert capfd.readouterr().out == f"{offered}\n"
