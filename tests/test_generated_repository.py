"""The generator of repositories and the mutations: the same in every run, realistic, and as data."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from benchmarks.mutations import MUTATIONS, QUIET, applied, most_imported, mutate, random_edit, write
from benchmarks.repository import encoded, files, plant, repository
from benchmarks.rewriting import parsed
from engine import Engine
from engine.rules import python

CHECKOUT = Path(__file__).parent.parent


def test_the_same_seed_gives_the_same_repository_in_every_process() -> None:
    program = (
        "from benchmarks.repository import files\nfrom hashlib import sha256\nimport sys\n"
        "print(sha256(repr(list(files(300, int(sys.argv[1])))).encode()).hexdigest())"
    )
    found = {
        subprocess.check_output([sys.executable, "-c", program, seed], cwd=CHECKOUT, text=True)
        for seed in ("1", "1", "2")
    }
    assert len(found) == 2


def test_a_smaller_repository_is_the_beginning_of_a_larger_one() -> None:
    larger = list(files(1_000))
    assert list(files(300)) == larger[:300]
    assert len(dict(larger)) == 1_000


def test_all_files_parse_but_the_few_that_are_broken_on_purpose() -> None:
    tree = repository(1_000)
    broken = [path for path, text in tree.items() if path.endswith((".py", ".pyi")) and parsed(text) is None]
    assert len(broken) == 12
    assert sum("\udce9" in tree[path] for path in broken) == 4


def test_the_graph_of_a_generated_repository_has_what_large_repositories_have(tmp_path: Path) -> None:
    tree = repository(300, src=True)
    plant(tmp_path, tree.items())
    with Engine(None, root=tmp_path) as db:
        summary = db.get(python.code_graph)
        targets = Counter(row.target for row in db.get(python.imports.where) if row.target is not None)
        outcomes = Counter(row.outcome for row in db.get(python.references.where))
        assert (summary.files, summary.broken) == (299, 4)
        assert 5 < summary.unresolved < summary.internal / 50
        ranked = [count for _, count in targets.most_common()]
        assert ranked[0] > 60 > 10 * ranked[len(ranked) // 2]
        assert len(db.get(python.subclasses, "src/app/core/base.py:Base")) > 20
        assert len(db.get(python.overrides, "src/app/core/base.py:Base.run")) > 3
        assert outcomes["internal"] > 5 * outcomes["unresolved"] > 0
        assert {"external", "builtin", "local"} < outcomes.keys()
        assert len(db.get(python.affected, ("src/app/core/base.py",)).tests) > 10


def test_a_repository_is_written_as_it_is(tmp_path: Path) -> None:
    tree = repository(300)
    assert plant(tmp_path, tree.items()) == 300
    assert _on_disk(tmp_path) == {path: encoded(text) for path, text in tree.items()}


@pytest.mark.parametrize("kind", sorted(MUTATIONS))
def test_an_edit_is_the_same_every_time_and_changes_the_tree(kind: str) -> None:
    tree = repository(300)
    paths = {"repair": "app/entitys0/make0/model.py", "package to module": "app/entitys0/merge1/__init__.py"}
    if kind == "repair":
        tree = (
            applied(tree, found) if (found := mutate(tree, "syntax error", Random(0), paths[kind])) else tree
        )
    edits = [mutate(tree, kind, Random(3), paths.get(kind)) for _ in range(2)]
    assert edits[0] == edits[1]
    assert edits[0] is not None
    assert (applied(tree, edits[0]) == tree) == (kind == "touch")


def test_edits_of_comments_and_docstrings_change_no_token_of_the_program() -> None:
    tree = repository(300)
    for kind in QUIET:
        for seed in range(20):
            edit = mutate(tree, kind, Random(seed))
            assert edit is not None
            ((path, text),) = edit.changes
            assert text is not None
            assert text != tree[path]
            assert _without_docstrings(text) == _without_docstrings(tree[path])


def test_a_storm_writes_a_thousand_files_and_changes_a_hundred() -> None:
    tree = repository(1_500)
    edit = mutate(tree, "storm", Random(1))
    assert edit is not None
    assert len(edit.changes) == 1_000
    assert sum(tree[path] != text for path, text in edit.changes) == 100


def test_after_many_edits_the_disk_is_as_the_tree_says_and_much_of_the_repository_remains(
    tmp_path: Path,
) -> None:
    original = tree = repository(60)
    plant(tmp_path, tree.items())
    chance, kinds = Random(7), Counter[str]()
    for _ in range(600):
        edit = random_edit(tree, chance, original)
        kinds[edit.kind] += 1
        tree = applied(tree, edit)
        write(tmp_path, edit)
    assert _on_disk(tmp_path) == {path: encoded(text) for path, text in tree.items()}
    assert kinds.keys() == {*MUTATIONS, "restore", "checkout"} - {"storm"}
    assert sum(tree.get(path) == text for path, text in original.items()) > 30
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and not any(path.iterdir())]


def test_the_hub_is_the_most_imported_module() -> None:
    assert most_imported(repository(1_000))[0] == "app/core/base.py"


def _on_disk(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _without_docstrings(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node):
            node.body = [*node.body[1:], ast.Pass()]
    return ast.dump(tree)
