"""What is used in a way that is easily overlooked is not dead, and what is like it is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from engine import Engine
from engine.rules import python
from engine.rules.python.survey import Survey

UNKNOWN = "an attribute of that name is used on something unknown"
REFERRED = "something refers to it"
NOTHING = "nothing refers to it"

CASES = {
    "getattr with a text": (
        {
            "lib.py": "class C:\n    def _run(self): ...\n    def _asked(self): ...\n"
            "    def _dead(self): ...\n    def __own(self): ...\n    def go(self, name):\n"
            "        getattr(self, '_run')()\n        hasattr(name, '_asked')\n"
            "        getattr(self, '_' + name)\n        getattr(self, '__own')\n"
        },
        {"C._run": REFERRED, "C._asked": UNKNOWN, "C._dead": NOTHING, "C.__own": NOTHING},
    ),
    "a private name from outside of its class": (
        {
            "lib.py": "class _C:\n    def __m(self): ...\n    def __dead(self): ...\n"
            "    def __init__(self): ...\n",
            "test_lib.py": "from lib import _C\ndef test_it(made):\n    made._C__m()\n    made._B__dead()\n",
        },
        {"_C.__m": UNKNOWN, "_C.__dead": NOTHING},
    ),
    "a name of a module that came as a value": (
        {
            "lib.py": "def _f(): ...\ndef _dead(): ...\ndef go():\n    def _f(): ...\n",
            "test_lib.py": "def test_it(module): module._f()\n",
        },
        {"_f": UNKNOWN, "_dead": NOTHING, "go.<locals>._f": NOTHING},
    ),
    "a pattern of a class": (
        {
            "lib.py": "class P:\n    @property\n    def _x(self): ...\n"
            "    @property\n    def _dead(self): ...\n"
            "def go(one):\n    match one:\n        case P(_x=1): ...\n        case P(y=_dead): ...\n"
        },
        {"P._x": REFERRED, "P._dead": NOTHING},
    ),
    "a variable that nobody means to use": (
        {"lib.py": "_, _dead = 1, 2\nfor _ in (): ...\nclass C:\n    _ = 3\n    __ = 4\n"},
        {
            "_": "by its name, nobody means to use it",
            "_dead": NOTHING,
            "C._": "by its name, nobody means to use it",
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_used_unseen_is_not_dead_and_what_is_like_it_is(case: str, tmp_path: Path) -> None:
    files, expected = CASES[case]
    for path, text in files.items():
        (tmp_path / path).write_text(text)
    with Engine(None, root=tmp_path) as db:
        said = {row.symbol.partition(":")[2]: row for row in db.get(python.verdicts.of, "lib.py")}
        assert {name: said[name].reason for name in expected} == expected
        dead = {name for name, reason in expected.items() if reason == NOTHING}
        assert {name for name in expected if said[name].verdict == "dead"} == dead


def test_a_stub_is_not_dead_while_the_module_that_it_describes_is_there(tmp_path: Path) -> None:
    """Names are looked for in the module, so nothing refers to what its stub says."""
    (tmp_path / "lib.py").write_text("class C:\n    def _m(self): ...\n    def f(self): self._m()\n")
    (tmp_path / "lib.pyi").write_text("class C:\n    def _m(self): ...\n")
    with Engine(None, root=tmp_path) as db:
        said = {row.symbol: (row.verdict, row.reason) for row in db.get(python.verdicts.of, "lib.pyi")}
        assert set(said.values()) == {("kept", "the stub of lib.py")}
        (tmp_path / "lib.py").unlink()
        db.sync()
        assert [row.symbol for row in db.get(python.dead_definitions)] == ["lib.pyi:C._m"]


def test_an_attribute_that_a_text_names_is_a_reference_like_one_that_is_written(tmp_path: Path) -> None:
    (tmp_path / "lib.py").write_text(
        "class C:\n    def m(self): ...\ndef f(c: C): return getattr(c, 'm', None)\n"
    )
    with Engine(None, root=tmp_path) as db:
        rows = db.get(python.references_to, "lib.py:C.m")
        assert [(row.source, row.usage, row.name) for row in rows] == [("lib.py:f", "read", "c.m")]
        (tmp_path / "lib.py").write_text(
            "class C:\n    def m(self): ...\ndef f(c: C): return getattr(c, 'n', None)\n"
        )
        db.sync()
        assert db.get(python.references_to, "lib.py:C.m") == ()


def test_texts_that_name_attributes_of_each_other_are_walked_once() -> None:
    nested = "x"
    for at in range(12):
        nested = f"getattr({nested}, 'a{at}', None)"
    names = [name for _, name, _ in Survey(ast.parse(nested)).marked]
    assert sorted(names) == sorted(f"getattr().a{at}" for at in range(1, 12))
