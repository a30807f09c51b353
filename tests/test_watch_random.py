"""Random edits: after settling, every answer is the one from scratch, whatever the kernel tells.

The modes differ in what tells of changes. Where that can be relied on, `sync` is enough for right answers;
where it cannot, the audit is. WATCH_EDITS=20000 does as many edits in each mode.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.watch import file_watcher
from engine.watch.scanning import ScanningBackend
from tests.patience import until
from tests.scripted import Script, spoiled
from tests.watch_edits import Edits
from tests.watch_modes import polling
from tests.watch_odd_edits import OddEdits
from tests.watch_world import WATCHED, answers, planted, truth, until_equal, value_of, watching

ROUND = 20  # edits between two comparisons


def dropping(seed: int) -> Any:
    return spoiled(Script(seed, drop=0.1, duplicate=0.2, delay=0.2, shuffle=True, invent=0.05, error=0.005))


RELIABLE: dict[str, Callable[[int], dict[str, Any]]] = {
    "events": lambda seed: {},
    "late and twice": lambda seed: {"backend": spoiled(Script(seed, duplicate=0.3, invent=0.2))},
    "polling": lambda seed: {"backend": polling},
    "scanning": lambda seed: {"backend": ScanningBackend},
}
EDITS = {"events": 400, "late and twice": 200, "polling": 100, "scanning": 300}


def edits_in(default: int) -> int:
    return int(os.environ.get("WATCH_EDITS", default))


@pytest.mark.limit(3600)
@pytest.mark.parametrize("mode", RELIABLE)
def test_after_a_sync_every_answer_is_the_one_from_scratch(tmp_path: Path, mode: str) -> None:
    root, outside = planted(tmp_path / "root"), tmp_path / "outside"
    outside.mkdir()
    edits = Edits(root, seed=1, outside=outside)
    heard: dict[str, Any] = {}
    with watching(root, store=tmp_path / "store", **RELIABLE[mode](1)) as (db, watch, _):
        for query in WATCHED:
            watch.subscribe(query, partial(heard.__setitem__, query.__name__))
        heard.update({query.__name__: value_of(db, query) for query in WATCHED})
        for _ in range(edits_in(EDITS[mode]) // ROUND):
            count = edits.random.choice((1, 2, ROUND, 2 * ROUND - 3))
            edits.edit(count)
            watch.sync()
            right = truth(root)
            assert answers(db) == right, edits.done[-count:]
            until(lambda right: all(heard[name] == right[name] for name in heard), "what was told", right)
        db.check_invariants()


@pytest.mark.limit(3600)
@pytest.mark.parametrize("mode", ["events", "scanning"])
def test_after_a_sync_odd_names_and_hidden_edits_are_as_from_scratch(tmp_path: Path, mode: str) -> None:
    root, outside = planted(tmp_path / "root"), tmp_path / "outside"
    outside.mkdir()
    edits = OddEdits(root, seed=3, outside=outside)
    with watching(root, store=tmp_path / "store", **RELIABLE[mode](3)) as (db, _, _):
        for _ in range(edits_in(300) // ROUND):
            count = edits.random.choice((1, 2, ROUND, 2 * ROUND - 3))
            edits.edit(count)
            db.sync()
            assert answers(db) == truth(root), edits.done[-count:]
            executed = db.counts().executed
            answers(db)
            assert db.counts().executed == executed, "it was asked for a moment ago"
    with Engine(tmp_path / "store", root=root) as db:
        assert answers(db) == truth(root)
        db.check_invariants()


@pytest.mark.limit(3600)
@pytest.mark.parametrize(("mode", "count"), [("10% dropped", 2_000), ("nothing told", 300)])
def test_within_the_audit_period_every_answer_is_the_one_from_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, count: int
) -> None:
    monkeypatch.setattr(file_watcher, "AUDIT_SHARE", 1.0)
    root, outside = planted(tmp_path / "root"), tmp_path / "outside"
    outside.mkdir()
    edits = Edits(root, seed=2, outside=outside)
    backend = dropping(2) if mode == "10% dropped" else spoiled(Script(2, drop=1.0))
    with watching(root, audit_seconds=0.2, backend=backend) as (db, _, _):
        for _ in range(edits_in(count) // ROUND):
            edits.edit(ROUND)
            until_equal(db, root)
        db.check_invariants()
