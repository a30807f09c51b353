"""Variables, constants and tool versions: only what was read counts, and absence is an answer."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import Durability, Engine, query
from engine.rules import command, stat
from engine.rules.command import ToolError, ToolMissing, tool_version
from engine.rules.env import ConstantNotSet, constant, variable


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- variables and constants ---------------------------------------------------------------------


@query
def greeting() -> str:
    name = variable("ENGINE_TEST_NAME")
    return "nobody" if name is None else f"hello {name}"


def test_a_variable_is_seen_when_it_is_set_changed_and_unset(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENGINE_TEST_NAME", raising=False)
    with Engine(None, root=place) as db:
        for value, expected in ((None, "nobody"), ("a", "hello a"), ("", "hello "), (None, "nobody")):
            if value is None:
                monkeypatch.delenv("ENGINE_TEST_NAME", raising=False)
            else:
                monkeypatch.setenv("ENGINE_TEST_NAME", value)
            db.sync()
            assert db.get(greeting) == expected
            assert greeting() == expected


def test_another_variable_runs_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_TEST_NAME", "a")
    with Engine(None, root=place) as db:
        db.get(greeting)
        before = db.counts()
        monkeypatch.setenv("ENGINE_TEST_OTHER", "b")
        assert db.sync() == 0
        db.get(greeting)
        assert (db.counts() - before).executed == 0


def test_a_variable_that_changed_between_two_runs_is_noticed_and_never_stored(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_TEST_NAME", "0123456789secret")
    with Engine(place / ".engine") as db:
        assert db.get(length) == 16
    for file in (place / ".engine").iterdir():
        assert b"0123456789secret" not in file.read_bytes()
    monkeypatch.setenv("ENGINE_TEST_NAME", "b")
    with Engine(place / ".engine") as db:
        assert db.get(length) == 1


@query
def length() -> int:
    return len(variable("ENGINE_TEST_NAME") or "")


def test_a_variable_may_hold_any_bytes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"ENGINE_TEST_NAME", b"\xff")
    with Engine(None, root=place) as db:
        assert db.get(variable, "ENGINE_TEST_NAME") == "\udcff"
        assert db.get(greeting) == "hello \udcff"
        assert db.get(variable, "a=b") is None
        assert db.get(variable, "") is None


@query
def flavour() -> str:
    return constant("flavour").upper()


def test_a_constant_is_what_the_host_set_and_an_error_before(place: Path) -> None:
    with Engine(place / ".engine") as db:
        with pytest.raises(ConstantNotSet, match="flavour") as caught:
            db.get(flavour)
        assert "db.set(constant.key(" in str(caught.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
        db.set(constant.key("flavour"), "release")
        db.set(constant.key("other"), "x")
        assert db.get(flavour) == "RELEASE"
        assert db.why(constant, "flavour").durability == Durability.HIGH
    with Engine(place / ".engine") as db:
        assert db.get(flavour) == "RELEASE"
        assert db.counts().executed == 0
        db.reset(constant.key("flavour"))
        with pytest.raises(ConstantNotSet):
            db.get(flavour)


# -- tools ---------------------------------------------------------------------------------------


def tool(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(f"#!/bin/sh\n{body}\n")
    new.chmod(0o755)
    os.replace(new, path)


@pytest.fixture
def tools(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory first on PATH, outside of what other programs use."""
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return place / "bin"


def test_a_version_is_what_the_tool_prints() -> None:
    assert tool_version("git") == subprocess.check_output(["git", "--version"], text=True).rstrip()
    assert tool_version(sys.executable, "-c", "print('it is 3')") == "it is 3"
    assert tool_version("sh", "-c", "echo to standard error >&2") == "to standard error"


def test_a_tool_runs_again_only_when_its_executable_changed(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stat, "RACY_WINDOW_NS", 0)
    tool(tools / "tool", f"echo ran >> {tools}/log; echo 1")
    with Engine(None, root=tools.parent) as db:
        for _ in range(3):
            assert db.get(tool_version, "tool") == "1"
            db.sync()
        assert (tools / "log").read_text() == "ran\n"
        tool(tools / "tool", "echo 2")
        db.sync()
        assert db.get(tool_version, "tool") == "2"
        assert db.why(tool_version, "tool").durability == Durability.MEDIUM


def test_a_tool_that_is_missing_is_an_answer_until_it_is_installed(tools: Path) -> None:
    with Engine(None, root=tools.parent) as db:
        for _ in range(2):
            with pytest.raises(ToolMissing) as caught:
                db.get(tool_version, "tool")
            assert (caught.value.command, caught.value.kind) == (("tool",), "missing")
            assert "PATH" in str(caught.value)
            db.sync()
        tool(tools / "tool", "echo 1")
        db.sync()
        assert db.get(tool_version, "tool") == "1"
        (tools / "tool").unlink()
        db.sync()
        with pytest.raises(ToolMissing):
            db.get(tool_version, "tool")


def test_another_tool_of_that_name_earlier_on_the_path_is_noticed(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tools / "tool", "echo 1")
    tool(tools.parent / "first" / "tool", "echo 2")
    with Engine(None, root=tools.parent) as db:
        assert db.get(tool_version, "tool") == "1"
        monkeypatch.setenv("PATH", f"{tools.parent / 'first'}{os.pathsep}{os.environ['PATH']}")
        db.sync()
        assert db.get(tool_version, "tool") == "2"


def test_a_tool_of_the_project_is_named_from_the_root(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tools / "tool", "pwd")
    monkeypatch.chdir("/")
    with Engine(None, root=tools.parent) as db:
        assert db.get(tool_version, "bin/tool") == str(tools.parent)
        assert db.get(tool_version, f"{tools}/tool") == str(tools.parent)


def test_a_relative_directory_on_the_path_is_one_below_the_root(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stat, "RACY_WINDOW_NS", 0)
    elsewhere = tools.parent / "elsewhere"
    tool(tools / "tool", "echo 1")
    elsewhere.mkdir()
    tool(elsewhere / "bin" / "tool", "echo of another project")
    monkeypatch.setenv("PATH", f"bin{os.pathsep}{os.defpath}")
    with Engine(None, root=tools.parent) as db:
        for directory, version in ((elsewhere, "1"), (elsewhere / "bin", "2"), (tools.parent, "3")):
            monkeypatch.chdir(directory)
            tool(tools / "tool", f"echo {version}")
            db.sync()
            assert db.get(tool_version, "tool") == version


def test_a_tool_gets_no_shell_no_input_and_a_small_environment(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_TEST_NAME", "secret")
    tool(tools / "tool", 'cat; echo "$1"; env')
    assert tool_version("tool", "; echo $HOME `id`").splitlines()[0] == "; echo $HOME `id`"
    assert "secret" not in tool_version("tool", "x")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("exit 3", "exit status 3"),
        ("kill -SEGV $$", "killed by signal 11"),
        ("yes", f"more than {command.MAX_OUTPUT_BYTES} bytes of output"),
    ],
)
def test_a_tool_that_fails_is_an_answer(body: str, kind: str, tools: Path) -> None:
    tool(tools / "tool", body)
    started = time.monotonic()
    with pytest.raises(ToolError) as caught:
        tool_version("tool")
    assert caught.value.kind == kind
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("name", ["KILL", "TERM"])
def test_that_somebody_ended_a_tool_is_no_answer(
    name: str, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stat, "RACY_WINDOW_NS", 0)
    tool(tools / "tool", f"test -e {tools}/asked && echo 1 || kill -{name} $$")
    with Engine(tools.parent / ".engine") as db, pytest.raises(ChildProcessError, match="'tool' was ended"):
        db.get(tool_version, "tool")
    (tools / "asked").touch()
    with Engine(tools.parent / ".engine") as db:
        assert db.get(tool_version, "tool") == "1", "although the executable is what it was"


@pytest.mark.parametrize("name", ["", "a\0b", "no/such/tool", "\udcff"])
def test_an_impossible_tool_is_missing(name: str, place: Path) -> None:
    with pytest.raises(ToolMissing):
        tool_version(name)
    with pytest.raises(ToolMissing):
        tool_version()


def test_what_cannot_be_run_is_an_answer(tools: Path) -> None:
    tool(tools / "tool", "")
    (tools / "tool").write_text("#!/no/such/interpreter\n")
    with pytest.raises(ToolError, match="No such file"):
        tool_version("tool")
    (tools / "tool").write_bytes(b"\x7fELF but no program")
    with pytest.raises(ToolError, match="Exec format"):
        tool_version("tool")
    with pytest.raises(ToolError, match="bad argument"):
        tool_version("tool", "a\0b")


@pytest.mark.parametrize("body", ["sleep 100", "sleep 100 & exit 0", "exec >&- 2>&-; sleep 100"])
def test_a_tool_that_hangs_is_ended_with_its_children_and_not_believed(
    body: str, tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(tools / "tool", f"echo $$ > {tools}/group; {body}")
    (tools / "group").touch()
    for seconds in (0.5, 5.0, 30.0):  # until it had the time to say who it is
        monkeypatch.setattr(command, "TIMEOUT_S", seconds)
        with pytest.raises(TimeoutError):
            tool_version("tool")
        group = (tools / "group").read_text().strip()
        if group:
            break
    assert group
    for _ in range(3000):  # the kernel takes a moment
        if not living(group):
            break
        time.sleep(0.02)
    else:
        pytest.fail("a child of the tool lives on")


def living(group: str) -> list[str]:
    """The processes of a group that are not dead; who buries the dead is not our concern."""
    found = []
    for stat_file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat_file.read_bytes().decode("latin-1").rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it ended meanwhile
        if its_group == group and state != "Z":
            found.append(stat_file.parent.name)
    return found
