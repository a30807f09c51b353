"""What is claimed of the code graph, edit by edit: what has to run, and nothing else, and the right answer.

Every step is also compared with an engine that starts from empty, and all that ran had to (`necessity.py`).
Random edits are made in `test_python_edits.py`, real repositories are edited by `benchmarks/real.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from benchmarks.mutations import QUIET, Edit, mutate
from benchmarks.questions import answers, digests
from benchmarks.repository import repository
from engine import Engine
from engine.rules import python
from tests.code_graph import Graph, of_query, own

HUB = "app/core/base.py"
OF_FACTS = ("parse", "facts", "definitions", "bindings", "import_targets", "bases", "references", "verdicts")


def callers_of(*symbols: str) -> Callable[[Engine], dict[str, object]]:
    """All tables, and the direct callers of some symbols."""

    def ask(db: Engine) -> dict[str, object]:
        found = {one: [caller.symbol for caller in db.get(python.callers, one)] for one in symbols}
        return {**digests(db), **found}

    return ask


def edit_of(graph: Graph, kind: str, path: str) -> Edit:
    edit = mutate(graph.tree, kind, Random(1), path)
    assert edit is not None
    return edit


# -- comments, docstrings, lines -----------------------------------------------------------------


@pytest.mark.parametrize("kind", QUIET)
@pytest.mark.parametrize("restarted", [False, True])
def test_words_and_lines_in_the_most_imported_file_run_its_parse_and_facts(
    tmp_path: Path, kind: str, restarted: bool
) -> None:
    with Graph(tmp_path, repository(60)) as graph:
        graph.ask()
        before = graph.said
        if restarted:
            graph.reopen()
        assert graph.edit(edit_of(graph, kind, HUB)) == own(HUB, "parse", "facts")
        assert graph.said == before


@pytest.mark.parametrize("kind", QUIET)
def test_spans_and_chunks_are_looked_at_where_somebody_asked_for_them(tmp_path: Path, kind: str) -> None:
    def ask(db: Engine) -> dict[str, object]:
        return answers(db, [HUB], [f"{HUB}:Base", f"{HUB}:Base.run"])

    with Graph(tmp_path, repository(60), questions=ask) as graph:
        graph.ask()
        before = graph.said
        ran = graph.edit(edit_of(graph, kind, HUB))
        assert sorted(set(ran)) == own(HUB, "parse", "facts", "spans", "chunks", "parse_error")
        differing = {name for name, value in graph.said.items() if before[name] != value}
        assert differing <= {f"{HUB} spans", f"{HUB} chunks"}
        graph.check()


# -- bodies, names -------------------------------------------------------------------------------

LIBRARY = {
    "lib.py": "def a(): ...\ndef b(): ...\ndef c(): ...\n",
    "app.py": "import lib\n\ndef main():\n    lib.a()\n    lib.c()\n",
    "other.py": "import lib\nlib.a()\nlib.b()\nlib.c()\n",
}
OF_LIBRARY = callers_of("lib.py:a", "lib.py:b", "lib.py:c", "lib.py:new")


def _concerned(*symbols: str) -> list[str]:
    """Who asks for the callers of a symbol, and the question itself."""
    names = [f"callers({one!r}, 1)" for one in symbols]
    for one in symbols:
        names += [f"references.where(target={one!r})", f"references.exists(target={one!r})"]
    return names


def test_a_body_edit_runs_the_tables_of_its_file_and_the_callers_of_names_gained_or_lost(
    tmp_path: Path,
) -> None:
    with Graph(tmp_path, LIBRARY, questions=OF_LIBRARY) as graph:
        graph.ask()
        ran = graph.write({"app.py": "import lib\n\ndef main():\n    lib.b()\n    lib.c()\n"})
        wanted = [*own("app.py", *OF_FACTS), *_concerned("lib.py:a", "lib.py:b")]
        assert ran == sorted(wanted)
        assert graph.said["lib.py:a"] == ["other.py:"]
        assert graph.said["lib.py:b"] == ["app.py:main", "other.py:"]
        graph.check()


def test_a_new_file_of_a_package_resolves_no_other_again_that_imports_from_the_package_itself(
    tmp_path: Path,
) -> None:
    tree = {
        "pkg/__init__.py": "",
        "pkg/a.py": "from . import b\n\ndef main():\n    b.f()\n",
        "pkg/b.py": "def f(): ...\n",
    }
    with Graph(tmp_path, tree) as graph:
        graph.ask()
        ran = graph.write({"pkg/new.py": "def g(): ...\n"})
        assert not set(own("pkg/a.py", *OF_FACTS)).intersection(ran)
        assert {"find_child('pkg', 'b')", "package_in('pkg')"} <= set(ran)
        assert set(own("pkg/new.py", *OF_FACTS)) <= set(ran)
        graph.check()


def test_a_new_export_binds_what_was_imported_in_vain_and_unbinds_it_when_it_goes(tmp_path: Path) -> None:
    tree = {**LIBRARY, "app.py": "from lib import new\n\ndef main():\n    new()\n"}
    wanted = sorted(
        [
            *own("lib.py", *OF_FACTS), *own("app.py", "references"), *_concerned("lib.py:new"),
            "bindings.where(symbol='lib.py:new')", "lookup('lib.py', 'new')",
        ]
    )  # fmt: skip
    with Graph(tmp_path, tree, questions=OF_LIBRARY) as graph:
        graph.ask()
        assert graph.said["lib.py:new"] == []
        ran = graph.write({"lib.py": LIBRARY["lib.py"] + "def new(): ...\n"})
        assert ran == wanted
        assert graph.said["lib.py:new"] == ["app.py:main"]
        graph.check()
        ran = graph.write({"lib.py": LIBRARY["lib.py"]})
        assert ran == [one for one in wanted if not one.startswith("references.exists")]
        assert graph.said["lib.py:new"] == []
        graph.check()


def test_a_file_that_goes_is_unbound_from_those_who_name_it_and_bound_when_it_comes_again(
    tmp_path: Path,
) -> None:
    with Graph(tmp_path, {**LIBRARY, "far.py": "import app\napp.main()\n"}, questions=OF_LIBRARY) as graph:
        graph.ask()
        before = graph.said
        ran = graph.write({"lib.py": None})
        assert of_query(ran, "references") == of_query(ran, "imports") == {"app.py", "other.py"}
        assert of_query(ran, "parse") == set()
        assert [graph.said[f"lib.py:{name}"] for name in "abc"] == [[], [], []]
        graph.check()
        ran = graph.write({"lib.py": LIBRARY["lib.py"]})
        assert of_query(ran, "references") == of_query(ran, "imports") == {"lib.py", "app.py", "other.py"}
        assert of_query(ran, "parse") == {"lib.py"}
        assert graph.said == before
        graph.check()


def test_a_function_renamed_in_the_hub_resolves_again_only_files_that_name_it(tmp_path: Path) -> None:
    symbol = f"{HUB}:make_base"
    with Graph(tmp_path, repository(120)) as graph:
        graph.ask()
        rows = graph.db.get(python.references.where, target=symbol)
        naming = {row.source.rpartition(":")[0] for row in rows} | {HUB}
        graph.ask()
        ran = graph.edit(edit_of(graph, "rename function", HUB))
        assert of_query(ran, "references") == naming
        for name in ("parse", "facts", "definitions", "bindings", "import_targets", "bases", "verdicts"):
            assert of_query(ran, name) == {HUB}
        assert of_query(ran, "imports") == set()
        # A star import after the one that names it may bind it anew.
        again = [path for path in naming if "make_base" in graph.db.get(python.facts, path).doubtful]
        looked = sorted(f"lookup({path!r}, 'make_base')" for path in (HUB, *again))
        assert sorted(one for one in ran if one.startswith("lookup")) == looked
        assert len(naming) > 20
        assert graph.db.get(python.references.where, target=symbol) == ()
        graph.check()


# -- bindings that move though the text that is bound does not ------------------------------------


def test_an_override_in_a_third_file_binds_unchanged_callers_anew(tmp_path: Path) -> None:
    middle = "from a import A\n\nclass M(A):\n    def other(self): ...\n"
    tree = {
        "a.py": "class A:\n    def m(self): ...\n",
        "middle.py": middle,
        "b.py": "from middle import M\n\nclass B(M): ...\n",
        "app.py": "from b import B\n\ndef run():\n    B().m()\n",
        "far.py": "from a import A\n\ndef far():\n    A().m()\n",
    }
    wanted = [
        *own("middle.py", *OF_FACTS), *own("app.py", "references"),
        *_concerned("a.py:A.m", "middle.py:M.m"), "bindings.where(symbol='middle.py:M.m')",
        "member('b.py:B', 'm', False)",
    ]  # fmt: skip
    with Graph(tmp_path, tree, questions=callers_of("a.py:A.m", "middle.py:M.m")) as graph:
        graph.ask()
        before = graph.said
        ran = graph.write({"middle.py": middle + "    def m(self): ...\n"})
        assert ran == sorted(wanted)
        assert (graph.said["a.py:A.m"], graph.said["middle.py:M.m"]) == (["far.py:far"], ["app.py:run"])
        graph.check()
        ran = graph.write({"middle.py": middle})
        assert ran == sorted(set(wanted) - {"references.exists(target='middle.py:M.m')"})
        assert graph.said == before
        graph.check()


@pytest.mark.parametrize(
    ("path", "shadows"), [("lib/__init__.py", True), ("lib.pyi", False), ("lib/part.py", False)]
)
def test_a_module_that_shadows_another_takes_its_callers(tmp_path: Path, path: str, shadows: bool) -> None:
    symbols = ("lib.py:a", f"{path}:a")
    tree = {**LIBRARY, "far.py": "import app\napp.main()\n"}
    with Graph(tmp_path, tree, questions=callers_of(*symbols)) as graph:
        graph.ask()
        before = graph.said
        ran = graph.write({path: "def a(): ...\n"})
        assert of_query(ran, "parse") == {path}
        assert of_query(ran, "references") == ({path, "app.py", "other.py"} if shadows else {path})
        found = ["app.py:main", "other.py:"]
        assert [graph.said[one] for one in symbols] == ([[], found] if shadows else [found, []])
        graph.check()
        ran = graph.write({path: None})
        assert of_query(ran, "references") == ({"app.py", "other.py"} if shadows else set())
        assert graph.said == before
        graph.check()


# -- files in any state --------------------------------------------------------------------------

BROKEN = ("not utf-8", "syntax error")
STATES = (*BROKEN, "emptied", "rename", "move", "case", "module to package", "delete")


@pytest.mark.parametrize("kind", STATES)
@pytest.mark.parametrize("path", [HUB, "app/core/config.py"])
def test_a_file_in_any_state_and_as_it_was_again(tmp_path: Path, kind: str, path: str) -> None:
    with Graph(tmp_path, repository(30)) as graph:
        graph.ask()
        before, text = graph.said, graph.tree[path]
        naming = {row.path for row in graph.db.get(python.imports.where, target=path)}
        graph.ask()
        edit = edit_of(graph, kind, path)
        ran = graph.edit(edit)
        there = {one for one, text in edit.changes if text is not None}
        assert of_query(ran, "parse") == of_query(ran, "facts") == there
        assert of_query(ran, "definitions") == there
        assert (path in graph.db.get(python.broken_files)) == (kind in BROKEN)
        assert (graph.said == before) == (kind == "syntax error")  # the rest of the file parses
        if kind not in BROKEN and kind != "emptied":
            assert of_query(ran, "imports") == there | naming
        graph.check()
        back = dict.fromkeys(there) | {path: text}
        ran = graph.write(back)
        assert of_query(ran, "parse") == {path}
        assert graph.said == before
        graph.check()


def test_a_file_replaced_by_a_directory_of_its_name(tmp_path: Path) -> None:
    with Graph(tmp_path, repository(30)) as graph:
        graph.ask()
        before, text = graph.said, graph.tree[HUB]
        ran = graph.write({HUB: None, f"{HUB}/inner.py": "def inner(): ...\n"})
        assert of_query(ran, "parse") == {f"{HUB}/inner.py"}
        graph.check()
        assert of_query(graph.write({f"{HUB}/inner.py": None, HUB: text}), "parse") == {HUB}
        assert graph.said == before
        graph.check()


# -- many files at once --------------------------------------------------------------------------


def test_a_checkout_of_another_state_parses_what_differs_and_nothing_else(tmp_path: Path) -> None:
    """No event tells of it: everything is found by looking."""
    one, other = repository(80), repository(60, seed=2)
    changes = {path: other.get(path) for path in (*one, *other) if one.get(path) != other.get(path)}
    differing = {
        path for path, text in changes.items() if text is not None and path.endswith((".py", ".pyi"))
    }
    assert len(differing) > 25
    with Graph(tmp_path, one) as graph:
        graph.ask()
        before = graph.said
        ran = graph.write(changes, "checkout")
        assert of_query(ran, "parse") == of_query(ran, "facts") == differing
        graph.check()
        back = {path: one.get(path) for path in changes}
        python_files = {
            path for path, text in back.items() if text is not None and path.endswith((".py", ".pyi"))
        }
        assert of_query(graph.write(back, "checkout"), "parse") == python_files
        assert graph.said == before
        graph.check()


def test_a_storm_of_which_a_tenth_really_changes_parses_that_tenth(tmp_path: Path) -> None:
    with Graph(tmp_path, repository(100)) as graph:
        graph.ask()
        edit = mutate(graph.tree, "storm", Random(2))
        assert edit is not None
        changed = {path for path, text in edit.changes if graph.tree[path] != text}
        assert len(edit.changes) > 9 * len(changed) > 0
        assert of_query(graph.edit(edit), "parse") == changed
        graph.check()
