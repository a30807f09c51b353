"""A file that somebody asks about and the project does not have is an error, never an empty answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.__main__ import answer


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
