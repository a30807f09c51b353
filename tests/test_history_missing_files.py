"""What the rules say of a missing file is kept as other failures are: nothing runs to say it twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Engine, query
from engine.rules.files import FileMissing, read_text

RAN: list[str] = []
MISSING = f"a.txt is missing, {FileMissing('a.txt', 'missing')}"


@query(name="missing:length")
def length(path: str) -> int:
    RAN.append(path)
    return len(read_text(path))


def asked(db: Engine) -> tuple[int | str, list[str]]:
    """What is answered, and what ran for it."""
    RAN.clear()
    db.sync()
    try:
        return db.get(length, "a.txt"), list(RAN)
    except FileMissing as error:
        return f"{error.path} is {error.kind}, {error}", list(RAN)


@pytest.mark.parametrize("stored", [True, False])
def test_a_file_that_goes_and_comes_and_goes_runs_nothing_twice(tmp_path: Path, stored: bool) -> None:
    file = tmp_path / "a.txt"
    with Engine(tmp_path / "store" if stored else None, root=tmp_path, history=4) as db:
        missing, ran = asked(db)
        assert (missing, ran) == (MISSING, ["a.txt"])
        file.write_text("one")
        assert asked(db) == (3, ["a.txt"])
        file.unlink()
        assert asked(db) == (missing, [])
        file.write_text("one")
        assert asked(db) == (3, [])
        file.unlink()
        assert asked(db) == (missing, [])


def test_who_reads_a_missing_file_does_not_run_after_a_restart(tmp_path: Path) -> None:
    for ran in (["a.txt"], [], []):
        with Engine(tmp_path / "store", root=tmp_path) as db:
            assert asked(db) == (MISSING, ran)
