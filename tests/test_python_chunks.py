"""What a chunk is made of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine import Engine
from engine.rules.python.chunks import MODULE, chunks
from engine.rules.python.parse import parse_text
from tests.chunking import digests, found, texts

TEXTS: dict[str, tuple[str, dict[str, str]]] = {
    "a module is what is in no definition": (
        "import a\n\n\ndef f(): pass\n\n# end\nb()",
        {MODULE: "import a\n# end\nb()", "function f": "def f(): pass"},
    ),
    "a class is without its methods and variables": (
        "class C(B):\n    '''doc'''\n\n    x = 1\n\n    # of C\n    @a\n    def m(self):\n        pass\n\n"
        "    b()",
        {
            MODULE: "",
            "class C": "class C(B):\n    '''doc'''\n    # of C\n    b()",
            "variable C.x": "x = 1",
            "method C.m": "@a\ndef m(self):\n    pass",
        },
    ),
    "a function is without the functions in it, but with its local variables": (
        "def f():\n    x = 1\n    def g():\n        return 2\n    return g",
        {
            MODULE: "",
            "function f": "def f():\n    x = 1\n    return g",
            "function f.<locals>.g": "def g():\n    return 2",
        },
    ),
    "a class on one line": (
        "class C: x = 1; a(); y = 2  # two",
        {MODULE: "", "class C": "class C:\na();", "variable C.x": "x = 1", "variable C.y": "y = 2  # two"},
    ),
    "statements on one line": (
        "x = 1; y = 2; a()\n",
        {MODULE: "a()", "variable x": "x = 1", "variable y": "y = 2"},
    ),
    "a variable with several statements": (
        "x = 1\nx: int = 2\nif a:\n    x += 3  # three\nx.b = 4",
        {MODULE: "if a:\nx.b = 4", "variable x": "x = 1\nx: int = 2\nx += 3  # three"},
    ),
    "one statement for several variables": (
        "x = y, *z = 1, 2",
        {MODULE: ""} | dict.fromkeys(("variable x", "variable y", "variable z"), "x = y, *z = 1, 2"),
    ),
    "compound statements are text of the module, and their heads of the variables": (
        "for i in a:\n    b(i)\nwith c as d, e:\n    @f\n    def g(): pass\nwhile h := j():\n    k()",
        {
            MODULE: "for i in a:\n    b(i)\nwith c as d, e:\nwhile h := j():\n    k()",
            "variable i": "for i in a:",
            "variable d": "with c as d, e:",
            "function g": "@f\ndef g(): pass",
            "variable h": "while h := j():",
        },
    ),
    "variables that only expressions assign to": (
        "a(x := 1)  # one\nmatch y:\n    case 1 if (z := 2):\n        b()\n"
        "@(v := c)\ndef f(w=(w := 3)): pass",
        {
            MODULE: "a(x := 1)  # one\nmatch y:\n    case 1 if (z := 2):\n        b()",
            "variable x": "a(x := 1)  # one",
            "variable z": "1 if (z := 2):",
            "function f": "@(v := c)\ndef f(w=(w := 3)): pass",
            "variable v": "@(v := c)\ndef f(w=(w := 3)):",
            "variable w": "@(v := c)\ndef f(w=(w := 3)):",
        },
    ),
    "variables that functions assign to are in both": (
        "def f():\n    global x\n    x = 1",
        {MODULE: "", "function f": "def f():\n    global x\n    x = 1", "variable x": "x = 1"},
    ),
    "variables of the module assigned in a class are in both": (
        "class C:\n    global x\n    x = 1",
        {MODULE: "", "class C": "class C:\n    global x\n    x = 1", "variable x": "x = 1"},
    ),
    "classes with one name have each their own variables": (
        "if a:\n    class C:\n        x = 1\nelse:\n    class C:\n        x = 2",
        {
            MODULE: "if a:\nelse:",
            "class C": "class C:",
            "class C 1": "class C:",
            "variable C.x": "x = 1",
            "variable C.x 1": "x = 2",
        },
    ),
    "definitions under a condition": (
        "if TYPE_CHECKING:\n    import a\n    x = 1\n    def f(): ...\n"
        "else:\n    x = 2\n    async def f(): ...",
        {
            MODULE: "if TYPE_CHECKING:\n    import a\nelse:",
            "variable x": "x = 1\nx = 2",
            "function f": "def f(): ...",
            "async function f": "async def f(): ...",
        },
    ),
    "decorators over several lines": (
        "import a\n@(\n    # @ why\n    b\n)\n@c(1,\n   2)\n@ \\\n  d\nclass C: pass",
        {MODULE: "import a", "class C": "@(\n    # @ why\n    b\n)\n@c(1,\n   2)\n@ \\\n  d\nclass C: pass"},
    ),
    "columns count bytes": (
        "é = 'ä'; ö = 'ü'  # 中文\ndef ß(): pass  # ñ",
        {
            MODULE: "",
            "variable é": "é = 'ä'",
            "variable ö": "ö = 'ü'  # 中文",
            "function ß": "def ß(): pass  # ñ",
        },
    ),
    "comments belong to what they are indented for": (
        "class C:\n    def m(self):\n        pass\n\n        # of m\n\n    # of C\n\n"
        "# of the module\ndef f(): pass\n",
        {
            MODULE: "# of the module",
            "class C": "class C:\n    # of C",
            "method C.m": "def m(self):\n    pass\n\n    # of m",
            "function f": "def f(): pass",
        },
    ),
    "lines that go on": (
        "x = \\\n    1; \\\na()\ny = (\n    2\n)",
        {MODULE: "\\\na()", "variable x": "x = \\\n    1", "variable y": "y = (\n    2\n)"},
    ),
    "tabs": (
        "class C:\n\tdef m(self):\n\t\treturn '''\n\t  a\nb'''\n",
        {MODULE: "", "class C": "class C:", "method C.m": "def m(self):\n\treturn '''\n  a\n\0b'''"},
    ),
    "form feeds": (
        "import a\n\f\ndef f():\n    pass\n\fdef g():\n    pass\n\fclass C:\n    def m(self):\n        pass",
        {
            MODULE: "import a",
            "function f": "def f():\n    pass",
            "function g": "def g():\n    pass",
            "class C": "class C:",
            "method C.m": "def m(self):\n    pass",
        },
    ),
    "a lambda is its variable's": ("f = lambda: 1", {MODULE: "", "variable f": "f = lambda: 1"}),
    "an empty file": ("", {MODULE: ""}),
    "what does not parse is text of what is around it": (
        "import a\ndef f():\n    b()\n    c(d e,\n      1)\ndef g(): pass\ne f\nx = 1",
        {
            MODULE: "import a\ne f",
            "function f": "def f():\n    b()\n    c(d e,\n      1)",
            "function g": "def g(): pass",
            "variable x": "x = 1",
        },
    ),
    "prose is text of the module": ("This is\na letter.", {MODULE: "This is\na letter."}),
}


@pytest.mark.parametrize("case", TEXTS)
def test_texts(case: str) -> None:
    source, expected = TEXTS[case]
    assert texts(source) == expected


def test_a_type_statement_is_a_definition_where_python_has_it() -> None:
    source = "a(); type X[T] = list[T]  # of X\nclass C[T]:\n    type Y = T\n"
    if sys.version_info >= (3, 12):
        own = texts(source)
        assert own["type X"] == "type X[T] = list[T]  # of X"
        assert own["type C.Y"] == "type Y = T"
        assert own["class C"] == "class C[T]:"
    else:
        assert parse_text(source).error is not None


@pytest.mark.parametrize(
    "source",
    ["x = 1\0", "(" * 300, "a b\n" * 1000, "'\ud800'", "~" * 100_000 + "1", "x = '" + "a" * 2**21 + "'"],
    ids=["NUL", "brackets", "errors", "half a pair", "nested", "large"],
)
def test_all_of_a_text_that_does_not_parse_is_the_module(source: str) -> None:
    assert [chunk.kind for chunk in found(source)] == [MODULE]
    assert digests(source) != digests(source + "#")


@pytest.mark.parametrize(
    ("content", "same_as"),
    [
        (b"def f():\r\n    return '\xc3\xa4'\r\n", "def f():\n    return 'ä'\n"),
        (b"\xef\xbb\xbfdef f(): pass", "def f(): pass"),
        (b"# coding: latin-1\nx = '\xe4'; y = 1", "# coding: latin-1\nx = 'ä'; y = 1"),
        (b"def f(): pass\rdef g(: pass\r", "def f(): pass\ndef g(: pass\n"),
    ],
    ids=["CRLF", "byte order mark", "latin-1", "CR, broken"],
)
def test_chunks_do_not_depend_on_how_a_text_is_stored(tmp_path: Path, content: bytes, same_as: str) -> None:
    (tmp_path / "a.py").write_bytes(content)
    with Engine(None, root=tmp_path) as db:
        assert db.get(chunks, "a.py") == found(same_as)


def test_what_has_no_text_has_no_chunks(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"x = '\xe4'")
    (tmp_path / "b.py").mkdir()
    with Engine(None, root=tmp_path) as db:
        assert [db.get(chunks, path) for path in ("a.py", "b.py", "c.py")] == [(), (), ()]
