"""The command line in a project of three files: what it answers, and how it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.__main__ import answer
from tests.small_project import forget_modules, working_in, write_project

RULES = """
@query
def total(numbers: tuple[int, ...], row: Row | None = None) -> int:
    return sum(numbers) + (row.lines if row else 0)

@query
def free(value) -> str:
    return repr(value)

@query
def outer(n: int) -> int:
    return inner(n) + 1

@query
def inner(n: int) -> int:
    print("looking at", n)
    os.system("echo from a child")
    raise ValueError(f"\\x1b[31m {n}")

@query
def loop_a() -> int:
    return loop_b()

@query
def loop_b() -> int:
    return loop_a()

@query
def noisy() -> str:
    return "one\\n\\x1b[31mtwo\\u202e"
"""


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        document = json.loads(self.out)
        assert document["schema"] == 1
        assert self.out == json.dumps(document, sort_keys=True) + "\n"  # output W3
        assert self.out.isascii()
        return document


Command = Callable[..., Answer]


@pytest.fixture
def engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run the command line in a project that holds rules.py, a.txt and b.txt."""
    write_project(tmp_path, RULES)
    with commands_in(tmp_path, monkeypatch, capfd) as run:
        yield run


@contextmanager
def commands_in(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run the command line in a directory, each time as a new process would."""
    monkeypatch.setattr("engine.cli.progress.FIRST_SECONDS", 600.0)  # a slow machine tells nothing more
    with working_in(place, monkeypatch):
        path = list(sys.path)

        def run(*arguments: str) -> Answer:
            forget_modules(place, path)
            capfd.readouterr()
            code = answer(list(arguments))
            out, err = capfd.readouterr()
            assert "\x1b" not in out + err  # output W2
            return Answer(code, out, err)

        yield run


def check_refused(found: Answer, code: int, *parts: str) -> None:
    assert found.code == code, found
    assert found.out == ""
    assert "Traceback" not in found.err
    for part in parts:
        assert part in found.err, found.err
