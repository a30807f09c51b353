"""Where absolute imports start: what the host, the settings and the build of a project say, also edited."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import BadSettings, Engine, Event, What
from engine.__main__ import answer
from engine.rules import python
from tests.watch_process import Asked, Watching

FILES = {
    "lib/tool.py": "def greet():\n    pass\n",
    "python/tool.py": "def greet():\n    pass\n",
    "app.py": "from tool import greet\nimport other\n\n\ndef main():\n    greet()\n",
    "alone.py": "x = 1\n",
}
LIB = 'source_roots = ["lib", "."]\n'
CALLER = "app.py:5 main  main calls greet\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ENGINE_SOURCE_ROOTS", raising=False)
    place = tmp_path / "project"
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def db(project: Path) -> Iterator[Engine]:
    with Engine(None, root=project) as db:
        yield db


def target(db: Engine) -> str | None:
    """The file that app.py imports."""
    return next(row.target for row in db.get(python.imports.of, "app.py") if row.module == "tool")


def test_a_setting_of_the_command_line_says_where_imports_start(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(["graph", "callers", "lib/tool.py:greet"]) == 0
    assert capsys.readouterr().out == ""
    (project / "pyproject.toml").write_text(f"[tool.engine]\n{LIB}")
    assert answer(["graph", "callers", "lib/tool.py:greet"]) == 0
    assert capsys.readouterr() == (CALLER, "")
    (project / "engine.toml").write_text('source_roots = ["./python/", "."]\n')  # the stronger one
    assert answer(["graph", "callers", "python/tool.py:greet"]) == 0
    assert capsys.readouterr() == (CALLER, "")
    assert answer(["config", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["settings"]["source_roots"]
    assert told == {"value": ["./python/", "."], "origin": str(project / "engine.toml")}


def test_the_environment_is_stronger_than_files_and_the_host_than_both(
    db: Engine, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "engine.toml").write_text(LIB)
    assert target(db) == "lib/tool.py"
    monkeypatch.setenv("ENGINE_SOURCE_ROOTS", "python:.")
    db.sync()
    assert target(db) == "python/tool.py"
    db.set(python.source_roots.key(), ("", "lib"))
    assert target(db) == "lib/tool.py"
    assert db.get(python.import_roots) == ("", "lib")


@pytest.mark.parametrize(
    ("said", "roots"),
    [
        ("", ("", "src")),
        ('[tool.setuptools.packages.find]\nwhere = ["lib"]', ("lib", "", "src")),
        ('[tool.setuptools]\npackage-dir = {"" = "lib", pkg = "other/pkg"}', ("lib", "", "src")),
        ('[tool.setuptools.packages.find]\nwhere = ["."]', ("", "src")),
        (
            '[tool.hatch.build.targets.wheel]\npackages = ["src/one", "python/two", "three"]',
            ("src", "python", ""),
        ),
        ('[tool.hatch.build.targets.wheel]\nsources = ["python"]', ("python", "", "src")),
        ('[[tool.poetry.packages]]\ninclude = "tool"\nfrom = "lib"', ("lib", "", "src")),
        ('[tool.pdm.build]\npackage-dir = "lib"', ("lib", "", "src")),
        ('[tool.uv.build-backend]\nmodule-root = ""', ("", "src")),
        ('[tool.maturin]\npython-source = "python"', ("python", "", "src")),
        ('[tool.pytest.ini_options]\npythonpath = ["lib", "."]', ("lib", "", "src")),
        ('[tool.setuptools.packages.find]\nwhere = ["../lib", "/lib", 1]', ("", "src")),
        ("[tool]\nsetuptools = 1\nhatch = []", ("", "src")),
        ("[tool.setuptools", ("", "src")),
    ],
)
def test_without_a_setting_what_the_build_imports_from_comes_before_the_root_and_src(
    db: Engine, project: Path, said: str, roots: tuple[str, ...]
) -> None:
    (project / "pyproject.toml").write_text(said)
    assert db.get(python.import_roots) == roots


def test_an_edit_of_the_setting_runs_what_rests_on_the_roots_and_an_edit_beside_it_nothing(
    project: Path,
) -> None:
    settings = project / "pyproject.toml"
    settings.write_text("[tool.engine]\nworkers = 1\n")
    ran: list[Event] = []

    def asked(db: Engine) -> list[str]:
        ran.clear()
        db.sync()
        db.get(python.code_graph)
        told = [one.key for one in ran if one.what in (What.EXECUTED, What.CUT_OFF) and one.key is not None]
        return sorted(str(key).partition(":")[2] for key in told)

    with Engine(project.parent / "store", root=project) as db:
        db.listen(ran.append)
        asked(db)
    with Engine(project.parent / "store", root=project) as db:  # a store that was made before
        db.listen(ran.append)
        settings.write_text(f"[tool.engine]\nworkers = 1\n{LIB}")
        first = asked(db)
        assert target(db) == "lib/tool.py"
        assert first == [
            "_cycles_within('')",
            "_directories_imported('')",
            "_directory_groups()",
            "code_graph()",
            "directory_imports('')",
            "directory_summary('')",
            "file_summary('app.py')",
            "find_child('lib', 'other')",
            "find_child('lib', 'tool')",
            "find_module('other')",
            "find_module('tool')",
            "import_roots()",
            "import_targets('app.py')",
            "imported_files('app.py')",
            "present_roots()",
            "tree_summary('')",
        ]
        settings.write_text(f"[tool.engine]\nworkers = 2 # more\n{LIB}")
        assert asked(db) == ["import_roots()"]
        settings.unlink()
        asked(db)
        assert target(db) is None


@pytest.mark.parametrize(
    ("setting", "cause"),
    [
        ("'lib'", "it is no list of folders"),
        ("[]", "it is no list of folders"),
        ("{lib = 1}", "it is no list of folders"),
        ("['lib', 1]", "it is no text that names a folder"),
        ("['']", "it is no text that names a folder"),
        ("['/lib']", "it is not below the root"),
        ("['../lib']", "it is not below the root"),
        ("['lib/../..']", "it is not below the root"),
    ],
)
def test_a_setting_that_is_no_list_of_folders_is_told_and_its_correction_heals(
    db: Engine, project: Path, setting: str, cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = project / "engine.toml"
    file.write_text(f"source_roots = {setting}\n")
    with pytest.raises(BadSettings) as caught:
        db.get(python.import_roots)
    for part in ("engine.toml", "source_roots", cause, 'as in ["lib", "."]'):
        assert part in str(caught.value)
    assert answer(["graph", "callers", "lib/tool.py:greet"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    for part in (str(file), "source_roots", "a list of folders below the root, each relative to it"):
        assert part in told.err
    file.write_text(LIB)
    db.sync()
    assert target(db) == "lib/tool.py"
    assert answer(["graph", "callers", "lib/tool.py:greet"]) == 0
    assert capsys.readouterr().out == CALLER


def test_a_file_that_says_the_setting_and_is_no_toml_is_told(db: Engine, project: Path) -> None:
    (project / "pyproject.toml").write_text(f"[tool.engine\n{LIB}")
    with pytest.raises(BadSettings, match="it is not TOML"):
        db.get(python.import_roots)


def test_a_build_that_cannot_be_read_is_a_note(
    db: Engine, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build = '[tool.setuptools.packages.find]\nwhere = ["lib"]\n'
    (project / "pyproject.toml").write_text(build)
    assert target(db) == "lib/tool.py"
    (project / "pyproject.toml").write_text(f"{build}x = = 1\n")
    db.sync()
    assert target(db) is None
    assert answer(["graph", "summary"]) == 0
    note = "note: pyproject.toml does not say where imports start: it is not TOML: "
    assert capsys.readouterr().err.startswith(note)
    (project / "engine.toml").write_text(LIB)
    assert answer(["graph", "callers", "lib/tool.py:greet"]) == 0
    assert "note" not in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_a_note_and_counts_from_when_it_is(
    db: Engine, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "engine.toml").write_text('source_roots = ["late", "."]\n')
    assert target(db) is None
    assert answer(["graph", "callers", "lib/tool.py:greet"]) == 0
    note = "note: source_roots names late: there is no such folder below the root"
    assert capsys.readouterr().err.splitlines()[0] == note
    (project / "late").mkdir()
    (project / "late" / "tool.py").write_text("def greet():\n    pass\n")
    db.sync()
    assert target(db) == "late/tool.py"


def test_a_project_without_src_has_nothing_that_failed_and_follows_it_when_it_comes(
    db: Engine, project: Path
) -> None:
    events: list[Event] = []
    db.listen(events.append)
    db.get(python.code_graph)
    assert [event for event in events if event.what is What.FAILED] == []
    assert target(db) is None
    (project / "src").mkdir()
    (project / "src" / "tool.py").write_text("def greet():\n    pass\n")
    db.sync()
    assert target(db) == "src/tool.py"
    (project / "src" / "tool.py").unlink()
    (project / "src").rmdir()
    db.sync()
    assert target(db) is None


def test_a_setting_in_a_file_outside_of_the_root_is_not_used_and_that_is_told(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "engine.toml").write_text('source_roots = ["inside"]\n')
    assert answer(["graph", "summary", "--root", "lib"]) == 0
    assert "is not used: it lies outside of the root" in capsys.readouterr().err


def test_a_key_with_a_dash_is_refused_with_the_right_one(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "engine.toml").write_text('source-roots = ["lib"]\n')
    assert answer(["graph", "summary"]) == 2
    assert "Did you mean 'source_roots'?" in capsys.readouterr().err


def test_a_running_watch_follows_an_edit_of_the_setting(project: Path) -> None:
    with Watching(project, "engine.rules.python:code_graph") as watch:
        watch.ready()
        assert Asked(project, "graph", "callers", "lib/tool.py:greet").out == ""
        (project / "engine.toml").write_text(LIB)
        assert Asked(project, "graph", "callers", "lib/tool.py:greet").out == CALLER
        assert watch.process.poll() is None
