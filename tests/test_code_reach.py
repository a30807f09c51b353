"""What is followed from a function, and how far: one claim a test."""

from __future__ import annotations

import argparse
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine.code import origin as code_origin
from engine.code.fingerprint import Part, code_fingerprint, code_parts
from engine.errors import BadQuery
from tests.code_edits import QUERY, WRAPS
from tests.loading import fresh, load, names

__all__ = ["fresh"]  # a fixture


def test_a_third_party_function_is_its_distribution_and_version(tmp_path: Path) -> None:
    app = load(tmp_path, "import attrs, json\ndef f(x): return attrs.asdict(x), json.dumps(x)")
    assert names(app.f, "distribution") == {"attrs"}
    assert names(app.f, "function") == {"app:f"}


def test_a_new_version_of_a_distribution_changes_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = load(tmp_path, "import attrs\ndef f(x): return attrs.asdict(x)")
    before = code_fingerprint(app.f)
    monkeypatch.setattr("engine.code.names.release", lambda module: "attrs==0.1")
    assert code_fingerprint(app.f) != before


@pytest.mark.parametrize("use", ["fast.made()", "made()"])
def test_a_compiled_module_of_the_project_counts_by_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    compiled = ModuleType("fast")
    compiled.__file__ = str(tmp_path / f"fast{EXTENSION_SUFFIXES[0]}")
    compiled.made = "a".join  # type: ignore[attr-defined] # a function that is not written in Python
    compiled.made.__module__ = "fast"
    monkeypatch.setitem(sys.modules, "fast", compiled)
    seen = set()
    for content in (b"one", b"two"):
        Path(compiled.__file__).write_bytes(content)
        code_origin.release.cache_clear()
        app = load(tmp_path, f"import fast\nfrom fast import made\ndef f(): return {use}")
        seen.add(code_fingerprint(app.f))
    assert len(seen) == 2
    assert names(app.f, "distribution") == {"fast"}


def test_an_import_inside_a_body_of_an_installed_package_is_its_distribution(tmp_path: Path) -> None:
    app = load(tmp_path, "def f():\n import attrs.validators\n return attrs")
    assert names(app.f, "distribution") == {"attrs"}


def test_an_import_inside_a_body_does_not_import(tmp_path: Path) -> None:
    app = load(
        tmp_path,
        {
            "app.py": "def f():\n from pkg.inner import n\n return n",
            "pkg/__init__.py": "1/0",
            "pkg/inner.py": "1/0",
        },
    )
    assert names(app.f, "source") == {"pkg", "pkg.inner"}
    assert "pkg" not in sys.modules


def test_another_query_is_a_name(tmp_path: Path) -> None:
    app = load(tmp_path, QUERY + "def g(): return 1\n@Query\ndef q(): return g()\ndef f(): return q()")
    assert names(app.f, "query") == {"app:q"}
    assert names(app.f, "function") == {"app:f"}
    assert names(app.q, "function") == {"app:q", "app:g"}, "a query itself is its function"


def test_a_wrapper_around_a_query_is_followed(tmp_path: Path) -> None:
    """functools.wraps copies `__query__` too; the wrapper's own code must still count."""
    text = QUERY + WRAPS + "@twice\n@Query\ndef q(): return 1\ndef f(): return q()"
    app = load(
        tmp_path,
        text.replace("self.__wrapped__, self", "self.__name__, self.__wrapped__, self").replace(
            "= function, Info", "= function.__name__, function, Info"
        ),
    )
    assert names(app.f, "query") == {"app:q"}
    assert "app:twice.<locals>.inner" in names(app.f, "function")


def test_the_listing_names_what_changed(tmp_path: Path) -> None:
    text = "N = 1\ndef g(): return N\ndef f(): return g()"
    first = set(code_parts(load(tmp_path, text).f))
    second = set(code_parts(load(tmp_path, text.replace("N = 1", "N = 2")).f))
    assert {(part.kind, part.name) for part in first ^ second} == {("value", "app.N")}
    assert all(isinstance(part, Part) for part in first)


def test_a_name_that_is_missing_is_a_part(tmp_path: Path) -> None:
    app = load(tmp_path, "def f(): return nowhere")
    assert names(app.f, "absent") == {"app.nowhere"}


def test_installed_and_standard_modules_are_not_the_project() -> None:
    others = ("os", "sys", "json.decoder", "attrs", "pytest", "engine.code.fingerprint")
    assert "project" not in map(code_origin.origin, others)
    own = ("typed_in", "engine.rules", "engine.rules.files", "no.such.module")
    assert {*map(code_origin.origin, own)} == {"project"}


def test_a_project_predicate_decides_what_is_followed(tmp_path: Path) -> None:
    app = load(
        tmp_path, {"app.py": "import helpers\ndef f(): return helpers.a()", "helpers.py": "def a(): return 1"}
    )
    inside = {part.name for part in code_parts(app.f, project=lambda name: name in ("app", "helpers"))}
    outside = {part.name for part in code_parts(app.f, project=lambda name: name == "app")}
    assert "helpers:a" in inside
    assert "helpers:a" not in outside


def test_a_library_constant_is_not_read_by_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = load(tmp_path, "import sys\ndef f(): return sys.argv")
    before = code_fingerprint(app.f)
    monkeypatch.setattr(sys, "argv", ["other"])
    assert code_fingerprint(app.f) == before


def test_a_monkeypatched_library_function_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = load(tmp_path, "import json\ndef mine(x): return ''\ndef f(x): return json.dumps(x)")
    before = code_fingerprint(app.f)
    monkeypatch.setattr("json.dumps", app.mine)
    assert code_fingerprint(app.f) != before


def test_a_cell_that_is_still_empty_is_fine(tmp_path: Path) -> None:
    app = load(tmp_path, "def m():\n def f(): return later\n if False: later = 1\n return f\nf = m()")
    assert len(code_fingerprint(app.f)) == 16


def test_a_closure_that_holds_itself_is_fine(tmp_path: Path) -> None:
    app = load(tmp_path, "def m():\n def f(n): return n and f(n - 1)\n return f\nf = m()")
    assert names(app.f, "function") == {"app:m.<locals>.f"}


def test_code_typed_into_a_session_is_followed() -> None:
    scope: dict[str, Any] = {"__name__": "typed_in"}
    exec("N = 1\ndef g(): return N\ndef f(): return g()", scope)
    assert names(scope["f"], "function") == {"typed_in:f", "typed_in:g"}
    before = code_fingerprint(scope["f"])
    scope["N"] = 2
    assert code_fingerprint(scope["f"]) != before


def test_a_global_without_canonical_bytes_and_without_a_source_is_good_for_this_object_only() -> None:
    scope: dict[str, Any] = {"__name__": "typed_in", "p": argparse.ArgumentParser()}
    exec("def f(): return p", scope)
    before = code_fingerprint(scope["f"])
    assert code_fingerprint(scope["f"]) == before
    scope["p"] = argparse.ArgumentParser()
    assert code_fingerprint(scope["f"]) != before


def test_a_function_can_be_a_method_a_partial_a_class_or_an_object(tmp_path: Path) -> None:
    text = """
        import functools
        class K:
            def m(self): return 1
            def __call__(self): return 1
        bound, part, made = K().m, functools.partial(K.m, None), K()
    """
    policies = ("closure", "self")
    first = [
        (p, n, code_fingerprint(getattr(load(tmp_path, text), n), policy=p)) for p in policies for n in KINDS
    ]
    text = text.replace("return 1", "return 2")
    second = [
        (p, n, code_fingerprint(getattr(load(tmp_path, text), n), policy=p)) for p in policies for n in KINDS
    ]
    assert not set(first) & set(second)


KINDS = ("K", "bound", "part", "made")


def test_a_value_nested_too_deeply_is_refused(tmp_path: Path) -> None:
    app = load(tmp_path, "N = []\nfor _ in range(100_000): N = [N]\ndef f(): return N")
    with pytest.raises(BadQuery, match="too deeply"):
        code_fingerprint(app.f)
    while app.N:  # taken apart by hand: freeing it in one go is as deep
        app.N = app.N.pop()


def test_functions_that_call_each_other_3_000_deep_are_no_reason_to_refuse_a_query(tmp_path: Path) -> None:
    calls = "\n".join(f"def f{n}(n): return f{n + 1}(n)" for n in range(3000))
    queries = "@query\ndef one(): return f0(1)\n@query\ndef two(): return one()\n"
    app = load(tmp_path, f"from engine import query\n{calls}\n{queries}")
    assert code_fingerprint(app.two) != code_fingerprint(app.one)
