"""What a test runs without naming it is a way on which a change reaches it: fixtures, setup, instances."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Engine
from engine.rules import python

TREE = {
    "lib.py": (
        "class Shop:\n    def open(self):\n        return 1\n\n    def __len__(self):\n        return 2\n\n"
        "def make():\n    return Shop()\n\ndef fresh():\n    return 3\n\ndef seed():\n    return 4\n\n"
        "def table():\n    return {}\n\nKNOWN = table()\n\ndef known():\n    return KNOWN\n"
    ),
    "conftest.py": (
        "import pytest\nimport lib\n\n@pytest.fixture\ndef shop():\n    return lib.make()\n\n"
        "@pytest.fixture()\ndef number():\n    return lib.fresh()\n"
    ),
    "deep/conftest.py": "import pytest\n\n@pytest.fixture\ndef number(number):\n    return number + 1\n",
    "deep/test_deep.py": (
        "import pytest\nimport lib\n\n"
        "@pytest.fixture(autouse=True)\ndef seeded():\n    return lib.seed()\n\n"
        "def test_number(number):\n    assert number\n\n"
        "@pytest.mark.parametrize('number', [1])\ndef test_other(other):\n    pass\n"
    ),
    "test_shop.py": (
        "import pytest\nimport unittest\nimport lib\n\n"
        "def test_open(shop):\n    assert shop.open()\n\n"
        "def test_length(shop=None):\n    assert shop is None\n\n"
        "@pytest.mark.usefixtures('number')\nclass TestMarked:\n    def test_one(self):\n        pass\n\n"
        "class TestSet(unittest.TestCase):\n    def setUp(self):\n        self.shop = lib.known()\n\n"
        "    def test_set(self):\n        assert self.shop == {}\n\n"
        "class TestOwn:\n    @pytest.fixture\n    def shop(self):\n        return 0\n\n"
        "    def test_own(self, shop):\n        assert shop == 0\n"
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path, text in TREE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


@pytest.fixture
def graph(root: Path) -> Iterator[Engine]:
    with Engine(None, root=root) as db:
        yield db


def likely(db: Engine, symbol: str) -> list[str]:
    return sorted(one.symbol.rpartition(":")[2] for one in db.get(python.affected_by, (symbol,)).likely)


def given(db: Engine, test: str) -> list[tuple[str, str | None]]:
    rows = db.get(python.references.where, source=test)
    return sorted((row.name, row.target) for row in rows if row.usage == "fixture")


def test_a_fixture_is_found_where_pytest_finds_it(graph: Engine) -> None:
    assert given(graph, "test_shop.py:test_open") == [("shop", "conftest.py:shop")]
    assert given(graph, "test_shop.py:TestMarked") == [("number", "conftest.py:number")]
    assert given(graph, "test_shop.py:TestOwn.test_own") == [("shop", "test_shop.py:TestOwn.shop")]
    assert given(graph, "deep/test_deep.py:test_number") == [("number", "deep/conftest.py:number")]


def test_a_fixture_that_asks_for_its_own_name_means_the_one_above(graph: Engine) -> None:
    assert given(graph, "deep/conftest.py:number") == [("number", "conftest.py:number")]


def test_a_parameter_with_a_default_or_without_a_fixture_is_none(graph: Engine) -> None:
    assert given(graph, "test_shop.py:test_length") == []
    assert given(graph, "deep/test_deep.py:test_other") == []


def test_what_a_fixture_uses_reaches_the_tests_that_name_it(graph: Engine) -> None:
    assert likely(graph, "lib.py:make") == ["test_open"]
    assert likely(graph, "lib.py:fresh") == ["TestMarked.test_one", "test_number"]


def test_a_fixture_for_all_reaches_the_tests_around_it_and_no_others(graph: Engine) -> None:
    assert likely(graph, "lib.py:seed") == ["test_number", "test_other"]


def test_setup_reaches_the_tests_of_its_class_through_a_variable_of_a_module(graph: Engine) -> None:
    assert likely(graph, "lib.py:table") == ["TestSet.test_set"]


def test_a_method_that_runs_unnamed_reaches_who_makes_its_class(graph: Engine) -> None:
    assert likely(graph, "lib.py:Shop.open") == ["test_open"]
    assert likely(graph, "lib.py:Shop.__len__") == ["test_open"]


def test_a_method_that_only_others_call_reaches_who_makes_its_class(root: Path, graph: Engine) -> None:
    (root / "stream.py").write_text(
        "import io\n\nclass Stream:\n    def readable(self):\n        return True\n\n"
        "def wrapped():\n    return io.TextIOWrapper(Stream())\n"
    )
    (root / "test_stream.py").write_text("import stream\n\ndef test_wrapped():\n    stream.wrapped()\n")
    graph.sync()
    assert likely(graph, "stream.py:Stream.readable") == ["test_wrapped"]


def test_a_class_of_tests_in_another_one_is_of_tests_too(root: Path, graph: Engine) -> None:
    (root / "test_outer.py").write_text(
        "import lib\n\nclass TestOuter:\n    class TestInner:\n        def setup_method(self):\n"
        "            lib.fresh()\n\n        def test_in(self):\n            lib.seed()\n\n"
        "    class Other:\n        def test_none(self):\n            lib.seed()\n"
    )
    graph.sync()
    assert "TestOuter.TestInner.test_in" in likely(graph, "lib.py:fresh")
    assert "TestOuter.TestInner.test_in" in likely(graph, "lib.py:seed")
    assert "TestOuter.Other.test_none" not in likely(graph, "lib.py:seed")
    (row,) = graph.get(python.verdicts.where, symbol="test_outer.py:TestOuter.TestInner")
    assert (row.verdict, row.reason) == ("kept", "a test")


def test_a_decorator_inside_of_a_test_reaches_that_test_though_nobody_calls_what_it_decorates(
    root: Path, graph: Engine
) -> None:
    (root / "marks.py").write_text("def mark(f):\n    raise TypeError(f)\n")
    (root / "test_marks.py").write_text(
        "import marks\nimport pytest\n\ndef test_mark():\n    with pytest.raises(TypeError):\n\n"
        "        @marks.mark\n        def unused():\n            pass\n"
    )
    graph.sync()
    assert likely(graph, "marks.py:mark") == ["test_mark"]


def test_each_way_has_its_reason(graph: Engine) -> None:
    (found,) = graph.get(python.affected_by, ("lib.py:Shop.__len__",)).likely
    assert [(step.usage, step.source) for step in found.steps] == [
        ("instance", "lib.py:Shop"),
        ("call", "lib.py:make"),
        ("call", "conftest.py:shop"),
        ("fixture", "test_shop.py:test_open"),
    ]


def test_a_conftest_that_comes_between_takes_over_unchanged_tests(root: Path, graph: Engine) -> None:
    (root / "deep" / "conftest.py").unlink()
    graph.sync()
    assert given(graph, "deep/test_deep.py:test_number") == [("number", "conftest.py:number")]
    assert likely(graph, "lib.py:fresh") == ["TestMarked.test_one", "test_number"]
    (root / "deep" / "conftest.py").write_text(TREE["deep/conftest.py"])
    graph.sync()
    assert given(graph, "deep/test_deep.py:test_number") == [("number", "deep/conftest.py:number")]


def test_a_hook_in_a_conftest_reaches_all_tests_below(root: Path, graph: Engine) -> None:
    hook = "import lib\n\ndef pytest_runtest_setup(item):\n    lib.seed()\n"
    (root / "deep" / "conftest.py").write_text(TREE["deep/conftest.py"] + hook)
    graph.sync()
    steps = [one.steps[-1].usage for one in graph.get(python.affected_by, ("lib.py:seed",)).likely]
    assert likely(graph, "deep/conftest.py:pytest_runtest_setup") == ["test_number", "test_other"]
    assert steps == ["setup", "setup"]


def test_a_fixture_with_autouse_reaches_the_tests_below_a_conftest_that_imports_it(
    graph: Engine, root: Path
) -> None:
    (root / "fixtures.py").write_text(
        "import pytest\nimport lib\n\n@pytest.fixture(autouse=True)\ndef shared():\n    return lib.seed()\n\n"
        "@pytest.fixture\ndef asked():\n    return lib.seed()\n"
    )
    (root / "low").mkdir()
    (root / "low/test_low.py").write_text("def test_low():\n    pass\n")
    graph.sync()
    assert "test_low" not in likely(graph, "fixtures.py:shared")
    (root / "low/conftest.py").write_text("from fixtures import asked, shared\n")
    graph.sync()
    assert likely(graph, "fixtures.py:shared") == ["test_low"]
    assert likely(graph, "fixtures.py:asked") == []
    assert "test_low" in likely(graph, "lib.py:seed")


def test_a_method_that_only_calls_itself_reaches_who_makes_its_class(root: Path, graph: Engine) -> None:
    """As those do that a visitor finds by a computed name: the first call is not seen."""
    (root / "visit.py").write_text(
        "class Visitor:\n    def visit(self, name):\n        getattr(self, f'visit_{name}')()\n\n"
        "    def visit_if(self):\n        self.visit_if()\n\n    def visit_for(self):\n        pass\n"
    )
    (root / "test_visit.py").write_text(
        "from visit import Visitor\n\ndef test_if():\n    Visitor().visit('if')\n"
    )
    graph.sync()
    assert likely(graph, "visit.py:Visitor.visit_for") == ["test_if"]
    assert likely(graph, "visit.py:Visitor.visit_if") == ["test_if"]
