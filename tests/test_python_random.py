"""Random edits of random projects: after every step, incremental equals from-scratch."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from benchmarks.questions import TABLES
from engine import Engine
from engine.rules import python

NAMES = ("a", "b", "pkg", "sub", "os")
FOLDERS = ("", "pkg", "pkg/sub", "src", "src/pkg")
paths = st.builds(
    lambda folder, name, suffix: f"{folder}/{name}{suffix}" if folder else f"{name}{suffix}",
    st.sampled_from(FOLDERS),
    st.sampled_from((*NAMES, "__init__")),
    st.sampled_from((".py", ".py", ".py", ".pyi")),
)
name = st.sampled_from(NAMES)
statements = st.one_of(
    st.builds("import {}".format, name),
    st.builds("import {}.{}".format, name, name),
    st.builds("from {} import {}".format, name, name),
    st.builds("from .{} import {}".format, name, name),
    st.builds("from . import {}".format, name),
    st.builds("from .. import {} as {}".format, name, name),
    st.builds("def {}(): return {}()".format, name, name),
    st.builds("def f():\n    import {}".format, name),
    st.builds("class {}({}): x = 1".format, name, name),
    st.builds("__all__ = ['{}']".format, name),
    st.builds("{} = {}.{}".format, name, name, name),
    st.builds("from {} import *".format, name),
    st.builds("from .{} import *".format, name),
    st.builds("class {}({}.{}):\n    def {}(self): self.{}(); super().{}()".format, *[name] * 6),
    st.builds("def {}(p: {}): p.{}(); {}().{}".format, *[name] * 5),
    st.builds("def {}(p: '{} | None'): p.{}(); {}().{}".format, *[name] * 5),
    st.builds("# {}".format, name),
    st.just(""),
    st.just("def broken(:"),
)
sources = st.lists(statements, max_size=4).map(lambda lines: "\n".join(lines) + "\n")


class Project(RuleBasedStateMachine):
    """One engine sees every step, another starts from empty after it; a third is reopened at times."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp())
        self.root = self.place / "project"
        self.root.mkdir()
        self.db = Engine(self.place / "store", root=self.root)

    @rule(path=paths, source=sources)
    def write(self, path: str, source: str) -> None:
        target = self.root / path
        if target.is_dir():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source)

    @rule(path=paths)
    def delete(self, path: str) -> None:
        (self.root / path).unlink(missing_ok=True)

    @rule(path=st.sampled_from(FOLDERS[1:]))
    def delete_folder(self, path: str) -> None:
        shutil.rmtree(self.root / path, ignore_errors=True)

    @rule(path=st.sampled_from(("a.py", "pkg/a.py", "src")))
    def ignore(self, path: str) -> None:
        (self.root / ".gitignore").write_text(f"{path}\n")

    @rule()
    def reopen(self) -> None:
        self.db.close()
        self.db = Engine(self.place / "store", root=self.root)

    @invariant()
    def equals_from_scratch(self) -> None:
        self.db.sync()
        with Engine(None, root=self.root) as fresh:
            for query in (python.code_graph, python.import_cycles, python.import_graph, python.broken_files):
                assert self.db.get(query) == fresh.get(query)
            assert self.db.get(python.python_files) == fresh.get(python.python_files)
            for name, table in TABLES.items():
                assert self.db.get(table.where) == fresh.get(table.where), name
                assert fresh.get(table.failures) == ()
            for path in ("a.py", "pkg/__init__.py", "src/pkg/b.py"):
                assert self.db.get(python.importers, path) == fresh.get(python.importers, path)
                assert self.db.get(python.facts, path) == fresh.get(python.facts, path)
                assert self.db.get(python.spans, path) == fresh.get(python.spans, path)
            for word in NAMES:
                assert self.db.get(python.definitions_of, word) == fresh.get(python.definitions_of, word)

    def teardown(self) -> None:
        self.db.close()
        shutil.rmtree(self.place)


Project.TestCase.settings = settings(max_examples=10, stateful_step_count=12, deadline=None)
test_random_edits = Project.TestCase
