"""A change of a text is seen in the chunks that it is in, and in no other."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from engine import Engine, query
from engine.rules.python.chunks import chunks
from tests.chunking import changed

METHOD = """\
class C:
    def m(self):
        '''A
        text.
        '''
        if a:
            return 1  # one

    def n(self): pass
"""
CHANGES = {
    "lines above": (METHOD, "\n# above\nimport a\n\n" + METHOD, "module"),
    "blank lines around and in it": (METHOD, METHOD.replace("\n    def n", "\n\n  \n    def n") + "\n\n", ""),
    "blanks on blank lines": (
        METHOD.replace("'''A\n", "'''A\n\n"),
        METHOD.replace("'''A\n", "'''A\n      \t \n"),
        "",
    ),
    "all of it indented more": (METHOD, "if x:\n" + textwrap.indent(METHOD, "  "), "module"),
    "a moved method": (
        METHOD,
        "class C:\n    def n(self): pass\n" + METHOD.removeprefix("class C:").partition("\n    def n")[0],
        "",
    ),
    "a comment in it": (METHOD, METHOD.replace("# one", "# two"), "method C.m"),
    "a docstring": (METHOD, METHOD.replace("text", "texts"), "method C.m"),
    "a line of a docstring indented differently": (
        METHOD,
        METHOD.replace("        text", "      text"),
        "method C.m",
    ),
    "a line of a string at the left margin": (
        METHOD.replace("        text", "    text"),
        METHOD.replace("        text", "text"),
        "method C.m",
    ),
    "such a line within the margin": (
        METHOD.replace("        text", "  text"),
        METHOD.replace("        text", "text"),
        "method C.m",
    ),
    "such a line in a shift of all": (
        METHOD.replace("        text", "  text"),
        "if x:\n" + textwrap.indent(METHOD.replace("        text", "  text"), "    "),
        "module",
    ),
    "a semicolon": ("x = 1\n", "x = 1 ;\n", ""),
    "indentation in it": (METHOD, METHOD.replace("            return", "             return"), "method C.m"),
    "a decorator": (METHOD, METHOD.replace("    def n", "    @a\n    def n"), "method C.n"),
    "a method more": (METHOD, METHOD + "    def o(self): pass", "method C.o"),
    "a base class": (METHOD, METHOD.replace("C:", "C(B):"), "class C"),
    "async": (METHOD, METHOD.replace("def n", "async def n"), "async method C.n, method C.n"),
    "a statement that leaves its function": (
        "def f():\n    a()\n    b()",
        "def f():\n    a()\nb()",
        "function f, module",
    ),
    "a variable on its own line": ("x = 1; y = 2\n", "x = 1\ny = 2\n", ""),
    "a variable in a branch": ("if a:\n    b()\n    x = 1; c()", "if a:\n    b()\nx = 1; c()", "module"),
    "a comment behind a variable": ("x = 1  # a", "x = 1  # b", "variable x"),
    "a comment above a function": ("# a\ndef f(): pass", "# b\ndef f(): pass", "module"),
    "line ends in a statement": ("x = [1,\n     2]", "x = [1, 2]", "variable x"),
    "an overload put first": ("def f(): 1", "def f(): 2\ndef f(): 1", "function f, function f 1"),
    "a broken statement": ("def f(): a(\ndef g(): b()", "def f(): a(c\ndef g(): b()", "module"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_is_seen_where_it_is(case: str) -> None:
    before, after, expected = CHANGES[case]
    assert before != after
    assert changed(before, after) == expected


@query
def names_of(path: str) -> tuple[str, ...]:
    ran.append(path)
    return tuple(chunk.qualified for chunk in chunks(path))


ran: list[str] = []


def test_a_line_above_runs_no_reader_of_chunks_without_the_module(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("def f():\n    return 1\n")
    ran.clear()
    with Engine(None, root=tmp_path) as db:
        assert db.get(names_of, "a.py") == ("", "f")
        for line_above in ("\n", "\n\n", "\f\n"):
            file.write_text(f"{line_above}def f():\n    return 1\n")
            db.sync()
            assert db.get(names_of, "a.py") == ("", "f")
        assert ran == ["a.py"]
        file.write_text("def f():\n    return 2\n")
        db.sync()
        assert db.get(names_of, "a.py") == ("", "f")
        assert ran == ["a.py", "a.py"]
