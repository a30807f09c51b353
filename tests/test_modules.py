"""Rule modules are found by file, by dotted name, or by entry point, under names that stay the same."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine import query as engine_query_module_guard  # the face keeps the decorator under this name
from engine.code.origin import file_of
from engine.errors import BadModule, BadQuery, UnknownQuery
from engine.message import EngineError
from engine.modules.files import forget_since
from engine.modules.load import load_module, load_query, queries_of
from engine.settings import Settings, load_settings
from engine.watch.rule_code import RuleCode

HEAD = "from engine import query\n"
ONE = HEAD + "@query\ndef one() -> int:\n    return 1\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project; what is imported from it is forgotten again."""
    loaded, path = dict(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - set(loaded):
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or str(tmp_path)):
            del sys.modules[name]
    sys.path[:] = path


def write(project: Path, name: str, text: str = ONE) -> Path:
    file = project / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(textwrap.dedent(text))
    return file


def settings(project: Path, *rules: str) -> Settings:
    return load_settings(project, environment={}, flags={"rules": rules})


def name_of(project: Path, text: str, *rules: str) -> str:
    return load_query(text, settings(project, *rules)).__query__.name


def check_refused(project: Path, text: str, kind: type[EngineError], *parts: str, rules: str = "") -> str:
    before = set(sys.modules)
    with pytest.raises(kind) as caught:
        load_query(text, settings(project, *filter(None, [rules])))
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    left = {name for name in set(sys.modules) - before if str(project) in str(sys.modules[name])}
    assert kind is not BadModule or not left  # modules.files M3
    return message


def test_the_decorator_is_the_faces_query() -> None:
    assert callable(engine_query_module_guard)


@pytest.mark.parametrize(
    ("file", "text", "name"),
    [
        ("rules.py", "rules.py:one", "rules:one"),
        ("rules.py", "./rules.py:one", "rules:one"),
        ("rules.py", "rules:one", "rules:one"),
        ("store.py", "store.py:one", "store:one"),
        ("tools/rules.py", "tools/rules.py:one", "tools.rules:one"),
        ("tools/rules.py", "tools.rules:one", "tools.rules:one"),
        ("my-tools/v1.2/a-b.py", "my-tools/v1.2/a-b.py:one", "my-tools.v1_2.a-b:one"),
        ("json.py", "json.py:one", "local.json:one"),
        ("json.py", "local.json:one", "local.json:one"),
        ("engine/rules.py", "engine/rules.py:one", "local.engine.rules:one"),
        ("click.py", "click.py:one", "local.click:one"),
    ],
)
def test_a_file_has_one_module_name_whatever_it_is_called_by(
    project: Path, file: str, text: str, name: str
) -> None:
    write(project, file)
    assert name_of(project, text) == name
    import json

    assert json.__file__ is not None
    assert str(project) not in json.__file__  # modules.files M2


def test_a_file_in_a_package_has_the_packages_name(project: Path) -> None:
    write(project, "src/shop/__init__.py", "")
    write(project, "src/shop/prices.py", HEAD + "@query\ndef price() -> int:\n    return 2\n")
    write(project, "src/shop/rules.py", "from shop.prices import price\nfrom . import prices\n" + ONE)
    assert name_of(project, "src/shop/rules.py:one") == "shop.rules:one"
    assert name_of(project, "src/shop/rules.py:price") == "shop.prices:price"
    assert name_of(project, "shop.rules:one") == "shop.rules:one"


def test_two_files_of_one_name_are_two_modules(project: Path) -> None:
    write(project, "a/rules.py")
    write(project, "b/rules.py")
    assert name_of(project, "a/rules.py:one") == "a.rules:one"
    assert name_of(project, "b/rules.py:one") == "b.rules:one"


def test_neighbours_are_importable_and_see_one_module(project: Path) -> None:
    write(project, "tools/helper.py", "import rules\n")
    write(project, "tools/rules.py", ONE + "import helper\n")
    module = load_module("tools/rules.py", settings(project))
    assert module.helper.rules is module


def test_what_a_module_imports_does_not_depend_on_which_others_are_loaded(project: Path) -> None:
    asks = HEAD + "import {0}\n@query\ndef word() -> str:\n    return {0}.WORD\n"
    for folder in ("a", "b", "c"):
        write(project, f"{folder}/names.py", f"WORD = {folder!r}\n")
        write(project, f"{folder}/rules.py", asks.format("names"))
        write(project, f"{folder}/one.py")
    write(project, "b/more/__init__.py", "WORD = 'more'\n")
    write(project, "b/other.py", asks.format("more"))
    for first in ("one", "rules"):  # whether the other one of the name is loaded, or only comes first
        load_query(f"a/{first}.py:{'one' if first == 'one' else 'word'}", settings(project))
        check_refused(
            project,
            "b/rules.py:word",
            BadModule,
            "it imports names",
            str(project / "a" / "names.py"),
            "from . import",
        )
    assert load_query("a/rules.py:word", settings(project))() == "a"
    assert load_query("b/one.py:one", settings(project))() == 1  # it needs no neighbour
    assert load_query("b/other.py:word", settings(project))() == "more"
    (project / "c" / "__init__.py").touch()
    write(
        project,
        "c/rules.py",
        HEAD + "from . import names\n@query\ndef word() -> str:\n    return names.WORD\n",
    )
    assert load_query("c/rules.py:word", settings(project))() == "c"


@pytest.mark.parametrize("text", ["tools/rules.py:two", "tools.rules:two", "src/near.py:two"])
def test_a_file_imports_from_the_folders_of_the_setting_path_in_their_order(project: Path, text: str) -> None:
    asks = HEAD + "import shop\n@query\ndef two() -> int:\n    return shop.PRICE\n"
    write(project, "src/shop/__init__.py", "PRICE = 2\n")
    write(project, "more/shop.py", "PRICE = 3\n")
    write(project, "tools/rules.py", asks)
    write(project, "src/near.py", asks)
    said = load_settings(project, environment={}, flags={"path": ["src", "more"]})
    assert load_query(text, said)() == 2


def test_a_file_outside_the_root_is_called_by_its_stem(project: Path) -> None:
    write(project, "elsewhere/extra.py")
    (project / "root").mkdir()
    inner = load_settings(project / "root", environment={})
    assert load_query(f"{project}/elsewhere/extra.py:one", inner).__query__.name == "extra:one"


def test_an_edit_within_the_second_is_seen(project: Path) -> None:
    file = write(project, "rules.py", "x = 1\n")
    assert load_module("rules.py", settings(project)).x == 1
    stat = file.stat()
    file.write_text("x = 2\n")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    del sys.modules["rules"]
    assert load_module("rules.py", settings(project)).x == 2


def test_a_bare_name_is_looked_up_in_the_configured_modules(project: Path) -> None:
    write(project, "a.py")
    write(project, "b.py", HEAD + "@query\ndef two() -> int:\n    return 2\n")
    assert name_of(project, "two", "a.py", "b.py") == "b:two"
    check_refused(project, "tow", UnknownQuery, "Did you mean two?", rules="b.py")
    write(project, "c.py")
    with pytest.raises(UnknownQuery, match=r"several rule modules define it: a:one, c:one"):
        load_query("one", settings(project, "a.py", "c.py"))


def test_queries_are_found_through_lazy_imports(project: Path) -> None:
    write(project, "near.py")
    write(project, "parts/two.py", HEAD + "@query\ndef two() -> int:\n    return 2\n")
    write(project, "parts/__init__.py", "")
    lazily = "lazy from near import one\nlazy import near as n\nlazy import parts.two\nlazy import nowhere\n"
    write(project, "rules.py", lazily)
    if sys.version_info >= (3, 15):
        assert name_of(project, "one", "rules.py") == "near:one"
        assert name_of(project, "rules.py:one") == name_of(project, "rules.py:n.one") == "near:one"
        assert name_of(project, "rules.py:parts.two.two") == "parts.two:two"
        for name in ("rules.py:nowhere.one", "nowhere.one"):
            message = check_refused(project, name, BadModule, "it imports nowhere, which", rules="rules.py")
            assert "at:" not in message
        check_refused(project, "rules.py:ones", UnknownQuery, "Did you mean one?")
    else:
        check_refused(project, "rules.py:one", BadModule, "SyntaxError: invalid syntax")


def test_a_bare_name_without_configuration_says_what_to_do(project: Path) -> None:
    write(project, "rules.py")
    check_refused(project, "one", UnknownQuery, "no rule modules are configured", "MODULE:QUERY")
    assert "rules" not in sys.modules or str(project) not in str(sys.modules["rules"])  # it was not named


def test_installed_rules_are_found_by_their_entry_point(project: Path) -> None:
    site = project / "site"
    write(site, "acme_rules.py")
    info = "acme_rules-1.0.dist-info"
    write(site, f"{info}/METADATA", "Metadata-Version: 2.1\nName: acme-rules\nVersion: 1.0\n")
    write(
        site,
        f"{info}/entry_points.txt",
        "[engine.rules]\nacme = acme_rules\nfirst = acme_rules:one\nbad = acme_rules:no\n",
    )
    sys.path.append(str(site))
    (project / "root").mkdir()
    inner = load_settings(project / "root", environment={})
    assert load_query("first", inner).__query__.name == "acme_rules:one"
    assert load_query("acme:one", inner).__query__.name == "acme_rules:one"
    with pytest.raises(BadModule, match="Did you mean acme"):
        load_query("acne:one", inner)
    with pytest.raises(BadModule, match=r"the entry point bad = acme_rules:no of engine\.rules"):
        load_query("bad", inner)


def test_queries_in_classes_are_named_by_their_path(project: Path) -> None:
    write(
        project,
        "rules.py",
        """\
        from attrs import frozen
        from engine import query
        @frozen
        class Shop:
            name: str
            @query
            def size(self) -> int:
                return len(self.name)
        """,
    )
    assert name_of(project, "rules.py:Shop.size") == "rules:Shop.size"
    assert list(queries_of(sys.modules["rules"])) == ["Shop.size"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("rules.py:one('a')", ("no such query", "words of their own: rules.py:one ARG...")),
        ("rules.py:won", ("no such query", "rules.py", "defined", "one", "Did you mean one?")),
        ("rules.py:plain", ("plain is of type function, not a query", "@query")),
        ("rules.py", ("no query is named", "one", "rules.py:QUERY")),
        ("rules.py:", ("no query is named",)),
    ],
)
def test_an_unknown_query_is_told_with_the_known_ones(
    project: Path, text: str, parts: tuple[str, ...]
) -> None:
    write(project, "rules.py", ONE + "def plain() -> int:\n    return 1\n")
    check_refused(project, text, UnknownQuery, *parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("rule.py:one", ("there is no such file", "Did you mean", "rules.py?")),
        ("no/where.py:one", ("there is no such file",)),
        ("folder/:one", ("it is not a file",)),
        ("./notes.txt:one", ("it is not a Python file",)),
        ("no.such.module:one", ("there is no such module", "searched")),
        ("..x:one", ("neither a file nor a dotted name",)),
        ("syntax.py:one", ("SyntaxError", "syntax.py:2", "def broken(:")),
        ("nul.py:one", ("null bytes",)),
        ("latin.py:one", ("SyntaxError", "latin.py")),
        ("raises.py:one", ("ZeroDivisionError", "raises.py:2 in helper")),
        ("exits.py:one", ("it ended the program", "__main__")),
        ("needs.py:one", ("it imports no_such_package", "needs.py:1", "Install no_such_package")),
        ("ring_a.py:one", ("in a circle", "ring_a.py -> ring_b.py -> ring_c.py -> ring_a.py")),
    ],
)
def test_a_module_that_cannot_be_loaded_is_explained(
    project: Path, text: str, parts: tuple[str, ...]
) -> None:
    write(project, "rules.py")
    (project / "folder").mkdir()
    write(project, "notes.txt", "")
    write(project, "syntax.py", "x = 1\ndef broken(:\n")
    (project / "nul.py").write_bytes(b"x = 1\0\n")
    (project / "latin.py").write_bytes(b"x = '\xe9'\n")
    write(project, "raises.py", "def helper():\n    1 / 0\nhelper()\n")
    write(project, "exits.py", "import sys\nsys.exit(3)\n")
    write(project, "needs.py", "import no_such_package.part\n")
    write(project, "ring_a.py", "from ring_b import b\na = 1\n" + ONE)
    write(project, "ring_b.py", "from ring_c import c\nb = 1\n")
    write(project, "ring_c.py", "from ring_a import a\nc = 1\n")
    message = check_refused(project, text, BadModule, *parts)
    assert "Traceback" not in message
    assert "importlib" not in message


def test_an_unreadable_module_is_explained(project: Path) -> None:
    file = write(project, "rules.py")
    file.chmod(0)
    if os.access(file, os.R_OK):
        os.unlink(file)  # root reads everything: a dangling link cannot be read by anybody
        file.symlink_to("nowhere")
    check_refused(project, "rules.py:one", BadModule, "rules.py")


def test_a_function_that_cannot_be_a_query_says_where(project: Path) -> None:
    write(project, "rules.py", HEAD + "@query\nasync def one() -> int:\n    return 1\n")
    check_refused(project, "rules.py:one", BadQuery, "it is async", "rules.py:2")


def test_a_users_engine_package_is_refused_by_name(project: Path) -> None:
    write(project, "engine/__init__.py", "")
    write(project, "engine/rules.py")
    check_refused(project, "engine/rules.py:one", BadModule, "that name is taken", "Rename the folder")


def test_control_characters_of_names_are_escaped(project: Path) -> None:
    assert "\x1b" not in check_refused(project, "a\x1b[31m.py:one", BadModule, "\\x1b[31m")


class _Lazy(ModuleType):
    """Of a library that loads its parts when somebody asks for what they have, and lacks one."""

    def __getattr__(self, name: str) -> Any:
        raise ImportError("a part that is not installed")


def test_a_module_that_fails_when_it_is_asked_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(sys.modules)
    monkeypatch.setitem(sys.modules, "lazy_module", _Lazy("lazy_module"))
    monkeypatch.setitem(sys.modules, "no_module", object())  # as some libraries do
    assert not RuleCode().changed()
    assert file_of("lazy_module") is None
    forget_since(before)
    assert "lazy_module" not in sys.modules
