"""`engine graph`: questions about code, as people ask them, alone and while a watch answers."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine.__main__ import answer
from tests.watch_process import Asked, Watching

FILES = {
    "shop/__init__.py": "from .models import Shape\n",
    "shop/models.py": (
        "class Base:\n    def area(self):\n        return 0\n\n\n"
        "class Shape(Base):\n    def area(self):\n        return helper()\n\n\n"
        "def helper():\n    return 1\n\n\ndef _lonely():\n    pass\n"
    ),
    "app.py": (
        "from shop import Shape\n\n\ndef main():\n    show()\n\n\n"
        "def show():\n    print(Shape().area())\n\n\nmain()\n"
    ),
    "tests/test_app.py": "import app\n\n\ndef test_main():\n    app.main()\n",
    "a.py": "import b\n",
    "b.py": "import a\n",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> list[str]:
    """The lines of an answer, or of an error."""
    assert answer(["graph", *arguments]) == code
    found = capsys.readouterr()
    return (found.err if code else found.out).splitlines()


def test_an_answer_that_is_empty_says_so(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["graph", "callers", "_lonely"]) == 0
    assert capsys.readouterr() == ("", "nothing was found\n")


def test_possible_uses_of_a_private_name_are_asked_for_by_its_definition(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "own.py").write_text("class C:\n    def __m(self): ...\n\n\ndef f(x):\n    x._C__m()\n")
    found = said(capsys, "references", "own.py:C.__m", "--possible")
    assert found == ["own.py:5 f  call x._C__m"]


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    (line,) = said(capsys, *arguments, "--json")
    return json.loads(line)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("definitions area", ["shop/models.py:2 Base.area  method", "shop/models.py:7 Shape.area  method"]),
        ("definitions Shape.area", ["shop/models.py:7 Shape.area  method"]),
        ("definitions hel --starting", ["shop/models.py:11 helper  function"]),
        ("definitions nothing", []),
        ("references helper", ["shop/models.py:7 Shape.area  call helper"]),
        (
            "references main --from",
            ["app.py:4 main  call show -> app.py:show"],
        ),
        ("callers helper", ["shop/models.py:7 Shape.area  Shape.area calls helper"]),
        (
            "callers helper --depth 2",
            [
                "shop/models.py:7 Shape.area  Shape.area calls helper",
                "app.py:8 show  Shape.area calls helper, show calls Shape.area",
            ],
        ),
        ("callees app.py:main", ["app.py:8 show  main calls show"]),
        (
            "path main helper",
            [
                "app.py:4 main  main calls show",
                "app.py:8 show  show calls Shape.area",
                "shop/models.py:7 Shape.area  Shape.area calls helper",
            ],
        ),
        ("path helper main", []),
        ("imports app.py", ["shop/__init__.py  app.py imports shop/__init__.py"]),
        ("importers app.py", ["tests/test_app.py  tests/test_app.py imports app.py as app"]),
        ("cycles", ["a.py b.py"]),
        ("dead", ["shop/models.py:15 _lonely  function: nothing refers to it"]),
        ("verdict _lonely", ["shop/models.py:_lonely  function: dead, nothing refers to it"]),
        ("hierarchy Shape", ["above  shop/models.py:1 Base"]),
        ("hierarchy Base", ["below  shop/models.py:6 Shape"]),
        ("overrides Base.area", ["shop/models.py:7 Shape.area"]),
        ("overrides Shape.area --over", ["shop/models.py:2 Base.area"]),
        ("affected shop/models.py --tests", ["tests/test_app.py"]),
    ],
)
def test_a_question_is_answered(
    project: Path, capsys: pytest.CaptureFixture[str], question: str, expected: list[str]
) -> None:
    assert said(capsys, *question.split()) == expected


def test_the_answer_as_json_is_that_of_the_query(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "callers", "helper")
    assert found["question"] == "callers"
    assert found["schema"] == 1
    (one,) = found["answer"]
    assert one["symbol"] == "shop/models.py:Shape.area"
    assert [step["usage"] for step in one["steps"]] == ["call"]


def test_what_a_commit_is_behind_of_is_what_differs_from_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet: dict[str, Any] = {"cwd": project, "check": True, "capture_output": True}
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q"], **quiet)
    (project / ".gitignore").write_text(".engine\n")
    subprocess.run(["git", "add", "."], **quiet)
    subprocess.run(["git", *identity, "commit", "-qm", "one"], **quiet)
    assert said(capsys, "affected", "--since", "HEAD", "--tests") == []
    (project / "app.py").write_text(FILES["app.py"] + "# more\n")
    assert document(capsys, "affected", "--since", "HEAD")["answer"]["changed"] == ["app.py"]
    assert said(capsys, "affected", "--since", "HEAD", "--tests") == ["tests/test_app.py"]
    assert "git cannot say which files changed" in said(capsys, "affected", "--since", "nope", code=2)[0]


def test_a_name_that_several_have_or_nobody_is_an_error_that_says_which(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = said(capsys, "callers", "area", code=2)
    assert several[0] == "no definition of this project can be meant"
    assert several[-2].endswith("shop/models.py:Base.area, shop/models.py:Shape.area")
    assert several[-1] == "  Say which: PATH:QUALIFIED."
    elsewhere = said(capsys, "callers", "Nothing.helper", code=2)
    assert elsewhere[2:] == [
        "  cause: what is called helper is elsewhere",
        "  are:   shop/models.py:helper",
        "  Say which: PATH:QUALIFIED.",
    ]
    assert "engine search" in said(capsys, "callers", "zzz", code=2)[-1]
    assert said(capsys, "callers", "helpr", code=2)[-1] == "  Did you mean helper?"
    assert said(capsys, "callers", "shop/models.py:helpr", code=2)[-1] == "  Did you mean helper?"


def test_a_name_may_have_its_module_before_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "shop" / "other.py").write_text(
        "class models:\n    def helper(self):\n        pass\n\n\ndef _lonely():\n    pass\n"
    )
    (project / "shop" / "__init__.py").write_text("def opened():\n    pass\n")
    for name in ("shop.models._lonely", "models._lonely"):
        assert said(capsys, "definitions", name) == ["shop/models.py:15 _lonely  function"]
        assert document(capsys, "verdict", name)["answer"][0]["symbol"] == "shop/models.py:_lonely"
    assert said(capsys, "definitions", "shop.opened") == ["shop/__init__.py:1 opened  function"]
    # a qualified name is meant first
    assert said(capsys, "definitions", "models.helper") == ["shop/other.py:2 models.helper  method"]
    assert said(capsys, "definitions", "shop.models.helper") == ["shop/models.py:11 helper  function"]


def test_a_question_about_classes_refuses_what_is_none(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "it is no class" in said(capsys, "hierarchy", "helper", code=2)[-2]
    assert "no method or attribute of a class" in said(capsys, "overrides", "helper", code=2)[-2]
    assert said(capsys, "overrides", "Shape.area") == []
    assert document(capsys, "overrides", "Shape.area")["answer"] == []
    (project / "alone.py").write_text("class Alone: ...\n")
    assert document(capsys, "hierarchy", "Alone")["answer"]["subclasses"] == []


def test_files_are_named_from_where_one_is(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "engine.toml").write_text("")
    monkeypatch.chdir(project / "shop")
    expected = ["shop/__init__.py  shop/__init__.py imports shop/models.py as .models Shape"]
    found = said(capsys, "importers", "models.py")
    assert found == expected
    assert said(capsys, "importers", str(project / "shop" / "models.py")) == found


def test_affected_wants_files_or_a_commit(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "affected", code=2)
    assert said(capsys, "affected", "app.py", "--since", "HEAD", code=2)


def test_a_folder_without_python_has_answers_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said(capsys, "cycles") == []
    assert said(capsys, "dead") == []
    assert document(capsys, "summary")["answer"]["files"] == 0


def test_a_running_watch_answers(project: Path) -> None:
    with Watching(project, "engine.rules.python:code_graph") as watch:
        watch.ready()
        asked = Asked(project, "graph", "callers", "helper")
        assert asked.out.splitlines() == ["shop/models.py:7 Shape.area  Shape.area calls helper"]
        missing = Asked(project, "graph", "callers", "helpr")
        assert "Did you mean helper?" in missing.err
        assert watch.ends(signal.SIGTERM) == 143
        assert not (project / ".engine" / "watch.sock").exists()
