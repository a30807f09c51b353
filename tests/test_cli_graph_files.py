"""A file that somebody asks about and the project does not have, or that cannot be read: it is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from engine.__main__ import answer
from tests.folders import place, without_privileges

__all__ = ["place"]  # a fixture


@pytest.mark.parametrize("question", ["imports", "importers"])
@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("model.py", "Did you mean shop/models.py?"),
        ("models.py", "Did you mean shop/models.py?"),
        ("shop", "Name a .py or .pyi file"),
        ("out/made.py", "no such Python file"),
        ("/etc/hosts", "Name a .py or .pyi file"),
        ("../models.py", "no such Python file"),
    ],
)
def test_a_file_that_is_not_there_is_told_with_the_one_that_may_be_meant(
    question: str,
    file: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("shop/models.py", "out/made.py", "app.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("import shop.models\n")
    (tmp_path / ".gitignore").write_text("out/\n")
    monkeypatch.chdir(tmp_path)
    assert answer(["graph", question, file]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert answer(["graph", question, "shop/models.py"]) == 0


def test_files_that_cannot_be_read_are_told_with_what_is_wrong_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "right.py").write_text("x = 1\n")
    (tmp_path / "wrong.py").write_text("x = 1\ndef y(:\n")
    (tmp_path / "latin.py").write_bytes(b"\xff = 1\n")
    monkeypatch.chdir(tmp_path)
    assert answer(["graph", "broken"]) == 0
    latin, wrong = capsys.readouterr().out.splitlines()
    assert latin.startswith("latin.py")
    assert wrong == "wrong.py:2  invalid syntax, for Python {}.{}".format(*sys.version_info)
    assert answer(["graph", "broken", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["answer"]
    assert [(one["path"], one["kind"]) for one in told] == [("latin.py", "encoding"), ("wrong.py", "syntax")]
    (tmp_path / "wrong.py").write_text("x = 1\n")
    (tmp_path / "latin.py").unlink()
    assert answer(["graph", "broken"]) == 0
    assert capsys.readouterr() == ("", "nothing was found\n")


def test_what_a_file_that_is_not_there_affects_is_answered_and_it_is_told_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test_a.py").write_text("import lib\n\n\ndef test_a():\n    pass\n")
    (tmp_path / "lib.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    assert answer(["graph", "affected", "lib.py", "li.py", "--tests"]) == 0
    assert capsys.readouterr() == ("test_a.py\n", "there is no file li.py now: it counts as removed\n")
    assert answer(["graph", "affected", "../lib.py", "/lib.py", "--tests"]) == 0
    assert capsys.readouterr() == (
        "",
        "../lib.py is not below the root: what it affects is not known\n"
        "/lib.py is not below the root: what it affects is not known\n"
        "nothing was found\n",
    )


def test_what_a_folder_affects_is_what_the_python_files_below_it_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in {
        "shop/models.py": "", "shop/deep/more.py": "", "shopping.py": "",
        "test_models.py": "import shop.models", "test_more.py": "import shop.deep.more",
        "test_shopping.py": "import shopping",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.chdir(tmp_path)
    for folder, tests in (
        ("shop", ["test_models.py", "test_more.py"]),
        ("shop/deep/", ["test_more.py"]),
        (".", ["test_models.py", "test_more.py", "test_shopping.py"]),
    ):
        assert answer(["graph", "affected", folder, "--tests"]) == 0
        told = capsys.readouterr()
        assert (sorted(told.out.split()), told.err) == (tests, "")
    (tmp_path / "data").mkdir()
    assert answer(["graph", "affected", "data", "..", "--tests"]) == 0
    assert capsys.readouterr() == (
        "",
        ".. is not below the root: what it affects is not known\n"
        "not Python, so nobody knows who reads it: data\n"
        "nothing was found\n",
    )


@pytest.mark.parametrize("name", ["shop", "shop/", "./shop", "shop/models.py", "./shop//models.py"])
def test_a_path_that_is_written_from_the_root_may_be_written_in_any_way(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "project" / "shop").mkdir(parents=True)
    (tmp_path / "project" / "shop" / "models.py").write_text("")
    (tmp_path / "project" / "test_models.py").write_text("import shop.models\n")
    monkeypatch.chdir(tmp_path)
    assert answer(["graph", "affected", "-C", "project", name, "--tests"]) == 0
    assert capsys.readouterr() == ("test_models.py\n", "")


def test_where_tests_are_asked_for_what_nobody_knows_is_told_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They go to pytest: without a word, a changed data file looks as if it affected no test."""
    (tmp_path / "test_a.py").write_text("")
    names = [f"data{number}.json" for number in range(10)]
    for name in names:
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    assert answer(["graph", "affected", "test_a.py", *names, "--tests"]) == 0
    told = f"not Python, so nobody knows who reads it: {', '.join(names[:8])}, and 2 more\n"
    assert capsys.readouterr() == ("test_a.py\n", told)


@pytest.mark.parametrize("module", ["gone.py:", ":"])
def test_a_module_that_is_not_there_is_no_symbol(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lib.py").write_text("import os\n")
    monkeypatch.chdir(tmp_path)
    assert answer(["graph", "callers", module]) == 2
    assert "no such Python file" in capsys.readouterr().err
    assert answer(["graph", "references", "lib.py:", "--from"]) == 0


def test_where_nothing_can_be_written_a_question_says_what_to_do_and_that_works(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("lib.py").write_text("def f():\n    g()\n\n\ndef g():\n    pass\n")
    with without_privileges():
        assert answer(["graph", "callers", "g"]) == 73
        assert capsys.readouterr().err.endswith("or keep none with --no-store.\n")
        assert answer(["graph", "callers", "g", "--no-store"]) == 0
        assert capsys.readouterr() == ("lib.py:1 f  f calls g\n", "")
        assert answer(["search", "g"]) == 73
        assert capsys.readouterr().err.endswith("or name another one with --store.\n")
