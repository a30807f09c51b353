"""Random edits of a generated repository: after every step the code graph is what an engine from empty says.

pytest tests/test_python_edits.py --edits=2000      one run of so many over 300 files, compared at every step
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from benchmarks.mutations import QUIET, random_edit
from benchmarks.questions import answers
from benchmarks.repository import repository
from tests.code_graph import Graph, own

HUB = "app/core/base.py"
PATHS = (
    HUB,
    "app/core/__init__.py",
    "app/core/registry.py",
    "app/entitys0/__init__.py",
    "tests/core/test_config.py",
)
SYMBOLS = (
    f"{HUB}:Base", f"{HUB}:make_base", f"{HUB}:Base.run", "app/core/codec.py:Codec.apply", f"{HUB}:",
    "app/core/config.py:Config", "tests/core/test_config.py:TestConfig.test_collect",
)  # fmt: skip


def walk(place: Path, files: int, edits: int, seed: int, *, every: int) -> None:
    """So many random edits; compared with an engine from empty after every so many of them."""
    chance = Random(seed)
    tree = repository(files, seed, src=seed % 2 == 1)
    paths = [path if path.startswith("tests") else path.replace("app", _top(seed), 1) for path in PATHS]
    symbols = [one if one.startswith("tests") else one.replace("app", _top(seed), 1) for one in SYMBOLS]
    graph = Graph(place, tree, questions=lambda db: answers(db, paths, symbols), history=4)
    done: list[str] = []
    try:
        graph.ask()
        for step in range(1, edits + 1):
            edit = random_edit(graph.tree, chance, tree)
            done.append(f"{edit.kind} {edit.path} {edit.detail}")
            ran = graph.edit(edit)
            if edit.kind in QUIET:
                assert set(ran) <= set(own(edit.path, "parse", "facts", "spans", "chunks", "parse_error"))
            if step % every == 0 or step == edits:
                graph.check()
            if step % 17 == 0:
                graph.reopen()
                assert graph.ask() == []
    except BaseException as failure:
        failure.add_note(f"seed {seed}, step {len(done)}:\n" + "\n".join(done[-6:]))
        raise
    finally:
        graph.close()


def _top(seed: int) -> str:
    return "src/app" if seed % 2 == 1 else "app"


@pytest.mark.limit(7_200)  # for --edits: else it takes five seconds
@pytest.mark.parametrize("seed", range(4))
def test_after_random_edits_every_table_equals_one_from_scratch_and_nothing_ran_in_vain(
    tmp_path: Path, seed: int, pytestconfig: pytest.Config
) -> None:
    edits = int(str(pytestconfig.getoption("--edits")))
    if edits:
        walk(tmp_path, 300, edits // 4, seed + 100, every=1)
    else:
        walk(tmp_path, 40, 30, seed, every=6)
