"""The code graph as a whole: what a project answers, and what an edit in a larger one costs."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from engine import Engine, Event, What
from engine.rules import python
from engine.rules.python import components

MODULES = 60


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package in which every module imports the first one, in ten directories."""
    root = tmp_path / "project"
    for number in range(MODULES):
        path = root / f"pkg/part{number % 10}/m{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"from pkg.part0 import m0\n\ndef f{number}():\n    return m0.f0()\n")
    return root


def _ran(events: list[Event]) -> list[str]:
    kinds = (What.EXECUTED, What.CUT_OFF, What.FAILED)
    return [str(event.key) for event in events if event.what in kinds]


def test_a_thousand_lines_inserted_into_the_most_imported_file_run_two_queries(project: Path) -> None:
    with Engine(project.parent / "store", root=project) as db:
        before = db.get(python.code_graph)
        assert len(db.get(python.importers, "pkg/part0/m0.py")) == MODULES - 1
        path = project / "pkg/part0/m0.py"
        path.write_text("\n" * 1000 + path.read_text())
        events: list[Event] = []
        db.listen(events.append)
        db.sync()
        assert db.get(python.code_graph) == before
        assert _ran(events) == [
            "engine.rules.python.parse:parse('pkg/part0/m0.py')",
            "engine.rules.python.facts:facts('pkg/part0/m0.py')",
        ]
        spans = db.get(python.spans, "pkg/part0/m0.py")
        assert [(span.qualified, span.line) for span in spans] == [("f0", 1003)]


def test_spans_are_asked_for_alone(project: Path) -> None:
    """Also when the tree that the facts were made of is long gone."""
    with Engine(project.parent / "store", root=project) as db:
        db.get(python.code_graph)
        for number in range(MODULES):
            path = f"pkg/part{number % 10}/m{number}.py"
            assert [span.line for span in db.get(python.spans, path)] == [3]
        assert db.notes() == ()


def test_nothing_runs_after_a_restart(project: Path) -> None:
    with Engine(project.parent / "store", root=project) as db:
        before = db.get(python.code_graph)
    with Engine(project.parent / "store", root=project) as db:
        assert db.get(python.code_graph) == before
        assert db.counts().executed == 0


def test_an_edit_after_a_restart_costs_what_it_costs_before(project: Path) -> None:
    with Engine(project.parent / "store", root=project) as db:
        before = db.get(python.code_graph)
    path = project / "pkg/part3/m3.py"
    path.write_text(f"{path.read_text()}# more\n")
    with Engine(project.parent / "store", root=project) as db:
        assert db.get(python.code_graph) == before
        assert db.counts().executed == 2


def test_source_roots_can_be_set(project: Path) -> None:
    (project / "lib").mkdir()
    (project / "lib/tool.py").write_text("")
    (project / "app.py").write_text("import tool\n")
    with Engine(None, root=project) as db:
        assert db.get(python.importers, "lib/tool.py") == ()
        db.set(python.source_roots.key(), ("lib",))
        assert db.get(python.importers, "lib/tool.py") == ("app.py",)
        assert db.get(python.module_of, "lib/tool.py") == "tool"
        assert db.get(python.module_of, "app.py") is None


def test_digest_is_the_same_in_every_process_and_place(project: Path) -> None:
    program = (
        "import sys\nfrom engine import Engine\nfrom engine.rules.python import code_graph\n"
        "print(Engine(None, root=sys.argv[1]).get(code_graph).digest)"
    )
    digests = set()
    for seed, place in (("0", project), ("1", project.rename(project.parent / "elsewhere"))):
        place = place if place.exists() else project.parent / "elsewhere"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", program, str(place)]
        digests.add(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    assert len(digests) == 1


def test_a_directory_without_files_that_is_left_behind_is_not_in_the_digest(project: Path) -> None:
    with Engine(None, root=project) as db:
        before = db.get(python.code_graph)
        (project / "gone" / "deeper").mkdir(parents=True)
        (project / "gone" / "notes.txt").write_text("not Python")
        assert db.sync() > 0
        assert db.get(python.code_graph) == before


def test_a_file_name_that_is_no_text(project: Path) -> None:
    (project / os.fsdecode(b"pkg/\xff.py")).write_text("def strange(): ...\n")
    with Engine(project.parent / "store", root=project) as db:
        assert db.get(python.code_graph).files == MODULES + 1
        assert len(db.get(python.definitions_of, "strange")) == 1


def test_links(project: Path) -> None:
    (project / "linked.py").symlink_to("pkg/part0/m0.py")
    (project / "dangling.py").symlink_to("nowhere.py")
    (project / "again").symlink_to("pkg")
    (project / "app.py").write_text("import linked, dangling, again.part0\n")
    with Engine(None, root=project) as db:
        assert db.get(python.code_graph).files == MODULES + 2
        assert [target.path for target in db.get(python.import_targets, "app.py")] == [
            None,
            None,
            "linked.py",
        ]


def test_an_import_of_very_many_parts(project: Path) -> None:
    (project / "app.py").write_text(f"import {'.'.join(['pkg'] * 5000)}\n")
    (project / "up.py").write_text(f"from {'.' * 5000} import x\n")
    with Engine(None, root=project) as db:
        assert db.get(python.code_graph).unresolved == 2


GRAPHS = {
    "empty": ({}, []),
    "a chain": ({"a": ["b"], "b": ["c"]}, [("a",), ("b",), ("c",)]),
    "a circle": ({"a": ["b"], "b": ["c"], "c": ["a"]}, [("a", "b", "c")]),
    "two circles with one bridge": (
        {"a": ["b"], "b": ["a", "c"], "c": ["d"], "d": ["c"]},
        [("a", "b"), ("c", "d")],
    ),
    "circles that share a node": ({"a": ["b", "c"], "b": ["a"], "c": ["a"]}, [("a", "b", "c")]),
    "itself": ({"a": ["a"]}, [("a",)]),
    "a long circle": (
        {str(n): [str((n + 1) % 50_000)] for n in range(50_000)},
        [tuple(sorted(str(n) for n in range(50_000)))],
    ),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_strongly_connected_components(case: str) -> None:
    graph, expected = GRAPHS[case]
    assert sorted(components.components(graph)) == expected


def test_components_are_those_of_reachability() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        nodes = [str(n) for n in range(chance.randint(1, 9))]
        graph = {node: chance.sample(nodes, chance.randint(0, min(3, len(nodes)))) for node in nodes}
        reached = {node: _reached(graph, node) for node in nodes}
        expected = {
            tuple(sorted({node} | {other for other in reached[node] if node in reached[other]}))
            for node in nodes
        }
        assert sorted(components.components(graph)) == sorted(expected)


def _reached(graph: dict[str, list[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for node in graph[waiting.pop()]:
            if node not in found:
                found.add(node)
                waiting.append(node)
    return found
