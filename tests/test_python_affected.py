"""What a change affects, against what really runs: every test whose code reaches a file is affected by it.

Each test file is run in a process that notes the files whose code it enters. Files it only imports through a
name that is computed are missed, and this is said here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import BadArguments, Engine
from engine.rules import python

TREE = {
    "shop/__init__.py": "from shop.prices import price\nfrom .stock import *\n",
    "shop/prices.py": "from shop import rates\n\ndef price(item):\n    return rates.vat(len(item))\n",
    "shop/rates.py": "def vat(value):\n    return value * 1.2\n\ndef unused():\n    return 0\n",
    "shop/stock.py": "__all__ = ['Stock']\n\nclass Stock:\n    def count(self):\n"
    "        return self.load()\n\n    def load(self):\n        return 0\n",
    "shop/remote.py": "from shop import Stock\n\nclass Remote(Stock):\n    def load(self):\n"
    "        from shop.network import fetch\n        return fetch()\n",
    "shop/network.py": "def fetch():\n    return 7\n",
    "shop/plugins.py": "import importlib\n\ndef load(name):\n"
    "    return importlib.import_module(f'shop.{name}').answer()\n",
    "shop/extra.py": "def answer():\n    return 42\n",
    "tools/report.py": "import shop\n\ndef report(items):\n    return [shop.price(item) for item in items]\n",
    "tests/helpers.py": "from shop.remote import Remote\n\ndef stocked():\n    return Remote()\n",
    "tests/test_prices.py": "from shop import price\n\ndef test_price():\n    assert price('ab') == 2.4\n",
    "tests/test_stock.py": "from shop import Stock\n\ndef test_count():\n    assert Stock().count() == 0\n",
    "tests/test_remote.py": "from tests.helpers import stocked\n\ndef test_remote():\n"
    "    assert stocked().count() == 7\n",
    "tests/test_report.py": "def test_report():\n    from tools.report import report\n"
    "    assert report(['a']) == [1.2]\n",
    "tests/test_plugins.py": "from shop.plugins import load\n\ndef test_plugin():\n"
    "    assert load('extra') == 42\n",
    "tests/test_nothing.py": "def test_nothing():\n    assert True\n",
}
COMPUTED = {("shop/extra.py", "tests/test_plugins.py")}  # by importlib: nobody can see that in a text

RUN = """
import importlib, json, os, sys
root, module = sys.argv[1:]
sys.path.insert(0, root)
reached = set()
def note(frame, event, argument):
    reached.add(os.path.relpath(frame.f_code.co_filename, root))
sys.setprofile(note)
found = importlib.import_module(module)
for name in dir(found):
    if name.startswith("test_"):
        getattr(found, name)()
sys.setprofile(None)
print(json.dumps(sorted(reached)))
"""


def reached_by(root: Path, test: str) -> set[str]:
    """The files of the project whose code a test enters, module level included."""
    module = test.removesuffix(".py").replace("/", ".")
    program = [sys.executable, "-B", "-c", RUN, str(root), module]
    return {path for path in json.loads(subprocess.check_output(program)) if path in TREE}


def test_every_test_whose_code_reaches_a_file_is_affected_by_it(tmp_path: Path) -> None:
    for path, text in TREE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    tests = [path for path in TREE if "/test_" in path]
    runs = {(path, test) for test in tests for path in reached_by(tmp_path, test)}
    with Engine(None, root=tmp_path) as db:
        said = {(path, one.symbol) for path in TREE for one in db.get(python.affected, (path,)).tests}
        assert runs - said == COMPUTED
        assert ("shop/network.py", "tests/test_remote.py") in said  # imported late, by an override
        assert {path for path, test in said if test == "tests/test_nothing.py"} == {"tests/test_nothing.py"}
        for path, test in said - runs:
            steps = next(one for one in db.get(python.affected, (path,)).tests if one.symbol == test).steps
            assert steps, f"{path} to {test} without a reason"
        assert len(said - runs) <= 12


def test_definitions_that_a_test_reaches_are_likely_before_the_others(tmp_path: Path) -> None:
    for path, text in TREE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    with Engine(None, root=tmp_path) as db:
        found = db.get(python.affected, ("shop/rates.py",))
        assert [one.symbol for one in found.likely] == [
            "tests/test_prices.py:test_price",
            "tests/test_report.py:test_report",
        ]


def test_one_text_where_several_are_asked_for_is_refused_and_not_taken_apart(tmp_path: Path) -> None:
    (tmp_path / "lib.py").write_text("def f(): pass\n")
    text: Any = "lib.py:f"
    with Engine(None, root=tmp_path) as db:
        for query in (python.affected, python.affected_files, python.affected_by):
            with pytest.raises(BadArguments, match="one text, not several"):
                db.get(query, text)


def test_which_tests_to_run_is_known_without_the_references_of_the_project(tmp_path: Path) -> None:
    """They are most of what a first build costs: of django 80 s, and 15 without."""
    for path, text in TREE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    with Engine(None, root=tmp_path) as db:
        for path in (*TREE, "shop/gone.py", "README.md"):
            db.get(python.affected_files, (path,))
        assert db.why(python.references, "shop/prices.py").state == "unknown"
        for path in (*TREE, "shop/gone.py", "README.md"):
            files, whole = db.get(python.affected_files, (path,)), db.get(python.affected, (path,))
            assert (files.files, files.tests, files.unknown) == (whole.files, whole.tests, whole.unknown)
        assert db.why(python.references, "shop/prices.py").state == "clean"


@pytest.mark.parametrize(
    ("files", "tests"),
    [
        ({}, {"test_a.py", "b_test.py", "app/tests.py"}),
        ({"pytest.ini": "[pytest]\npython_files = spec_*.py app/*.py\n"}, {"spec_c.py", "app/tests.py"}),
        ({"tox.ini": "[tox]\n", "setup.cfg": "[tool:pytest]\npython_files =\n  test_*.py\n"}, {"test_a.py"}),
        (
            {"pyproject.toml": "[tool.pytest.ini_options]\npython_files = 'spec_*.py b*'"},
            {"spec_c.py", "b_test.py"},
        ),
        ({"pyproject.toml": "[tool.pytest]\npython_files = ['tests.py']"}, {"app/tests.py"}),
        (
            {"pytest.ini": "", "tox.ini": "[pytest]\npython_files = spec_*.py"},
            {"test_a.py", "b_test.py", "app/tests.py"},
        ),
        (
            {
                "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '-q'",
                "setup.cfg": "[tool:pytest]\npython_files = spec_*.py",
            },
            {"test_a.py", "b_test.py", "app/tests.py"},
        ),
        ({"pytest.ini": "[pytest", "pyproject.toml": "["}, {"test_a.py", "b_test.py", "app/tests.py"}),
    ],
)
def test_files_of_tests_are_those_that_pytest_is_told_to_look_into(
    files: dict[str, str], tests: set[str], tmp_path: Path
) -> None:
    """What is not said to be one, `pytest $(engine graph affected --tests)` would never run."""
    (tmp_path / "app").mkdir()
    (tmp_path / "lib.py").write_text("")
    with Engine(None, root=tmp_path) as db:
        for path in ("test_a.py", "b_test.py", "spec_c.py", "app/tests.py", "b.txt"):
            (tmp_path / path).write_text("import lib\ndef test_it(): ...\n")
        db.sync()
        assert len(db.get(python.affected_files, ("lib.py",)).tests) == 3
        for path, text in files.items():
            (tmp_path / path).write_text(text)
        db.sync()
        found = db.get(python.affected, ("lib.py",))
        assert {one.symbol for one in found.tests} == tests
        changed = db.get(python.affected, tuple(sorted(tests)))
        assert {one.symbol.partition(":")[0] for one in changed.likely} == tests


def test_a_module_that_a_call_imports_by_its_name_is_imported(tmp_path: Path) -> None:
    """Only names that are computed cannot be seen. Nothing is bound by such a call."""
    texts = {
        "lib/__init__.py": "", "lib/tool.py": "def f(): ...\n", "plug.py": "",
        "test_a.py": "import importlib\ndef test_a(): importlib.import_module('lib.tool').f()\n",
        "test_b.py": "import pytest\nplug = pytest.importorskip('plug')\nlib = __import__('lib.tool')\n",
        "test_c.py": "from importlib import import_module\nimport_module('lib.' + 'tool')\n"
        "import_module('')\nimport_module()\nimport_module(b'lib.tool')\n"
        "import_module('.tool', 'lib')\nlib.tool\n",
    }  # fmt: skip
    (tmp_path / "lib").mkdir()
    for path, text in texts.items():
        (tmp_path / path).write_text(text)
    with Engine(None, root=tmp_path) as db:
        for path, tests in (
            ("lib/tool.py", ["test_a.py", "test_b.py"]),
            ("lib/__init__.py", ["test_a.py", "test_b.py"]),
            ("plug.py", ["test_b.py"]),
        ):
            assert sorted(one.symbol for one in db.get(python.affected_files, (path,)).tests) == tests
        bound = [row.symbol for row in db.get(python.bindings.of, "test_a.py") if row.kind == "import"]
        assert bound == ["test_a.py:importlib"]
        names = {row.name: row.outcome for row in db.get(python.references_from, "test_c.py:")}
        assert names["lib.tool"] == "unresolved"
        rows = [(row.path, row.module, row.eager) for row in db.get(python.imports.where) if row.target]
        expected = [
            ("test_a.py", "lib.tool", False),
            ("test_b.py", "lib.tool", True),
            ("test_b.py", "plug", True),
        ]
        assert sorted(rows) == expected
