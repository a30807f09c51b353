"""Settings come from defaults, files, environment and flags; the later is the stronger, and says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import BadSettings
from engine.settings import load_settings


def check_refused(directory: Path, *parts: str, environment: dict[str, str] | None = None) -> None:
    with pytest.raises(BadSettings) as caught:
        load_settings(directory, environment=environment or {})
    for part in parts:
        assert part in str(caught.value)


def test_without_files_the_working_directory_is_the_project(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, environment={})
    assert settings.root == tmp_path
    assert settings.store == tmp_path / ".engine"
    assert settings.path == (tmp_path,)
    assert set(settings.origins.values()) == {"default"}
    assert list(tmp_path.iterdir()) == []  # settings S2


def test_each_source_beats_the_one_before_it(tmp_path: Path) -> None:
    sources: dict[str, int] = {}
    pyproject, own = tmp_path / "pyproject.toml", tmp_path / "engine.toml"

    def workers(environment: dict[str, str], flag: int | None) -> tuple[int, str]:
        found = load_settings(tmp_path, environment=environment, flags={"workers": flag})
        return found.workers, found.origins["workers"]

    sources["default"] = 1
    assert workers({}, None) == (1, "default")
    pyproject.write_text("[tool.engine]\nworkers = 2\n")
    assert workers({}, None) == (2, f"{pyproject} [tool.engine]")
    own.write_text("workers = 3\n")
    assert workers({}, None) == (3, str(own))
    assert workers({"ENGINE_WORKERS": "4"}, None) == (4, "environment ENGINE_WORKERS")
    assert workers({"ENGINE_WORKERS": "4"}, 5) == (5, "--workers")


def test_limits_are_numbers_by_name(tmp_path: Path) -> None:
    own = tmp_path / "engine.toml"
    own.write_text("limits = {gpu = 1, net = 4}\n")
    assert load_settings(tmp_path, environment={}).limits == {"gpu": 1, "net": 4}
    assert load_settings(tmp_path, environment={"ENGINE_LIMITS": f"a=2{os.pathsep}b=3"}).limits == {
        "a": 2,
        "b": 3,
    }
    for wrong in ('{gpu = "1"}', "{gpu = 0}", "1", '["gpu"]'):
        own.write_text(f"limits = {wrong}\n")
        check_refused(tmp_path, "limits", "whole numbers by name")
    own.unlink()
    for text in ("gpu", "gpu=", "gpu=many", "=1"):
        check_refused(tmp_path, "ENGINE_LIMITS", environment={"ENGINE_LIMITS": text})


def test_the_project_is_the_first_configured_directory_upwards(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.engine]\nstore = 'cache/store'\n")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'engine-less'\n")
    settings = load_settings(deep, environment={})
    assert settings.root == tmp_path
    assert settings.store == tmp_path / "cache" / "store"
    assert settings.files == (tmp_path / "pyproject.toml",)


def test_paths_are_relative_to_the_file_that_names_them_and_flags_to_where_one_is(tmp_path: Path) -> None:
    here = tmp_path / "sub"
    here.mkdir()
    (tmp_path / "engine.toml").write_text('rules = ["tools/rules.py", "shop.rules"]\nroot = "sub"\n')
    settings = load_settings(here, environment={"ENGINE_STORE": "env"}, flags={"path": ("lib",)})
    assert settings.rules == (str(tmp_path / "tools" / "rules.py"), "shop.rules")
    assert settings.root == here
    assert settings.store == here / "env"
    assert settings.path == (here, here / "lib")


def test_the_environment_is_read_by_the_kind_of_the_setting(tmp_path: Path) -> None:
    environment = {
        "ENGINE_RULES": os.pathsep.join(("a.rules", "b.rules")),
        "ENGINE_STRICT": "yes",
        "ENGINE_SYNCHRONOUS": "full",
        "ENGINE_WORKERS": "",  # empty is unset
        "ENGINE_SIZE": "1600cc",  # somebody else's
    }
    settings = load_settings(tmp_path, environment=environment)
    assert (settings.rules, settings.strict, settings.synchronous) == (("a.rules", "b.rules"), True, "FULL")
    assert settings.ignored == ("ENGINE_SIZE",)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("worker = 2", ("engine.toml", "worker", "there is no such setting", "Did you mean 'workers'?")),
        ("[tool.engine]\nworkers = 2", ("engine.toml", "tool", "Only in pyproject.toml")),
        ("zzz = 2", ("zzz", "root, store, rules")),
        ("workers = 0", ("workers", "0", "a whole number, at least 1")),
        ("workers = true", ("workers", "True")),
        ("workers = '2'", ("workers", "'2'")),
        ("strict = 1", ("strict", "true or false")),
        ("rules = 'rules.py'", ("rules", "a list of texts")),
        ("store = ''", ("store", "a directory")),
        ("synchronous = 'OFF'", ("synchronous", '"NORMAL" or "FULL"')),
        ("root = 'nowhere'", ("nowhere", "there is no such directory")),
        ("workers = ", ("engine.toml", "it is not TOML", "line 1")),
    ],
)
def test_a_wrong_file_is_refused_with_file_key_and_what_is_allowed(
    tmp_path: Path, text: str, parts: tuple[str, ...]
) -> None:
    (tmp_path / "engine.toml").write_text(text + "\n")
    check_refused(tmp_path, *parts)


def test_a_wrong_variable_is_refused_by_its_name(tmp_path: Path) -> None:
    check_refused(tmp_path, "ENGINE_WORKERS", "'many'", environment={"ENGINE_WORKERS": "many"})
    check_refused(tmp_path, "ENGINE_STRICT", environment={"ENGINE_STRICT": "maybe"})


def test_a_broken_pyproject_matters_only_if_it_may_be_ours(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text("[tool.other\n")
    assert load_settings(tmp_path, environment={}).files == ()
    file.write_text("[tool.engine\n")
    check_refused(tmp_path, "pyproject.toml", "it is not TOML")
    file.write_text("[tool]\nengine = 3\n")
    check_refused(tmp_path, "it is not a table")
    file.write_bytes(b"[tool.engine] # \xff\n")
    check_refused(tmp_path, "it is not UTF-8")


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    check_refused(tmp_path / "missing", "there is no such directory")


def test_a_project_that_goes_while_its_settings_are_read_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()

    def find(here: Path) -> tuple[Path, list[tuple[Path, dict[str, object]]]]:
        here.rmdir()
        return here, []

    monkeypatch.setattr("engine.settings._find", find)
    check_refused(tmp_path / "project", "there is no such directory", str(tmp_path / "project"))
