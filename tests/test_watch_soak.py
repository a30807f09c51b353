"""A long life: random edits while the watch runs; memory, descriptors and threads stay flat, answers right.

pytest tests/test_watch_soak.py --soak=28800    runs for eight hours
"""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

import pytest

from tests.watch_edits import Edits
from tests.watch_world import answers, planted, text, tree, truth, until_equal, watching

RATE = 100.0  # edits a second
PARTS = 10  # of the time; after each one everything is compared
GROWTH = 16 * 2**20  # bytes: what the allocator and a tree that grows a little may take


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pruned(root: Path) -> None:
    """Remove what random edits piled up, so that the size of the tree stays about the same."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    for path in files[20:]:
        path.unlink()
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink() and len(path.relative_to(root).parts) > 3:
            try:
                path.rmdir()
            except OSError:
                continue  # there is something in it


@pytest.mark.limit(10**6)
def test_in_a_long_life_nothing_grows_and_every_answer_is_right(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seconds = float(str(request.config.getoption("--soak")))
    root, outside = planted(tmp_path / "root"), tmp_path / "outside"
    outside.mkdir()
    edits = Edits(root, seed=7, outside=outside)
    figures: list[tuple[int, int, int]] = []  # bytes, descriptors, threads
    with watching(root, store=tmp_path / "store", deltas=True, poll_seconds=0.2) as (db, watch, told):
        watch.subscribe(tree, lambda value: None)
        watch.subscribe(text.key("top.txt"), lambda value: None)
        for _ in range(PARTS):
            ends = time.monotonic() + seconds / PARTS
            while time.monotonic() < ends:
                edits.edit()
                time.sleep(1 / RATE)
                if edits.number % 20 == 0:
                    pruned(root)
                if len(edits.done) % 50 == 0:
                    watch.sync()
            watch.sync()
            assert answers(db) == truth(root)
            told.clear()
            edits.done.clear()
            gc.collect()
            figures.append((resident(), len(os.listdir("/proc/self/fd")), threading.active_count()))
        until_equal(db, root)
        db.check_invariants()
    warm, end = figures[PARTS // 3], figures[-1]
    assert end[0] - warm[0] < GROWTH, figures
    assert end[1] <= warm[1] + 4, figures
    assert end[2] <= warm[2] + 2, figures
