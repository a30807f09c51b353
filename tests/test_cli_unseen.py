"""What the system does not let us look into is told with its reason: it is no bug of the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import StoreError
from engine.store import open_store
from tests.commands import Command, check_refused, engine
from tests.folders import without_privileges

__all__ = ["engine"]  # a fixture
LONG = "x" * 300  # no file system has such a name, so that to ask for it is an error, and not an absence
REASON = "File name too long"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("config", "-C", LONG), 2),
        (("config", "--root", LONG), 2),
        (("run", f"{LONG}/rules.py:report"), 2),
        (("run", "report", "--rules", f"{LONG}.py"), 2),
        (("status", "--store", LONG), 73),
        (("why", "rules.py:report", "--store", LONG), 73),
        (("gc", "--store", LONG), 73),
        (("run", "rules.py:report", "--store", LONG), 73),
        (("db", "--export", f"{LONG}/rows.db"), 73),
        (("search", "lines", "--index", f"{LONG}/search.db"), 73),
    ],
)
def test_a_place_that_cannot_be_looked_at_is_told_with_the_reason(
    engine: Command, arguments: tuple[str, ...], code: int
) -> None:
    assert engine("run", "rules.py:report").code == 0
    check_refused(engine(*arguments), code, REASON)


def test_a_file_of_the_project_that_cannot_be_is_none_of_it(engine: Command) -> None:
    check_refused(engine("graph", "imports", f"{LONG}.py"), 2, "no such Python file")
    assert engine("run", "rules.py:report", "--path", LONG).code == 0
    check_refused(engine("run", "nothing.at_all:x", "--path", LONG), 2, "there is no such module")


def test_a_store_in_a_closed_directory_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with without_privileges(), pytest.raises(StoreError, match="Permission denied"):
        open_store(tmp_path / "closed" / "store", read_only=True)
