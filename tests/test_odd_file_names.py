"""Questions about a project in which a file has a name that is no text."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.__main__ import answer
from tests.watch_process import Watching

ODD = os.fsdecode(b"bad\xff.py")
QUESTIONS = (
    ("definitions", "inside"), ("callers", "inside"), ("callees", "main"), ("references", "inside"),
    ("dead",), ("affected", ODD), ("importers", ODD), ("imports", ODD), ("verdict", "inside"),
)  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    try:
        (tmp_path / ODD).write_text("def inside():\n    'Doc.'\n\n\ndef main():\n    inside()\n")
    except OSError:
        pytest.skip("file names are texts here")
    (tmp_path / "good.py").write_text("def other():\n    pass\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answers(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = {}
    for question in QUESTIONS:
        code = answer(["graph", *question, "--json"])
        told = capsys.readouterr()
        assert code == 0, (question, told.err)
        found[question[0]] = json.loads(told.out)["answer"]
        assert answer(["graph", *question]) == 0
        capsys.readouterr()
    return found


def test_a_script_and_rules_in_a_file_whose_name_is_no_text_are_the_same_queries(project: Path) -> None:
    """The name of a query holds that of its file, and the store holds texts: it was a bug of ours."""
    (project / ODD).write_text(
        "from engine import Engine, query\n"
        "@query\n"
        "def report() -> int:\n    print('runs')\n    return 7\n"
        "if __name__ == '__main__':\n    with Engine('.engine') as db:\n        print(db.get(report))\n"
    )
    for arguments, told in (
        ([ODD], "runs\n7\n"), ([ODD], "7\n"), (["-m", "engine", "run", f"{ODD}:report"], "7\n")
    ):  # fmt: skip
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
        assert done.stdout == told


def test_every_question_has_an_answer(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answers(capsys)
    assert [one["symbol"] for one in found["callers"]] == [f"{ODD}:main"]
    assert found["definitions"][0]["path"] == ODD
    assert found["affected"]["changed"] == [ODD]


def test_a_running_watch_gives_the_same_answers(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = answers(capsys)
    with Watching(project, "engine.rules.python:code_graph") as watch:
        watch.ready()
        assert answers(capsys) == alone
        assert watch.ends(signal.SIGTERM) == 143
