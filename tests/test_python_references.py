"""What names refer to, case by case: `references` of small projects, as rows that are written out.

The cases are data, in `python_spec/references/*.txt`. They run without an engine, which defines what is
right, and with one.

    [case a claim]
    [file PATH]       a file of the project
    [rows PATH]       all its references, sorted, one a line: `f: call a.b -> lib.py:C.m method`

`f` is who refers ("." the module), then come the usage and the name as it is written, and what it is: "->"
and the symbol with its kind, or the outcome and its detail.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.rules.python import Reference, references

SPECS = Path(__file__).parent / "python_spec" / "references"
_heading = re.compile(r"\[(case|file|rows) (.*)\]$")

Section = tuple[str, str, list[str]]


def _cases() -> list[Any]:
    cases = []
    for file in sorted(SPECS.glob("*.txt")):
        sections: list[Section] = []
        for line in file.read_text("utf-8").splitlines():
            if found := _heading.match(line):
                kind, rest = found.groups()
                if kind == "case":
                    sections = []
                    cases.append(pytest.param(sections, id=f"{file.stem}: {rest}"))
                else:
                    sections.append((kind, rest, []))
            elif sections and not line.startswith("--"):
                sections[-1][2].append(line)
    return cases


def shown(row: Reference) -> str:
    who = row.source.rpartition(":")[2] or "."
    if row.source_ordinal:
        who += f"#{row.source_ordinal}"
    if row.target is None:
        what = f"{row.outcome} {row.detail}"
    else:
        what = f"-> {row.target} {row.target_kind}" + (f" {row.target_ordinal}" if row.target_ordinal else "")
    return f"{who}: {row.usage} {row.name} {what}"


@pytest.mark.parametrize("case", _cases())
def test_references(case: list[Section], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, rest, lines in case:
        if kind == "file":
            path = tmp_path / rest
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    with Engine(None, root=tmp_path) as db:
        for kind, rest, lines in case:
            if kind == "rows":
                rows = references(rest)
                assert sorted(set(map(shown, rows))) == sorted(line for line in lines if line)
                kept = db.get(references.of, rest)
                assert set(kept) == set(rows)
                for row in rows:
                    missing = row.outcome in ("unresolved", "local") and "." in row.name
                    assert row.member == (row.name.rpartition(".")[2] if missing else None)
        assert db.get(references.failures) == ()
