"""The code graph, step by step: what an edit executes, what is cut off, what is answered.

The cases are data, in `python_spec/*.txt`. After every step all answers are compared with those of an engine
that starts from empty: incremental equals from-scratch.

    [case a claim]
    [file PATH]          content at the beginning
    [demand]             what is asked for after every step, one query a line: `code_graph`, `facts a.py`,
                         `references.where target a.py:f`
    [edit N PATH]        new content of an old or new file in step N (2, 3, ...)
    [bytes N PATH]       the same, as a Python bytes literal
    [overlay N PATH]     an unsaved buffer
    [delete N PATH]      a file or directory goes
    [folder N PATH]      an empty directory appears
    [executed N]         the code graph's queries that ran, one a line, as `facts a.py`; "nothing" for none
    [cut off N]          those of them whose value was equal
    [value N QUERY ...]  what a query answers, as its repr; a line "..." leaves out the rest
"""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.questions import TABLES
from engine import Engine, Event, Key, What
from engine.rules import python
from engine.rules.files import read_text

SPECS = Path(__file__).parent / "python_spec"
PACKAGE = "engine.rules.python."
_heading = re.compile(
    r"\[(case|file|demand|edit|bytes|overlay|delete|folder|executed|cut off|value)(?: (\d+))?(?: (.*))?\]$"
)

Section = tuple[str, int, str, list[str]]  # kind, step, rest of the heading, lines


def _cases() -> list[Any]:
    cases = []
    for file in sorted(SPECS.glob("*.txt")):
        sections: list[Section] = []
        for line in file.read_text("utf-8").splitlines():
            if found := _heading.match(line):
                kind, step, rest = found.groups()
                if kind == "case":
                    sections = []
                    cases.append(pytest.param(sections, id=f"{file.stem}: {rest}"))
                sections.append((kind, int(step or 1), rest or "", []))
            elif sections and not line.startswith("--"):
                sections[-1][3].append(line)
    return cases


@pytest.mark.parametrize("case", _cases())
def test_spec(case: list[Section], tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    demanded = [line for kind, _, _, lines in case if kind == "demand" for line in lines if line]
    last = max(step for _, step, _, _ in case)
    events: list[Event] = []
    overlays: dict[str, str] = {}
    with Engine(tmp_path / "store", root=root) as db:
        db.listen(events.append)
        for step in range(1, last + 1):
            now = [section for section in case if section[1] == step]
            for kind, _, rest, lines in now:
                _change(db, root, kind, rest, "\n".join(lines).strip("\n") + "\n", overlays)
            events.clear()
            db.sync()
            for line in demanded:
                db.get(_key(line))
            for kind, _, rest, lines in now:
                expected = [line for line in lines if line]
                if kind == "executed":
                    assert _names(events, What.EXECUTED, What.CUT_OFF, What.FAILED) == _sorted(expected)
                elif kind == "cut off":
                    assert _names(events, What.CUT_OFF) == _sorted(expected)
                elif kind == "value":
                    _compare(repr(db.get(_key(rest))), expected)
            _same_as_from_scratch(db, root, demanded, overlays)
            db.check_invariants()


def _change(db: Engine, root: Path, kind: str, rest: str, text: str, overlays: dict[str, str]) -> None:
    path = root / rest
    if kind in ("file", "edit", "bytes"):
        if path.is_dir():
            shutil.rmtree(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(ast.literal_eval(text.strip()) if kind == "bytes" else text.encode())
    elif kind == "folder":
        path.mkdir(parents=True)
    elif kind == "delete":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif kind == "overlay":
        overlays[rest] = text
        db.set(read_text.key(rest), text)


def _key(line: str) -> Key[Any]:
    name, *arguments = line.split()
    found: Any = python
    for part in name.split("."):
        found = getattr(found, part)
    key: Key[Any] = found.key(*[int(one) if one.isdigit() else one for one in arguments])
    return key


def _names(events: list[Event], *kinds: What) -> list[str]:
    shown = []
    for event in events:
        if event.what in kinds and event.key is not None and event.key.query.name.startswith(PACKAGE):
            arguments = [str(argument) or "." for argument in event.key.args]
            shown.append(" ".join([event.key.query.name.rpartition(":")[2], *arguments]))
    return sorted(shown)


def _sorted(expected: list[str]) -> list[str]:
    return [] if expected == ["nothing"] else sorted(expected)


def _compare(got: str, expected: list[str]) -> None:
    wanted = "".join(line.strip() if line.endswith(("(", ",")) else line for line in expected)
    parts = wanted.split("...")
    pattern = ".*".join(re.escape(re.sub(r"\s+", " ", part)) for part in parts)
    assert re.fullmatch(pattern, got), f"{got}\nis not\n{wanted}"


def _same_as_from_scratch(db: Engine, root: Path, demanded: list[str], overlays: dict[str, str]) -> None:
    with Engine(None, root=root) as fresh:
        for path, text in overlays.items():
            fresh.set(read_text.key(path), text)
        for line in [*demanded, "code_graph", "import_graph", "import_cycles", "broken_files"]:
            assert db.get(_key(line)) == fresh.get(_key(line)), line
        for name, table in TABLES.items():
            assert db.get(table.where) == fresh.get(table.where), name
        for path in fresh.get(python.python_files):
            for each in (python.facts, python.spans, python.importers, python.import_targets):
                assert db.get(each, path) == fresh.get(each, path), (each, path)
            for name in fresh.get(python.names_in, path):
                assert db.get(python.definitions_of, name) == fresh.get(python.definitions_of, name), name
