"""A module that lies in a zip archive, or is there without its source, is one that workers import."""

from __future__ import annotations

import compileall
import importlib
import os
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from engine import Engine

RULES = """
import os
from engine import each, query

@query(workers="process")
def process(number: int) -> int:
    return os.getpid()

@query
def processes() -> frozenset[int]:
    return frozenset(each(process, range(20)))
"""


@pytest.mark.parametrize("kind", ["zip", "pyc"])
def test_what_lies_in_an_archive_or_has_no_source_is_sent_to_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    name = f"archived_{kind}"
    source = tmp_path / "source" / f"{name}.py"
    source.parent.mkdir()
    source.write_text(RULES)
    place = source.parent
    if kind == "zip":
        place = tmp_path / "rules.zip"
        with ZipFile(place, "w") as archive:
            archive.write(source, source.name)
    else:
        compileall.compile_file(source, legacy=True, quiet=1)
        source.unlink()
    monkeypatch.syspath_prepend(place)
    rules = importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, rules)
    with Engine(None, processes=2) as db:
        assert os.getpid() not in db.get(rules.processes)
        assert db.notes() == ()
