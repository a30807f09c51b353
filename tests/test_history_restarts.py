"""Earlier memos are put back by a process that did not make them: after a restart, and after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from engine import Engine, query
from engine.rules.files import exists, read_text
from tests.histories import cell, report


def test_going_back_after_restarts_runs_nothing(tmp_path: Path) -> None:
    ran = []
    for value in (0, 5, 0, 5, 0):
        with Engine(tmp_path / "store", history=4) as db:
            db.set(cell.key("a"), value)
            assert db.get(report) == f"0 ({2 * value}, 0)"
            ran.append(db.counts().executed)
    assert ran == [5, 2, 0, 0, 0]


PROCESS = """
import os, signal, sys
from engine import Engine
from tests.histories import cell, report
db = Engine(sys.argv[1], history=4)
for value in map(int, sys.argv[2:]):
    db.set(cell.key("a"), value)
    db.get(report)
print(db.counts().executed, db.counts().restored, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_going_back_after_kill_9_runs_nothing(tmp_path: Path) -> None:
    said = []
    for values in (["0", "5"], ["0"]):
        ended = subprocess.run(
            [sys.executable, "-c", PROCESS, str(tmp_path / "store"), *values],
            cwd=Path(__file__).parent.parent,
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert ended.returncode == -signal.SIGKILL
        said.append(ended.stdout.split())
    assert said == [["7", "0"], ["0", "2"]]


@query(name="history:mentions")
def mentions(path: str) -> int:
    return read_text(path).count("x") if exists(path) else -1


def test_a_file_that_is_only_on_one_branch_runs_once(tmp_path: Path) -> None:
    here = tmp_path / "a.txt"
    ran = []
    for text in ("xx", None, "xx", None):
        here.unlink() if text is None else here.write_text(text)
        with Engine(tmp_path / "store", root=tmp_path, history=4) as db:
            assert db.get(mentions, "a.txt") == (-1 if text is None else 2)
            ran.append(db.counts().executed)
    assert ran == [1, 1, 0, 0]
