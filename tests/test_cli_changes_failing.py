"""`engine changes --follow` of a table that fails as a whole, whoever found that out, and is right again."""

from __future__ import annotations

import signal
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.watch_process import Asked, Watching, save

RULES = """\
from collections.abc import Iterable
from typing import NamedTuple
from engine import query, table
from engine.rules.directories import glob
from engine.rules.files import read_text

class Path(NamedTuple):
    path: str

@query
def files() -> tuple[str, ...]:
    return {source}

@table(each=files, index=("path",))
def paths(path: str) -> Iterable[Path]:
    yield Path(path)
"""
SOURCES = {  # with what is in n.txt when it fails, and when it does not
    "a pattern of a glob": ("glob(read_text('n.txt'))", "{n,m}.txt", "n.*"),
    "a value that is none": ("('n.txt', read_text('n.txt') or 3)", "", "n.txt"),
    "an exception": ("('n.txt', str(int(read_text('n.txt'))))", "n", "5"),
}


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("case", SOURCES)
def test_a_follower_waits_until_a_table_that_fails_as_a_whole_is_right_again(
    tmp_path: Path, case: str, watched: bool
) -> None:
    source, wrong, right = SOURCES[case]
    (tmp_path / "rules.py").write_text(RULES.format(source=source))
    (tmp_path / "engine.toml").write_text('rules = ["rules.py"]\n')
    (tmp_path / "n.txt").write_text(wrong)
    asked = ("paths", "--cursor", "x")
    with Watching(tmp_path, "paths") if watched else nullcontext() as watch:
        if watch is not None:
            watch.ready()
        assert Asked(tmp_path, "changes", *asked).code == 1
        with Watching(tmp_path, *asked, "--follow", command="changes") as follower:
            follower.says("while computing rules:paths")
            save(tmp_path / "n.txt", right)
            follower.until(lambda: "+ path='n.txt'" in follower.out)
            assert follower.ends(signal.SIGINT) == 130
