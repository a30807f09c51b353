"""A process that keeps a code graph is killed at any moment: the next one says what one from empty says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from benchmarks.mutations import applied, random_edit, write
from benchmarks.questions import digests
from benchmarks.repository import plant, repository
from engine import Engine, What
from engine.rules import python

CHECKOUT = Path(__file__).parent.parent
KEEPING = """
import sys
from benchmarks.questions import digests
from engine import Engine
with Engine(sys.argv[1], root=sys.argv[2]) as db:
    executed = 0
    def count(event):
        global executed
        executed += event.what.value in ("executed", "cut off")
        if executed == int(sys.argv[3]):
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)
    db.listen(count)
    digests(db)
"""


@pytest.mark.parametrize("seed", range(3))
def test_after_kills_at_any_moment_the_graph_is_right_and_nothing_is_counted_twice(
    tmp_path: Path, seed: int
) -> None:
    root, store, chance = tmp_path / "project", tmp_path / "store", Random(seed)
    original = tree = repository(40, seed)
    root.mkdir()
    plant(root, tree.items())
    killed = 0
    for _ in range(3):
        after = str(chance.choice((1, 10, 100, 400, 900)))
        ended = subprocess.run([sys.executable, "-c", KEEPING, str(store), str(root), after], cwd=CHECKOUT)
        killed += ended.returncode == -9
        for _ in range(3):
            edit = random_edit(tree, chance, original)
            tree = applied(tree, edit)
            write(root, edit)
    assert killed
    with Engine(store, root=root) as db, Engine(None, root=root) as fresh:
        assert digests(db) == digests(fresh)
        assert db.get(python.references.count) == len(fresh.get(python.references.where))
        assert db.get(python.definitions.where) == fresh.get(python.definitions.where)
        assert db.notes() == ()
        ran: list[str] = []
        db.listen(lambda event: ran.append(str(event.key)) if event.what is What.EXECUTED else None)
        assert digests(db) == digests(fresh)
        assert ran == []
