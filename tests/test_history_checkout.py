"""A branch of a repository that is gone back to runs nothing of the code graph but lookups into tables."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

from benchmarks.mutations import applied, random_edit
from benchmarks.questions import digests
from benchmarks.repository import encoded, repository
from engine import Engine
from tests.histories import told


def checkout(root: Path, before: dict[str, str], after: dict[str, str]) -> None:
    """As git does it: files that differ are written, and directories that are empty go."""
    for path in before.keys() - after.keys():
        (root / path).unlink()
        for parent in (root / path).parents:
            if parent == root or any(parent.iterdir()):
                break
            parent.rmdir()
    for path, text in after.items():
        if before.get(path) != text:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(encoded(text))


def branch_of(tree: dict[str, str], edits: int) -> dict[str, str]:
    chance, other = Random(5), tree
    for _ in range(edits):
        edit = random_edit(other, chance, tree)
        if edit.kind not in ("restore", "checkout"):
            other = applied(other, edit)
    return other


def test_a_branch_that_is_gone_back_to_executes_nothing_but_lookups_into_tables(tmp_path: Path) -> None:
    """And of those only the ones that a row forces: what they rest on, their dependencies do not name."""
    trees = {"main": repository(60)}
    trees["topic"] = branch_of(trees["main"], 30)
    root, here = tmp_path / "project", dict[str, str]()
    root.mkdir()
    counts, said = [], dict[str, object]()
    for name in ("main", "topic", "main", "topic", "main"):
        checkout(root, here, trees[name])
        here = trees[name]
        with Engine(tmp_path / "store", root=root, history=4) as db, told(db) as events:
            answer = digests(db)
            assert said.setdefault(name, answer) == answer
            counts.append(Counter(one.partition("(")[0] for one in events))
            assert db.store is not None
            db.store.check_invariants()
    ran = [{one for one in count if one.startswith("ran ")} for count in counts]
    assert len(ran[0]) > len(ran[1]) > 15
    lookups = (".where", ".count", ".exists", ".starting")
    assert [one for several in ran[2:] for one in several if not one.endswith(lookups)] == []
    assert [sum(count.values()) > 150 for count in counts] == [True] * 5
