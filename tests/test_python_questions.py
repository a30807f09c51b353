"""Questions to the code graph: who calls, what overrides, what is dead, what a change affects, and why."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.rules import python
from engine.rules.python import Reached
from engine.rules.python.hierarchy import linearized
from engine.rules.python.reach import Step, reach

Write = Callable[[dict[str, str]], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files below the working directory, which is the root where there is no engine."""
    monkeypatch.chdir(tmp_path)

    def files(contents: dict[str, str]) -> None:
        for path, text in contents.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)

    return files


def _ways(found: tuple[Reached, ...]) -> list[str]:
    return [" ".join([one.symbol, *(f"<{step.usage}" for step in one.steps)]) for one in found]


CHAIN = {
    "a.py": "def one(): ...\n",
    "b.py": "from a import one\ndef two(): one()\n",
    "c.py": "import b\ndef three():\n    b.two()\n    three()\n@b.two\ndef four(): ...\n",
    "d.py": "import c\nclass C:\n    def m(self): c.three()\nC()\n",
}


def test_callers_over_steps_with_their_way(write: Write) -> None:
    write(CHAIN)
    assert _ways(python.callers("a.py:one")) == ["b.py:two <call"]
    assert _ways(python.callers("a.py:one", 2)) == [
        "b.py:two <call", "c.py:four <call <decorator", "c.py:three <call <call",
    ]  # fmt: skip
    assert [one.symbol for one in python.callers("a.py:one", 0)] == [
        "b.py:two", "c.py:four", "c.py:three", "d.py:C.m",
    ]  # fmt: skip
    last = python.callers("a.py:one", 0)[-1]
    assert [(step.source, step.target, step.name) for step in last.steps] == [
        ("b.py:two", "a.py:one", "one"),
        ("c.py:three", "b.py:two", "b.two"),
        ("d.py:C.m", "c.py:three", "c.three"),
    ]  # fmt: skip
    assert (last.begin, last.depth) == ("a.py:one", 3)
    assert python.callers("a.py:none") == ()


def test_callees_over_steps_with_their_way(write: Write) -> None:
    write(CHAIN)
    assert [one.symbol for one in python.callees("d.py:C.m")] == ["c.py:three"]
    assert _ways(python.callees("d.py:C.m", 0)) == [
        "c.py:three <call", "b.py:two <call <call", "a.py:one <call <call <call",
    ]  # fmt: skip


def test_a_path_between_two_symbols(write: Write) -> None:
    write(CHAIN)
    steps = python.path_between("d.py:C.m", "a.py:one")
    assert [step.target for step in steps] == ["c.py:three", "b.py:two", "a.py:one"]
    assert python.path_between("a.py:one", "d.py:C.m") == ()
    assert [step.usage for step in python.path_between("c.py:", "b.py:")] == ["import"]


def test_references_to_and_from_a_symbol_and_perhaps_to_a_name(write: Write) -> None:
    write({"a.py": "def f(x):\n    x.run()\n    f(x)\ndef g(): f(1)\n"})
    assert [row.source for row in python.references_to("a.py:f")] == ["a.py:f", "a.py:g"]
    assert [row.name for row in python.references_from("a.py:f")] == ["f", "x.run"]
    assert [row.source for row in python.possible_references("run")] == ["a.py:f"]


def test_definitions_by_name_by_prefix_and_by_symbol(write: Write) -> None:
    write({"a.py": "def greet(): ...\nclass C:\n    def green(self): ...\n", "b.py": "greet = 1\n"})
    assert [(site.path, site.definition.qualified) for site in python.definitions_of("greet")] == [
        ("a.py", "greet"), ("b.py", "greet"),
    ]  # fmt: skip
    assert [site.definition.qualified for site in python.definitions_starting("gree")] == [
        "C.green", "greet", "greet",
    ]  # fmt: skip
    assert [site.definition.kind for site in python.definitions_at("a.py:C.green")] == ["method"]
    assert python.definitions_at("a.py:C.blue") == ()


def test_importers_and_imports_over_steps(write: Write) -> None:
    write(CHAIN)
    assert python.importers("a.py") == ("b.py",)
    assert [one.symbol for one in python.dependents("a.py")] == ["b.py", "c.py", "d.py"]
    assert [one.symbol for one in python.dependencies("d.py")] == ["c.py", "b.py", "a.py"]
    assert [one.symbol for one in python.dependents("a.py", 1)] == ["b.py"]


FAMILY = {
    "base.py": "class Base:\n    def m(self): ...\n    def __p(self): ...\n",
    "mid.py": "import base\nclass Mid(base.Base):\n    def other(self): ...\n",
    "leaf.py": "from mid import Mid\nclass Leaf(Mid):\n    def m(self): ...\n    def __p(self): ...\n",
}


def test_hierarchy_and_overrides(write: Write) -> None:
    write(FAMILY)
    assert python.subclasses("base.py:Base") == ("leaf.py:Leaf", "mid.py:Mid")
    assert python.subclasses("base.py:Base", 1) == ("mid.py:Mid",)
    assert python.resolution_order("leaf.py:Leaf").classes == (
        "leaf.py:Leaf", "mid.py:Mid", "base.py:Base",
    )  # fmt: skip
    assert [str(one.definition) for one in python.overrides("base.py:Base.m")] == ["leaf.py:Leaf.m"]
    assert [str(one.over) for one in python.overridden("leaf.py:Leaf.m")] == ["base.py:Base.m"]
    assert python.overrides("base.py:Base.__p") == ()
    assert python.overrides("mid.py:Mid.other") == ()
    assert python.overridden("base.py:Base.m") == ()


def test_the_resolution_order_is_that_of_python() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        classes: dict[str, type] = {}
        graph: dict[str, list[str]] = {}
        for number in range(8):
            bases = chance.sample(sorted(classes), min(len(classes), chance.randint(0, 3)))
            name = f"C{number}"
            try:
                classes[name] = type(name, tuple(classes[base] for base in bases), {})
            except TypeError:
                continue  # Python refuses this order of bases
            graph[name] = bases
        for name, made in classes.items():
            assert list(linearized(name, graph)) == [one.__name__ for one in made.__mro__[:-1]]


def test_orders_that_python_refuses_have_an_answer() -> None:
    assert linearized("A", {"A": ["A"]}) == ("A",)
    assert linearized("A", {"A": ["B"], "B": ["A"]}) == ("A", "B")
    assert set(linearized("C", {"A": ["B"], "B": [], "C": ["B", "A"]})) == {"A", "B", "C"}
    deep = {str(n): [str(n + 1)] for n in range(3000)}
    assert len(linearized("0", deep)) == 3001


DEAD = {
    "pyproject.toml": """
[project.scripts]
tool = "cli:main"
[project.entry-points.x]
y = "cli:plugin[extra]"
[tool.poetry.scripts]
a = "cli:_old"
b = { callable = "cli:_older" }
[tool.poetry.plugins.x]
c = "cli:_oldest"
""",
    "cli.py": """
def main(): _used()
def plugin(): ...
def _used(): ...
def _old(): ...
def _older(): ...
def _oldest(): ...
def _dead(): ...
def _self(): _self()
""",
    "lib.py": """
import abc, copy, threading
__all__ = ["listed"]
def listed(): ...
def public(): ...
class _C:
    def __init__(self): ...
    def _m(self): ...
    def _named(self): ...
    def _of_a_copy(self): ...
    def __own(self): ...
    def __other(self): ...
@register
def _hook(): ...
@property
def _inert(): ...
class Thread(threading.Thread):
    def _run(self): ...
class A:
    def _step(self): ...
class B(A, abc.ABC):
    def _step(self): ...
    def _abstract(self): ...
def f(x):
    x._named(); x._C__own(); x._D__other()
    copy.copy(x)._of_a_copy()
    def inner(): ...
    _C
    A()._step()
""",
    "test_lib.py": """
def test_it(): helper()
def helper(): ...
def _unused(): ...
class TestC:
    def test_m(self): ...
""",
    "conftest.py": "def _fixture(): ...\n",
}


def test_what_is_dead_and_why_the_others_are_not(write: Write) -> None:
    write(DEAD)
    said = {row.symbol: (row.verdict, row.reason) for row in python.verdicts.where()}
    assert {symbol for symbol, (verdict, _) in said.items() if verdict == "dead"} == {
        "cli.py:_dead", "cli.py:_self", "lib.py:_C._m", "lib.py:_C.__other", "lib.py:_inert",
        "lib.py:f.<locals>.inner", "lib.py:public", "lib.py:f", "lib.py:B", "lib.py:B._abstract",
        "lib.py:Thread", "test_lib.py:_unused",
    }  # fmt: skip
    reasons = {symbol: reason for symbol, (verdict, reason) in said.items() if verdict == "kept"}
    assert reasons == {
        "cli.py:main": "pyproject.toml names it as an entry point",
        "cli.py:_old": "pyproject.toml names it as an entry point",
        "cli.py:_older": "pyproject.toml names it as an entry point",
        "cli.py:_oldest": "pyproject.toml names it as an entry point",
        "cli.py:plugin": "pyproject.toml names it as an entry point",
        "conftest.py:_fixture": "conftest.py: pytest uses it",
        "lib.py:B._step": "it overrides lib.py:A._step",
        "lib.py:Thread._run": "its class inherits from threading.Thread, which may use it",
        "lib.py:_C.__init__": "a special name: Python itself uses it",
        "lib.py:_C.__own": "an attribute of that name is used on something unknown",
        "lib.py:_C._named": "an attribute of that name is used on something unknown",
        "lib.py:_C._of_a_copy": "an attribute of that name is used on something unknown",
        "lib.py:__all__": "a special name: Python itself uses it",
        "lib.py:_hook": "decorated: register",
        "lib.py:listed": "__all__ lists it",
        "test_lib.py:TestC": "a test",
        "test_lib.py:TestC.test_m": "a test",
        "test_lib.py:test_it": "a test",
    }


def test_uses_of_something_unknown_that_keep_a_definition_are_possible_references_to_it(write: Write) -> None:
    write(DEAD)
    kept = {row.symbol for row in python.verdicts.where() if "something unknown" in row.reason}
    assert kept == {"lib.py:_C.__own", "lib.py:_C._named", "lib.py:_C._of_a_copy"}
    for symbol in kept:
        assert [row.source for row in python.possible_references(symbol.partition(":")[2])] == ["lib.py:f"]


def test_dead_definitions_leave_public_ones_out_unless_asked(write: Write) -> None:
    write({"a.py": "def public(): ...\ndef _private(): ...\ndef used(): ...\nused()\n"})
    assert [row.symbol for row in python.dead_definitions()] == ["a.py:_private"]
    assert [row.symbol for row in python.dead_definitions(True)] == ["a.py:_private", "a.py:public"]


PROJECT = {
    "lib.py": "def f(): ...\nclass C:\n    def m(self): ...\n",
    "mid.py": "from lib import f, C\ndef g(): f()\nclass D(C):\n    def m(self): ...\ndef h(c: C): c.m()\n",
    "alone.py": "def x(): ...\n",
    "tests/conftest.py": "import mid\n",
    "tests/test_mid.py": "from mid import g\ndef test_g(): g()\ndef test_other(): ...\n",
    "tests/test_alone.py": "import alone\ndef test_x(): alone.x()\n",
    "tests/test_far.py": "def test_far(): ...\n",
}


def test_what_a_change_affects_and_why(write: Write) -> None:
    write(PROJECT)
    found = python.affected(("lib.py", "README.md"))
    assert [one.symbol for one in found.files] == [
        "lib.py", "mid.py", "tests/conftest.py",
        "tests/test_mid.py", "tests/test_alone.py", "tests/test_far.py",
    ]  # fmt: skip
    assert [one.symbol for one in found.tests] == [
        "tests/test_mid.py", "tests/test_alone.py", "tests/test_far.py",
    ]  # fmt: skip
    assert [(step.source, step.usage) for step in found.tests[-1].steps] == [
        ("mid.py", "import"), ("tests/conftest.py", "import"), ("tests/test_far.py", "conftest"),
    ]  # fmt: skip
    assert [one.symbol for one in found.likely] == ["tests/test_mid.py:test_g"]
    assert [(step.source, step.target) for step in found.likely[0].steps] == [
        ("mid.py:g", "lib.py:f"), ("tests/test_mid.py:test_g", "mid.py:g"),
    ]  # fmt: skip
    assert found.unknown == ("README.md",)
    assert [one.symbol for one in python.affected(("alone.py",)).tests] == ["tests/test_alone.py"]


def test_a_changed_override_affects_who_calls_what_it_overrides(write: Write) -> None:
    write(PROJECT)
    found = {one.symbol: one for one in python.affected(("mid.py",)).definitions}
    assert "lib.py:C.m" in found
    assert [step.usage for step in found["lib.py:C.m"].steps] == ["overrides"]


def test_a_file_that_is_gone_affects_who_still_names_it(write: Write) -> None:
    write({
        "pkg/__init__.py": "", "pkg/a.py": "from . import gone\n", "pkg/b.py": "from .gone import x\n",
        "app.py": "import pkg.gone\n", "bpp.py": "from pkg import gone\n", "cpp.py": "from pkg import a\n",
    })  # fmt: skip
    found = python.affected(("pkg/gone.py",), 1)
    assert [one.symbol for one in found.files] == ["pkg/gone.py", "app.py", "bpp.py", "pkg/a.py", "pkg/b.py"]


def test_searches_end_in_circles_and_in_the_depth() -> None:
    def following(node: str) -> list[tuple[str, str, Step]]:
        number = int(node)
        return [(other, "n", Step(node, other, "call")) for other in (str((number + 1) % 5000), node)]

    assert len(reach(("0",), following)) == 4999
    assert list(reach(("0",), following, 2)) == ["1", "2"]
    assert list(reach(("0",), following, until="3")) == ["1", "2", "3"]
