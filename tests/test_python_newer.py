"""What a file says in the syntax of newer Pythons. For an older one it is broken."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from engine import Engine
from engine.rules.python import broken_files, import_cycles, importers
from engine.rules.python.facts import Facts, Import, facts_of
from engine.rules.python.parse import parse_text
from engine.rules.python.survey import Survey

Since = tuple[int, int]

# Of each text the uses of names, as "who: name usage origin scope".
USES: dict[str, tuple[Since, str, str]] = {
    "a generic method sees the names of its class from its head": (
        (3, 12),
        "class C:\n class I: pass\n def m[T: I](self, x: I = I, *y: T) -> I: pass",
        "C.m: I read place C",
    ),
    "a generic class sees the names of the class around from its head": (
        (3, 12),
        "class C:\n class I: pass\n class D[T](I, k=I): e = I",
        "C.D: I base place C | C.D: I read global | C.D: I read place C",
    ),
    "a type statement sees the names of the class around": (
        (3, 12),
        "class C:\n class I: pass\n type A = I\n type B[T: I] = A | T",
        "C.A: I read place C | C.B: A read place C | C.B: I read place C",
    ),
    "the body of a generic method does not see the names of its class": (
        (3, 12),
        "class C:\n class I: pass\n def m[T](self): return I",
        "C.m: I read global",
    ),
    "what a generic method is annotated with is not itself": (
        (3, 12),
        "class C:\n def list[T](self, x: list[T]) -> list[T]: x.y",
        "C.list: list read global | C.list: x.y read parameter",
    ),
    "super and self are those of a generic method": (
        (3, 12),
        "class C(B):\n def m[T](self): super().m(); self.n()",
        "C: B base global | C.m: self.n call self C | C.m: super call global | C.m: super().m call super C",
    ),
    "super in the body of a generic class is no method's": (
        (3, 12),
        "class C:\n class D[T]:\n  super().m",
        "C.D: super call global | C.D: super().m read global",
    ),
    "a parameter of a generic method is of the class that is meant there": (
        (3, 12),
        "class C:\n class I: pass\n def m[T](self, x: I): x.n()",
        "C.m: I read place C | C.m: x.n call instance C:I",
    ),
    "a default of a type parameter": (
        (3, 13),
        "def f[T = D, *U = *E, **P = [F]](): pass",
        "f: D read global | f: E read global | f: F read global",
    ),
    "f-strings in f-strings": (
        (3, 12),
        "f'{f\"{a(f'{b}')}\"}'",
        "module: a call global | module: b read global",
    ),
    "several classes of exceptions without brackets": (
        (3, 14),
        "try: pass\nexcept A, b.C: pass",
        "module: A read global | module: b.C read global",
    ),
    "templates": (
        (3, 14),
        "def f(u): t'{a.b(u)!r:>{w}} {c}' t'{[d for d in e]}'",
        "f: a.b call global | f: c read global | f: e read global | f: w read global",
    ),
    "comprehensions that unpack": (
        (3, 15),
        "[*f(x) for x in g]\n{**h(d) for d in e}\n{*i for j in k}",
        "module: e read global | module: f call global | module: g read global | module: h call global"
        " | module: i read global | module: k read global",
    ),
    "a lazy import binds its name": (
        (3, 15),
        "lazy import a.b\nlazy from x import y as z\ndef f(): a.b.c(); z()",
        "f: a.b.c call global | f: z call global | module: a.b import global | module: z import global",
    ),
}


def facts(text: str, since: Since) -> Facts | None:
    """The facts of a text, or None where this Python is too old for it, which the answer must say."""
    parsed = parse_text(text)
    if sys.version_info < since:
        assert parsed.error is not None
        assert parsed.error.kind == "syntax"
        return None
    assert parsed.error is None
    return facts_of(parsed)


@pytest.mark.parametrize("case", USES)
def test_uses_of(case: str) -> None:
    since, text, expected = USES[case]
    found = facts(text, since)
    if found is not None:
        uses = {
            f"{body.qualified or body.kind}: {' '.join(one[:3])} {one.scope}".rstrip()
            for body in found.bodies
            for one in body.uses
        }
        assert uses == set(expected.split(" | "))


def test_a_lazy_import_runs_when_its_name_is_used() -> None:
    text = """
import a
if b: import c
from typing import TYPE_CHECKING
if TYPE_CHECKING: from d import e
"""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            setattr(node, "is_lazy", 1)  # noqa: B010 -- only the nodes of 3.15 have it
    found = Survey(tree).imports
    assert {one[0]: one[4] for one in found} == {"a": "lazy", "c": "lazy", "d": "typing", "typing": "lazy"}
    assert not any(Import(*one).eager for one in found)


def test_a_lazy_import_closes_no_circle_but_leads_from_file_to_file(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("lazy import b\nimport c\nb.f")
    (tmp_path / "b.py").write_text("lazy from a import b")
    (tmp_path / "c.py").write_text("import a")
    with Engine(None, root=tmp_path) as db:
        if sys.version_info >= (3, 15):
            assert db.get(import_cycles) == (("a.py", "c.py"),)
            assert db.get(importers, "a.py") == ("b.py", "c.py")
            assert db.get(importers, "b.py") == ("a.py",)
        else:
            assert db.get(broken_files) == ("a.py", "b.py")


def test_what_is_called_lazy_or_type_is_a_name_like_others() -> None:
    found = facts("lazy = type = match = 1\nlazy.x; type(match)\nimport lazy.a", (3, 0))
    assert found is not None
    assert found.imports == (Import("lazy.a", None, None, 0, "module"),)
    assert found.references == ("lazy.x", "match", "type")


def test_a_type_statement_under_a_condition_hides_nothing() -> None:
    text = "class C(B):\n if a:\n  type X = int\n type Y = int\n if b: type Z = int\n else: Z = 1"
    found = facts(text, (3, 12))
    assert found is None or found.doubtful == ("C.X",)
