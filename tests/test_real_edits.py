"""The edits of the acceptance tests, made as on real repositories: the check passes, and it can fail."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks import plans, real
from benchmarks.mutations import Edit, write
from benchmarks.repository import plant, repository
from engine import Engine

HUB = "app/core/base.py"
FUNCTION = "make_base"  # of the hub, that others call
SEEN = ("restart", "comment", "blank lines", "body", "rename function", "override", "storm", "all together")

Tree = Mapping[str, str]
Run = Callable[[], int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command over a small repository; gives its exit code."""
    source = tmp_path / "source"
    source.mkdir()
    plant(source, repository(60).items())
    monkeypatch.setattr(real, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(sys, "argv", ["real", str(source)])

    def command() -> int:
        with pytest.raises(SystemExit) as ended:
            real.main()
        return int(ended.value.code or 0)

    return command


def plan_only(monkeypatch: pytest.MonkeyPatch, edit: Callable[[Tree], Edit]) -> None:
    def of(db: Engine, tree: Tree) -> Iterator[list[Edit]]:
        yield [edit(tree)]

    monkeypatch.setattr(plans, "of", of)


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("WRONG")]


def test_every_edit_runs_what_it_concerns_leaves_nothing_behind_and_equals_scratch(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    said = capsys.readouterr()
    assert "WRONG" not in said.err
    for kind in SEEN:
        assert f"\n  {kind} " in said.out, kind
    assert "scratch equal" in said.out


def test_a_comment_that_runs_more_than_parse_and_facts_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "\n\ndef engine_was_here():\n    return 1\n"
    plan_only(monkeypatch, lambda tree: Edit("comment", HUB, ((HUB, tree[HUB] + more),)))
    assert run() == 1
    lines = told(capsys)
    assert any(f"comment of {HUB}: " in line and "definitions" in line for line in lines), lines
    assert not any("parse(" in line or "facts(" in line for line in lines)


def test_a_rename_that_resolves_files_without_the_name_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def renamed(tree: Tree) -> Edit:
        """Says that it changes the hub alone, and changes a file that has nothing to do with it."""
        text = tree[HUB].replace(FUNCTION, "made_base")
        other = next(
            path
            for path, one in tree.items()
            if FUNCTION not in one and path.endswith(".py") and "def " in one
        )
        edit = Edit("rename function", HUB, ((HUB, text),), FUNCTION)
        hidden = tree[other] + "\n\ndef engine_was_here():\n    return 1\n"
        monkeypatch.setattr(real, "write", _writing((HUB, text), (other, hidden)))
        return edit

    plan_only(monkeypatch, renamed)
    assert run() == 1
    assert any(f"rename function of {HUB}: " in line and "ran for nothing" in line for line in told(capsys))


def test_a_rename_by_itself_passes(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_only(
        monkeypatch,
        lambda tree: Edit("rename function", HUB, ((HUB, tree[HUB].replace(FUNCTION, "made")),), FUNCTION),
    )
    assert run() == 0
    assert told(capsys) == []


def test_an_undone_edit_that_leaves_something_behind_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "\n\ndef engine_was_here():\n    return 1\n"
    plan_only(monkeypatch, lambda tree: Edit("export", HUB, ((HUB, tree[HUB] + more),)))
    monkeypatch.setattr(real, "write", lambda root, edit: None if edit.kind == "undo" else write(root, edit))
    assert run() == 1
    assert told(capsys) == [
        f"WRONG  source: export of {HUB}: it was undone, and something is not what it was"
    ]


def test_a_difference_from_scratch_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_only(monkeypatch, lambda tree: Edit("body", HUB, ((HUB, tree[HUB]),)))
    asked = real.answers
    monkeypatch.setattr(real, "answers", _different(asked))
    assert run() == 1
    assert told(capsys) == ["WRONG  source: all together: it differs from a build from empty"]


def _different(asked: Callable[[Engine], dict[str, object]]) -> Callable[[Engine], dict[str, object]]:
    """Answers that tell an engine with a store from one without."""

    def answers(db: Engine) -> dict[str, object]:
        return {**asked(db), "stored": db.store is not None}

    return answers


def _writing(*changes: tuple[str, str]) -> Callable[[Path, Edit], None]:
    def wrong(root: Path, edit: Edit) -> None:
        for path, text in changes if edit.kind != "undo" else edit.changes:
            (root / path).write_text(str(text))

    return wrong
