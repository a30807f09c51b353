"""The command line in a project of three files: what it answers, and how it refuses."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.__main__ import answer

RULES = """\
import enum, os, sys
from pathlib import Path
from typing import Literal
from attrs import frozen
from engine import each, query
from engine.rules.files import read_text

@frozen
class Row:
    name: str
    lines: int

class Color(enum.Enum):
    RED = 1
    BLUE = 2

@query
def lines(path: str) -> int:
    return len(read_text(path).splitlines())

@query
def report() -> tuple[Row, ...]:
    return tuple(Row(path, lines(path)) for path in ("a.txt", "b.txt"))

@query
def echo(text: str, number: int = 0, *, color: Color = Color.RED) -> str:
    return f"{text} {number} {color.name}"

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
def leaves() -> int:
    sys.exit(7)

@query
def opaque() -> object:
    return object()

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
        assert self.out == json.dumps(document, sort_keys=True) + "\n"  # W3
        assert self.out.isascii()
        return document


Command = Callable[..., Answer]


@pytest.fixture
def engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run the command line in a project that holds rules.py, a.txt and b.txt."""
    (tmp_path / "rules.py").write_text(RULES)
    (tmp_path / "a.txt").write_text("1\n2\n")
    (tmp_path / "b.txt").write_text("3\n")
    with commands_in(tmp_path, monkeypatch, capfd) as run:
        yield run


@contextmanager
def commands_in(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run the command line in a directory, each time as a new process would."""
    monkeypatch.chdir(place)
    for name in [name for name in os.environ if name.startswith("ENGINE_")]:
        monkeypatch.delenv(name)
    loaded, path = set(sys.modules), list(sys.path)

    def forget_modules() -> None:
        for name in set(sys.modules) - loaded:
            if str(place) in (getattr(sys.modules[name], "__file__", None) or ""):
                del sys.modules[name]
        sys.path[:] = path

    def run(*arguments: str) -> Answer:
        forget_modules()
        capfd.readouterr()
        code = answer(list(arguments))
        out, err = capfd.readouterr()
        assert "\x1b" not in out + err  # W2
        return Answer(code, out, err)

    yield run
    forget_modules()


def check_refused(found: Answer, code: int, *parts: str) -> None:
    assert found.code == code, found
    assert found.out == ""
    assert "Traceback" not in found.err
    for part in parts:
        assert part in found.err, found.err
