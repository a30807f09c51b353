"""What gets installed: one package named `engine`, whatever lies in the folder in which it is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import engine

CHECKOUT = Path(__file__).resolve().parent.parent
LIMIT_S = 600  # a build takes two seconds; much more is a hang

# What a user may have in the working directory under our names.
THEIRS = {
    "rules.py": "raise SystemExit('this is the rules.py of the user')",
    "store.py": "raise SystemExit('this is the store.py of the user')",
    "engine/__init__.py": "raise SystemExit('this is the engine of the user')",
}


def test_sdist_and_wheel_hold_all_three_folders_and_nothing_else_of_ours(built: Path) -> None:
    (sdist,) = built.glob("engine-*.tar.gz")
    (wheel,) = built.glob("engine-*.whl")
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    with zipfile.ZipFile(wheel) as contents:
        in_wheel = set(contents.namelist())
    modules = {
        f"{folder}/{path.relative_to(CHECKOUT / folder).as_posix()}"
        for folder in ("engine", "engine/store", "engine/rules")
        for path in (CHECKOUT / folder).rglob("*.py")
    }
    assert modules <= in_sdist
    assert modules | {"engine/py.typed"} == {name for name in in_wheel if ".dist-info/" not in name}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "make.py", "tests/test_packaging.py"} <= in_sdist


def test_an_installed_engine_runs_beside_the_users_rules_store_and_engine(
    built: Path, tmp_path: Path
) -> None:
    home = installed(built, tmp_path / "environment")
    place = with_files(tmp_path / "project", THEIRS)
    version = f"engine {engine.__version__}"
    assert run([home / "bin" / "engine", "--version"], place) == version
    assert run([home / "bin" / "python", "-m", "engine", "--version"], tmp_path) == version
    work = "import engine, engine.store, engine.rules.files; print(engine.__file__)"
    where = run([home / "bin" / "python", "-P", "-c", work], place)
    assert Path(where).is_relative_to(home)


def test_an_installed_engine_runs_a_users_program(built: Path, tmp_path: Path) -> None:
    home = installed(built, tmp_path / "environment")
    program = """\
from engine import Engine, query
from engine.rules.files import read_text

@query
def words() -> int:
    return len(read_text("note.txt").split())

with Engine(".engine") as db:
    print(db.get(words), db.counts().executed)
"""
    place = with_files(tmp_path / "project", {"program.py": program, "note.txt": "one two three"})
    assert run([home / "bin" / "python", "program.py"], place) == "3 1"
    assert run([home / "bin" / "python", "program.py"], place) == "3 0"


def test_a_checkout_without_symlinks_works(tmp_path: Path) -> None:
    for folder in ("engine", "store", "rules"):
        shutil.copytree(
            CHECKOUT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for link in ("store", "rules"):  # as git writes them where there are no symlinks
        (tmp_path / "engine" / link).unlink()
        (tmp_path / "engine" / link).write_text(f"../{link}", encoding="utf-8")
    work = """\
import engine.rules.python, engine.store
from engine import Engine
with Engine(".engine", root=".") as db:
    print(engine.store.__file__, db.get(engine.rules.python.code_graph).files)
"""
    place = with_files(tmp_path / "project", {"one.py": ""})
    assert run([sys.executable, "-c", work], place, PYTHONPATH=str(tmp_path)) == (
        f"{tmp_path / 'store' / '__init__.py'} 1"
    )


def test_windows_is_told_at_the_import_where_the_engine_runs() -> None:
    program = "import os; os.name = 'nt'; import engine"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert answer.stderr.splitlines()[-1] == (
        "ImportError: engine runs on Linux and macOS; on Windows, use it inside WSL"
    )


@pytest.mark.parametrize("folder", ["store", "rules"])
def test_a_folder_refuses_to_be_imported_under_its_own_name(folder: str) -> None:
    program = f"import {folder}"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert answer.returncode == 1
    assert f"engine.{folder}" in answer.stderr.splitlines()[-1]


def test_the_version_is_stated_once_and_again() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["name"], project["version"]) == ("engine", engine.__version__)
    assert f"## {engine.__version__}" in (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")


# -- what they use -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sdist and wheel; the wheel is made from the sdist."""
    target = tmp_path_factory.mktemp("dist")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        target,
        CHECKOUT,
    ]
    run(command, target)
    return target


def installed(built: Path, home: Path) -> Path:
    """A new environment with the wheel in it; what the wheel needs comes from the one that runs the tests."""
    run([sys.executable, "-m", "venv", "--without-pip", home], built)
    (wheel,) = built.glob("*.whl")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", home / "bin" / "python"]
    run([*pip, "install", "--quiet", "--no-deps", "--no-index", wheel], built)
    paths = {"base": str(home), "platbase": str(home)}
    own = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return home


def with_files(place: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text, encoding="utf-8")
    return place


def run(command: list[str | Path], place: Path, **environment: str) -> str:
    """Run a program in a folder; its standard output. Fails with all that it said."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    answer = subprocess.run(
        command, cwd=place, env=clean | environment, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert answer.returncode == 0, f"{command}\n{answer.stdout}\n{answer.stderr}"
    return answer.stdout.strip()
