"""What pytest loads and gives by names in texts reaches the tests that get it, and no others.

It is compared with what each test really calls.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine import Engine
from engine.rules import python

LIB = "CALLED = []\n" + "".join(
    f"\ndef {name}():\n    CALLED.append('{name}')\n"
    for name in ("stock", "price", "seed", "hook", "bare", "above", "registered", "option")
)
TREE = {
    "lib.py": LIB,
    "conftest.py": (
        "import pytest\nimport lib\n\npytest_plugins = ['tools.fixtures']\n\n"
        "@pytest.fixture(name='bare')\ndef _bare():\n    lib.bare()\n\n"
        "@pytest.fixture\ndef above():\n    lib.above()\n"
    ),
    "tools/__init__.py": "",
    "tools/fixtures.py": (
        "import pytest\nimport lib\n\npytest_plugins: tuple[str, ...] = ('tools.more',)\n\n"
        "@pytest.fixture\ndef stock():\n    lib.stock()\n\n"
        "def pytest_runtest_setup(item):\n    lib.hook()\n"
    ),
    "tools/more.py": (
        "import pytest\nimport lib\n\n@pytest.fixture(name='price')\ndef _price():\n    lib.price()\n\n"
        "@pytest.fixture(autouse=True)\ndef _seed():\n    lib.seed()\n"
    ),
    "shop_plugin.py": (
        "import pytest\nimport lib\n\n@pytest.fixture\ndef registered():\n    lib.registered()\n"
    ),
    "shop_option.py": "import lib\n\ndef pytest_runtest_teardown(item):\n    lib.option()\n",
    "pytest.ini": "[pytest]\naddopts = -p shop_option -p no:cacheprovider\n",
    "pyproject.toml": "[project.entry-points.pytest11]\nshop = 'shop_plugin'\n",
    "test_shop.py": (
        "import pytest\n\ndef test_stock(stock):\n    pass\n\ndef test_price(price):\n    pass\n\n"
        "class TestMarked:\n    pytestmark = pytest.mark.usefixtures('price')\n\n"
        "    def test_one(self):\n        pass\n\n"
        "class TestOwn:\n    @pytest.fixture(name='bare')\n    def own(self):\n        pass\n\n"
        "    def test_own(self, bare):\n        pass\n\n"
        "def test_registered(registered):\n    pass\n\ndef test_none():\n    pass\n"
    ),
    "test_marked.py": (
        "import pytest\n\n"
        "pytestmark = [pytest.mark.filterwarnings('error'), pytest.mark.usefixtures('stock')]\n\n"
        "def test_all():\n    pass\n"
    ),
    "test_asking.py": (
        "def test_asks(request):\n    request.getfixturevalue('price')\n\n"
        "def test_bare(bare):\n    pass\n\ndef test_above(above):\n    pass\n"
    ),
}
RECORDER = """
import json, pathlib, sys
import pytest
import lib

RECORD = {}

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    lib.CALLED.clear()
    result = yield
    RECORD[item.nodeid] = sorted(set(lib.CALLED))
    return result

def pytest_sessionfinish(session):
    pathlib.Path(sys.argv[-1]).joinpath("record.json").write_text(json.dumps(RECORD))
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for path, text in TREE.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def called(root: Path) -> dict[str, set[str]]:
    """Of each function of the library the tests that call it when pytest runs them."""
    beside = root.parent / "beside"
    beside.mkdir(exist_ok=True)
    (beside / "recorder.py").write_text(RECORDER)
    options = ["-q", "-p", "recorder"]
    options += ["-p", "shop_plugin"] if (root / "shop_plugin.py").exists() else []  # as if it were installed
    environment = {
        **os.environ,
        "PYTHONPATH": f"{beside}{os.pathsep}{root}",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", *options, "--rootdir", root, root],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, set[str]] = {}
    for test, names in json.loads((root / "record.json").read_text()).items():
        file, *qualified = test.split("::")
        for name in names:
            found.setdefault(name, set()).add(f"{file}:{'.'.join(qualified)}")
    return found


def reached(db: Engine, symbol: str) -> set[str]:
    return {one.symbol for one in db.get(python.affected_by, (symbol,)).likely}


def files_of(db: Engine, path: str) -> list[str]:
    return [one.symbol for one in db.get(python.affected_files, (path,)).tests]


def test_a_change_reaches_the_tests_that_call_it_through_what_pytest_gives_by_name(root: Path) -> None:
    really = called(root)
    assert len(really) == 8
    with Engine(None, root=root) as db:
        assert {name: reached(db, f"lib.py:{name}") for name in really} == really


def test_files_that_pytest_loads_without_an_import_are_seen_by_all_their_tests(root: Path) -> None:
    tests = ["test_asking.py", "test_marked.py", "test_shop.py"]
    with Engine(None, root=root) as db:
        for path in ("conftest.py", "tools/fixtures.py", "tools/more.py", "shop_plugin.py", "shop_option.py"):
            assert files_of(db, path) == tests, path
        (root / "pytest.ini").write_text("")
        (root / "conftest.py").write_text(TREE["conftest.py"].replace("['tools.fixtures']", "[]"))
        db.sync()
        assert files_of(db, "shop_option.py") == files_of(db, "tools/more.py") == []


def test_who_names_a_plugin_in_one_file_gets_its_fixtures_there_alone(root: Path) -> None:
    (root / "conftest.py").write_text("")
    (root / "deep").mkdir()
    for name, said in {"first": "pytest_plugins = 'tools.more'\n\n", "second": ""}.items():
        (root / f"deep/test_{name}.py").write_text(f"{said}def test_it(price):\n    pass\n")
    with Engine(None, root=root) as db:
        assert reached(db, "lib.py:price") == {"deep/test_first.py:test_it"}
        assert reached(db, "lib.py:seed") == {"deep/test_first.py:test_it"}
        assert files_of(db, "tools/more.py") == ["deep/test_first.py"]


def test_a_plugin_that_imports_the_conftest_that_names_it_is_in_no_cycle_of_imports(root: Path) -> None:
    (root / "tools/more.py").write_text("import conftest\n" + TREE["tools/more.py"])
    assert called(root)["price"]
    with Engine(None, root=root) as db:
        assert db.get(python.import_cycles) == ()
        assert files_of(db, "tools/more.py") == ["test_asking.py", "test_marked.py", "test_shop.py"]


def test_plugins_are_named_as_pytest_reads_them_with_quotes_or_commas(root: Path) -> None:
    (root / "pytest.ini").write_text("[pytest]\naddopts = '-p shop_option' -p 'no:cacheprovider'\n")
    text = TREE["conftest.py"].replace("['tools.fixtures']", "'tools.fixtures,tools.more'")
    (root / "conftest.py").write_text(text)
    (root / "tools/fixtures.py").write_text(TREE["tools/fixtures.py"].replace("('tools.more',)", "()"))
    really = called(root)
    assert len(really) == 8
    with Engine(None, root=root) as db:
        assert {name: reached(db, f"lib.py:{name}") for name in really} == really


def test_what_pytest_uses_of_a_module_by_its_name_is_not_dead_while_it_loads_that(root: Path) -> None:
    with Engine(None, root=root) as db:
        used = [one.symbol for one in db.get(python.dead_definitions, public=True)]
        assert [symbol for symbol in used if ":pytest" in symbol or ".pytest" in symbol] == []
        (root / "pytest.ini").write_text("")
        db.sync()
        assert [one.symbol for one in db.get(python.dead_definitions, public=True)] == [
            *used,
            "shop_option.py:pytest_runtest_teardown",
        ]


RENAMED = {
    "lib.py": "CALLED = []\n"
    + "".join(
        f"\ndef {name}():\n    CALLED.append('{name}')\n"
        for name in ("database", "client", "outer", "inner", "method", "other", "plain")
    ),
    "fixtures.py": (
        "import pytest\nimport lib\n\n@pytest.fixture(name='db')\ndef database():\n    lib.database()\n\n"
        "@pytest.fixture(name='http')\ndef client():\n    lib.client()\n"
    ),
    "conftest.py": (
        "import pytest\nimport lib\nfrom fixtures import database\n\n"
        "@pytest.fixture\ndef page():\n    lib.outer()\n\n@pytest.fixture\ndef plain():\n    lib.plain()\n"
    ),
    "test_one.py": (
        "import pytest\nimport lib\nfrom fixtures import client as renamed\n\n"
        "@pytest.fixture(name='page')\ndef own_page(page):\n    lib.inner()\n\n"
        "@pytest.fixture(name='other')\ndef plain():\n    lib.other()\n\n"
        "def test_db(db):\n    pass\n\ndef test_http(http):\n    pass\n\n"
        "def test_page(page):\n    pass\n\ndef test_plain(plain):\n    pass\n\n"
        "class TestIn:\n    @pytest.fixture(name='page')\n    def in_class(self, page):\n"
        "        lib.method()\n\n    def test_in(self, page):\n        pass\n"
    ),
}


def test_a_renamed_fixture_is_given_by_its_new_name_alone_wherever_it_is_imported(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    for path, text in RENAMED.items():
        (root / path).write_text(text)
    really = called(root)
    assert really["outer"] == really["inner"] == {"test_one.py:test_page", "test_one.py:TestIn.test_in"}
    assert sorted(really) == ["client", "database", "inner", "method", "outer", "plain"]
    with Engine(None, root=root) as db:
        assert {name: reached(db, f"lib.py:{name}") for name in really} == really
        assert reached(db, "lib.py:other") == set()
        (root / "fixtures.py").write_text(RENAMED["fixtures.py"].replace("'db'", "'store'"))
        db.sync()
        assert reached(db, "lib.py:database") == set()


def test_whether_tests_get_what_is_no_fixture_is_not_asked_of_what_it_uses(tmp_path: Path) -> None:
    (tmp_path / "lib.py").write_text("\n".join(f"def f{n}():\n    f{n - 1}()\n" for n in range(1, 41)))
    with Engine(None, root=tmp_path) as db:
        asked: list[str] = []
        db.listen(lambda event: asked.append(str(getattr(event, "key", ""))))
        assert len(db.get(python.affected_by, ("lib.py:f1",)).definitions) == 40
        assert not [key for key in asked if "source='lib.py:f" in key]
        assert len({key for key in asked if "target='lib.py:f" in key}) == 40
