"""What a chunk is made of, and what therefore changes it. Plain calls but for the last ones."""

from __future__ import annotations

import os
import random
import re
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Engine, query
from engine.rules.files import FileMissing
from engine.rules.lines import DIGEST_BYTES, LINES_LIMIT, line_digests, line_digests_of
from engine.rules.python.chunks import MODULE, Chunk, chunks, chunks_of, texts_of
from engine.rules.python.facts import facts_of
from engine.rules.python.parse import parse_text
from engine.rules.python.source import decode


def found(source: str) -> tuple[Chunk, ...]:
    return chunks_of(parse_text(source), source)


def digests(source: str) -> dict[str, bytes]:
    """Digests by "kind qualified", with the ordinal where it is not 0."""
    return {_shown(chunk.kind, chunk.qualified, chunk.ordinal): chunk.digest for chunk in found(source)}


def texts(source: str) -> dict[str, str]:
    pairs = texts_of(parse_text(source), source)
    return {_shown(kind, name, ordinal): own.decode() for (name, kind, ordinal), own in pairs}


def _shown(kind: str, qualified: str, ordinal: int) -> str:
    return f"{kind} {qualified}".rstrip() + (f" {ordinal}" if ordinal else "")


def changed(before: str, after: str) -> str:
    """The chunks that differ, or that only one of the texts has."""
    old, new = digests(before), digests(after)
    return ", ".join(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))


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


# -- random programs -------------------------------------------------------------------------------


class Item:
    """A statement of a random program. `number` stands for all that can be edited in it."""

    def __init__(self, kind: str, number: int, items: list[Item]) -> None:
        self.kind = kind
        self.number = number
        self.items = items
        self.name = ""

    def named(self, name: str) -> Item:
        self.name = name
        for index, item in enumerate(self.items):
            item.named(f"{name}{item.kind[0]}{index}")
        return self

    def lines(self) -> list[str]:
        inner = [line and f"    {line}" for item in self.items for line in item.lines()]
        match self.kind:
            case "class":
                return ["", f"class {self.name}:", f"    '''{self.number}", "", "    end'''", *inner, ""]
            case "function":
                return [
                    f"@d({self.number})",
                    f"def {self.name}():",
                    "    '''",
                    "<left'''",
                    *inner,
                    "    return",
                ]
            case "variable":
                return [f"{self.name} = [  # [", f"  {self.number}]"]
            case "if":
                return [f"if {self.number}:", *inner, "    pass"]
            case _:
                return [f"call({self.number})"]

    def text(self) -> str:
        """The source; lines with a "<" begin at the left margin, whatever is around them."""
        return re.sub("(?m)^[ ]+<", "<", "\n".join(self.lines()))

    def all(self, around: str, prefix: str, inside: str) -> list[tuple[Item, str]]:
        """Each item with the chunk that its number is in."""
        own, prefix_of_inner, inner = around, prefix, inside
        if self.kind == "class":
            own, prefix_of_inner, inner = f"class {prefix}{self.name}", f"{prefix}{self.name}.", "class"
        elif self.kind == "function":
            kind = "method" if inside == "class" else "function"
            own = f"{kind} {prefix}{self.name}"
            prefix_of_inner, inner = f"{prefix}{self.name}.<locals>.", "function"
        elif self.kind == "variable" and inside != "function":
            own = f"variable {prefix}{self.name}"
        found: list[tuple[Item, str]] = [(self, own)]
        for item in self.items:
            found += item.all(own, prefix_of_inner, inner)
        return found


numbers = st.integers(0, 9)
simple = st.builds(Item, st.sampled_from(("variable", "call")), numbers, st.just([]))
item = st.recursive(
    simple,
    lambda inner: st.builds(
        Item, st.sampled_from(("class", "function", "if")), numbers, st.lists(inner, max_size=4)
    ),
    max_leaves=12,
)
programs = st.lists(item, min_size=1, max_size=5).map(lambda items: Item("if", 0, items).named("v"))


@settings(max_examples=150, deadline=None)
@given(programs, st.data())
def test_an_edit_changes_the_chunk_that_it_is_in_and_no_other(program: Item, data: st.DataObject) -> None:
    edited, own = data.draw(st.sampled_from(program.all(MODULE, "", MODULE)))
    before = program.text()
    edited.number += 10
    after = program.text()
    assert parse_text(before).error is None
    assert changed(before, after) == own


@settings(max_examples=100, deadline=None)
@given(programs, st.randoms(use_true_random=False))
def test_an_order_of_definitions_changes_no_chunk(program: Item, chance: random.Random) -> None:
    before = program.text()
    for one, _ in program.all(MODULE, "", MODULE):
        # What is text of the block itself keeps its order. In functions all but definitions is.
        moved = [each for each in one.items if each.kind in ("class", "function")]
        others = iter([each for each in one.items if each not in moved])
        chance.shuffle(moved)
        places = sorted(chance.sample(range(len(one.items)), len(moved)))
        movable = iter(moved)
        one.items = [next(movable) if index in places else next(others) for index in range(len(one.items))]
    assert changed(before, program.text()) == ""


@settings(max_examples=100, deadline=None)
@given(programs, st.sampled_from(("    ", "\t", " ", "        ")))
def test_indenting_a_module_changes_its_own_chunk_alone(program: Item, indent: str) -> None:
    before = program.text()
    assert changed(before, "if True:\n" + textwrap.indent(before, indent)) == MODULE


# -- real programs ---------------------------------------------------------------------------------


def library() -> list[str]:
    """Sources of the standard library: every 23rd module that is not very long."""
    paths = sorted(Path(os.__file__).parent.glob("*.py")) + sorted(Path(os.__file__).parent.glob("*/*.py"))
    sources = [
        decode(path.read_bytes()).replace("\r\n", "\n") for path in paths[::23] if "site-" not in str(path)
    ]
    return [source for source in sources if len(source) < 60_000]


def test_each_line_of_the_standard_library_is_in_a_chunk_and_changes_one() -> None:
    chance = random.Random(1)
    sources = library()
    assert len(sources) > 10
    for source in sources:
        assert found(source) == found(source)
        lines = source.split("\n")
        own = "\n".join(texts(source).values()).replace("\0", "")
        parted = Counter(map(str.strip, lines)) - Counter(map(str.strip, own.split("\n")))
        parts = [part.rstrip(";") for line in parted for part in re.split(r"(?<=[;:]) *", line)]
        assert [part for part in parts if part not in own] == []
        for index in chance.sample(range(len(lines)), min(4, len(lines))):
            if lines[index].strip():
                edited = "\n".join([*lines[:index], lines[index] + " #", *lines[index + 1 :]])
                assert changed(source, edited), (index, lines[index])


def test_chunks_and_facts_of_the_standard_library_have_the_same_definitions() -> None:
    for source in library():
        parsed = parse_text(source)
        definitions = [(one.qualified, one.kind, one.ordinal) for one in facts_of(parsed).definitions]
        assert [
            (one.qualified, one.kind, one.ordinal) for one in found(source) if one.kind != MODULE
        ] == definitions


def test_indenting_a_module_of_the_standard_library_changes_its_own_chunk_alone() -> None:
    for source in library():
        assert changed(source, "if True:\n" + textwrap.indent(source, "    ")) == MODULE


# -- files -----------------------------------------------------------------------------------------


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


# -- lines -----------------------------------------------------------------------------------------


def test_line_digests_have_known_values() -> None:
    """They are compared with those that another process, or another machine, has stored."""
    assert line_digests_of(b"a\n\nb").hex() == "07a1eadd9306d732f9efbe71"


LINES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 0),
    "an end of a line": (b"\n", 1),
    "a line": (b"a\n", 1),
    "a line without an end": (b"a\nb", 2),
    "other line ends": (b"a\r\nb\rc\x0bd\x0ce\xe2\x80\xa8f\n", 2),
    "not UTF-8": (b"\xff\n\xfe\n", 2),
    "binary": (b"a\n\0b\n", 1),
    "too many": (b"\n" * (LINES_LIMIT + 1), 1),
    "as many as can be": (b"\n" * LINES_LIMIT, LINES_LIMIT),
}


@pytest.mark.parametrize("case", LINES)
def test_a_content_has_as_many_digests_as_lines(case: str) -> None:
    content, count = LINES[case]
    assert len(line_digests_of(content)) == count * DIGEST_BYTES


def test_the_end_of_the_last_line_counts() -> None:
    assert line_digests_of(b"a\nb")[:DIGEST_BYTES] == line_digests_of(b"a\nb\n")[:DIGEST_BYTES]
    assert line_digests_of(b"a\nb") != line_digests_of(b"a\nb\n")


def test_line_digests_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a\nb\xff")
    with Engine(None, root=tmp_path) as db:
        assert db.get(line_digests, "a") == line_digests_of(b"a\nb\xff")
        with pytest.raises(FileMissing):
            db.get(line_digests, "b")
