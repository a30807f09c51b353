"""What a file says of itself: definitions, imports, exports, references. Plain calls, no engine."""

from __future__ import annotations

import textwrap

import pytest

from engine.rules.python.facts import Definition, Facts, facts_of
from engine.rules.python.parse import parse_text


def facts(source: str) -> Facts:
    return facts_of(parse_text(textwrap.dedent(source)))


DEFINITIONS = {
    "functions and classes": (
        """
        def f(): ...
        async def g(): ...
        class C(base.B, Generic[T], metaclass=M):
            def m(self): ...
            async def n(self): ...
        """,
        "C class 0 (base.B Generic) | C.m method 0 | C.n async method 0 | f function 0 | g async function 0",
    ),
    "functions in functions": (
        "def f():\n    def g(): ...\n    class C:\n        def m(self): ...",
        "f function 0 | f.<locals>.C class 0 - | f.<locals>.C.m method 0 - | f.<locals>.g function 0 -",
    ),
    "duplicates are numbered in the file's order": (
        """
        if x:
            @overload
            def f(): ...
        else:
            def f(): ...
        @a.b(1)
        @c[0].d
        @(lambda g: g)
        def f(): ...
        """,
        "f function 0 @overload | f function 1 | f function 2 @a.b @c @",
    ),
    "variables are defined once": (
        "x = 1\nx = 2\ny: int\na, (b, *c) = d\nfor i in j: pass\nwith k as l: pass\n"
        "[m := n for n in o]\nx.p = 1\nx[0] = 1",
        "a variable 0 | b variable 0 | c variable 0 | i variable 0 | l variable 0 | m variable 0"
        " | x variable 0 | y variable 0",
    ),
    "local variables are no definitions": ("def f(a, *b, **c):\n    d = 1", "f function 0"),
    "class variables are definitions": ("class C:\n    x: int = 1", "C class 0 | C.x variable 0"),
    "global variables of functions are the module's": (
        "def f():\n    global x\n    x = 1\n    y = 2",
        "f function 0 | x variable 0",
    ),
    "lambdas and comprehensions define nothing": ("f(lambda x: [y for y in x])", ""),
    "parenthesised annotations define nothing": ("(x): int\n(y): int = 1", "y variable 0"),
    "what is private": (
        """
        _f = 1
        __version__ = 2
        class C:
            __slots__ = ()
            def __init__(self): ...
            def _m(self): ...
        class _D:
            x = 1
        """,
        "C class 0 | C.__init__ method 0 | C.__slots__ variable 0 | C._m method 0 - | _D class 0 -"
        " | _D.x variable 0 - | __version__ variable 0 | _f variable 0 -",
    ),
    "__all__ decides what is public": (
        "__all__ = ['_f', 'C']\n_f = 1\ng = 2\nclass C:\n    _x = 1\n    y = 1",
        "C class 0 | C._x variable 0 - | C.y variable 0 | __all__ variable 0 - | _f variable 0"
        " | g variable 0 -",
    ),
}


@pytest.mark.parametrize("case", DEFINITIONS)
def test_definitions(case: str) -> None:
    source, expected = DEFINITIONS[case]
    found = facts(source)
    assert found.broken is None
    assert " | ".join(map(_shown, found.definitions)) == expected


def _shown(definition: Definition) -> str:
    parts = [definition.qualified, definition.kind, str(definition.ordinal)]
    if definition.bases:
        parts.append(f"({' '.join(definition.bases)})")
    parts += [f"@{decorator}" for decorator in definition.decorators]
    parts += [] if definition.public else ["-"]
    return " ".join(parts)


IMPORTS = {
    "forms": (
        "import a, b.c as d\nfrom e import f as g, h\nfrom . import i\nfrom ..j.k import *",
        "from . import i | import a | import b.c as d | from e import f as g | from e import h"
        " | from ..j.k import *",
    ),
    "contexts": (
        """
        import a
        try:
            import b
        except ImportError:
            import c
        else:
            import d
        finally:
            import e
        import f
        if x:
            import g
        elif y:
            import h
        class C:
            import i
        def f():
            import j
            if x:
                import k
        for x in y:
            import l
        """,
        "import a | import b conditional | import c conditional | import d conditional | import e conditional"
        " | import f | import g conditional | import h conditional | import i | import j function"
        " | import k function | import l",
    ),
    "typing": (
        """
        if TYPE_CHECKING:
            import a
            def f():
                import b
        else:
            import c
        if typing.TYPE_CHECKING:
            import d
        elif x:
            import e
        if not TYPE_CHECKING:
            import g
        else:
            import h
        import i
        """,
        "import a typing | import b typing | import c conditional | import d typing | import e conditional"
        " | import g conditional | import h typing | import i",
    ),
    "repetitions are one": (
        "import a\nimport a\nfrom b import c\nfrom b import c",
        "import a | from b import c",
    ),
}


@pytest.mark.parametrize("case", IMPORTS)
def test_imports(case: str) -> None:
    source, expected = IMPORTS[case]
    shown = []
    for one in facts(source).imports:
        text = f"from {'.' * one.level}{one.module} import {one.name}" if one.name else f"import {one.module}"
        text += f" as {one.alias}" if one.alias else ""
        shown.append(text if one.context == "module" else f"{text} {one.context}")
    assert " | ".join(shown) == expected


EXPORTS = {
    "none": ("x = 1", None, False),
    "a list": ("__all__ = ['b', 'a', 'a']", ("a", "b"), False),
    "a tuple with an annotation": ("__all__: tuple[str, ...] = ('a',)", ("a",), False),
    "added": ("__all__ = ['a'] + ['b']\n__all__ += ('c',)", ("a", "b", "c"), False),
    "itself and more": ("__all__ = ['a']\n__all__ = __all__ + ['b']", ("a", "b"), False),
    "methods": (
        "__all__ = []\n__all__.append('a')\n__all__.extend(['b', 'c'])\n__all__.remove('b')\n__all__.sort()",
        ("a", "c"),
        False,
    ),
    "split": ("__all__ = 'a b'.split()", ("a", "b"), False),
    "wrapped": ("__all__ = tuple(['a'])", ("a",), False),
    "conditional": ("__all__ = ['a']\nif x:\n    __all__ += ['b']", ("a", "b"), False),
    "of another module": ("__all__ = ['a'] + other.__all__", ("a",), True),
    "computed": ("__all__ = [name for name in dir()]", (), True),
    "starred": ("__all__ = ['a', *others]", ("a",), True),
    "imported and added to": ("from b import __all__\n__all__ += ['a']", ("a",), True),
    "changed otherwise": ("__all__ = ['a']\n__all__.insert(0, 'b')", ("a",), True),
    "no names": ("__all__ = ['a', 'b c', '\\ud800', 1]", ("a",), True),
    "local": ("def f():\n    __all__ = ['a']", None, False),
    "a long sum": ("__all__ = " + "+".join(f"['a{n}']" for n in range(900)), 900, False),
}


@pytest.mark.parametrize("case", EXPORTS)
def test_exports(case: str) -> None:
    source, expected, dynamic = EXPORTS[case]
    found = facts(source)
    exports = len(found.exports or ()) if isinstance(expected, int) else found.exports
    assert (exports, found.dynamic) == (expected, dynamic)


REFERENCES = {
    "names and chains": ("print(a.b.c, d, d.e)", "a.b.c d d.e print"),
    "chains end at calls and subscripts": ("a.b(c).d[e.f].g", "a.b c e.f"),
    "the module's own names count": ("x = 1\ny = x", "x"),
    "parameters do not": ("def f(a, /, b, *c, d, **e): return a, b, c, d, e, f, g", "f g"),
    "a binding may follow": ("def f():\n    g(x)\n    x = 1", "g"),
    "enclosing functions": ("def f():\n    x = 1\n    def g():\n        return x, y", "y"),
    "class scopes are not seen from methods": (
        "class C:\n    x = 1\n    y = x\n    def m(self):\n        return x, self.x",
        "x",
    ),
    "class attributes are": ("class C:\n    x = 1\n    y = x", ""),
    "defaults and decorators are read outside": (
        "def f(x):\n    @x.y\n    @z\n    def g(x=x, w=w): return x",
        "w z",
    ),
    "annotations are read": ("def f(a: A, *b: B) -> C: pass\nx: D.E = 1", "A B C D.E"),
    "comprehensions": ("[x for x in y if x.z for w in x]", "y"),
    "the first iterable of a comprehension belongs outside": (
        "class C:\n    a = 1\n    b = [a for _ in a]",
        "a",
    ),
    "assignment expressions bind outside of comprehensions": (
        "def f():\n    [y := x for x in z]\n    return y",
        "z",
    ),
    "global": ("def f():\n    global x\n    x = 1\n    def g():\n        return x.y", "x.y"),
    "nonlocal": ("def f():\n    x = 1\n    def g():\n        nonlocal x\n        x = 2\n    return x", ""),
    "imports in functions bind": ("def f():\n    import a.b, c as d\n    return a.b.e, c, d", "c"),
    "imports of the module are references where used": ("import a\ndef f(): return a.b", "a.b"),
    "exception names bind": ("def f():\n    try: ...\n    except E as e: e.x", "E"),
    "match": (
        "def f(x):\n    match x:\n        case C(a=b) | D.E as g if h: b, g\n        case [i, *j]: i, j\n"
        "        case {K.k: l, **m}: l, m\n        case None: ...",
        "C D.E K.k h",
    ),
    "lambda": ("lambda x, y=z: (x, y, w)", "w z"),
    "augmented assignment reads": ("x += y", "x y"),
    "attributes that are assigned": ("a.b = c\ndel d.e", "a.b c d.e"),
    "formatted strings": ("f'{a.b!r:{c}} d'", "a.b c"),
    "super": ("class C:\n    def m(self): return __class__, super()", "super"),
    "strings are not looked into": ("x = 'b'", ""),
    "but quoted annotations are": (
        "def f(a: 'A', *b: 'list[B . C]', **c: 'D | None') -> \"E['F', 1]\": pass\n"
        "x: G['H', tuple['I', ...]] = 'j'",
        "A B.C D E G H I list tuple",
    ),
    "of a literal no annotation": (
        "a: Literal['A', 'B']\nb: 'Literal[\"A\"]'\nc: t.Literal['C']",
        "Literal t.Literal",
    ),
    "nor what is said of one": ("a: Annotated['A', 'b', c]", "A Annotated c"),
    "nor prose": (
        "def f(a: 'the name', b: 'x)', c: '(', d: '', e: 'not x', g: 'a' * 2, h: 'x y', i: 'x?'): pass",
        "",
    ),
    "nor a long text": (f"a: 'A[{'B,' * 1000}]'", ""),
    "names in quotes are those that Python reads": ("a: '\u212b'", "\xc5"),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_references(case: str) -> None:
    source, expected = REFERENCES[case]
    assert " ".join(facts(source).references) == expected


EQUAL = {
    "comments": ("x = 1", "# one\nx = 1  # two"),
    "lines": ("def f():\n    return g(1)", "\n\n\ndef f():\n\n    return g(\n        1\n    )"),
    "docstrings": ("'''a'''\ndef f():\n    '''b'''", "'''c\nd'''\ndef f():\n    '''e'''"),
    "literals": ("x = 1\ny = 'a'", "x = 2\ny = 'b' 'c'"),
    "order": (
        "import a\nimport b\ndef f(): ...\ndef g(): ...",
        "import b\ndef g(): ...\nimport a\ndef f(): ...",
    ),
    "other uses of what is used already": ("def f(): a.b()", "def f(x): a.b(a.b(x))"),
}


@pytest.mark.parametrize("case", EQUAL)
def test_facts_do_not_depend_on(case: str) -> None:
    before, after = EQUAL[case]
    assert facts(before) == facts(after)


REPAIRED = {
    "a statement in a function": ("def f():\n    a()\n    b(\n    c()\ndef g(): d()", "f g", "a c d"),
    "a body that is missing": ("def f(): a()\ndef g():\ndef h(): b()", "f h", "a b"),
    "a body that is missing, at the end": ("def f(): a()\nclass C:", "f", "a"),
    "a try without except": ("a()\ntry:\n    b()\ndef f(): c()", "f", "a c"),
    "a decorator and no function": ("a()\n@b.\ndef f(): c()\nd()", "f", "a c d"),
    "a bracket that is not closed": ("a()\nx = [\n    1,\n    2,\ndef f(): b()", "f", "a b"),
    "an unfinished string": ("a()\nx = 'b\ndef f(): c()", "f", "a c"),
    "two errors": ("a()\ndef f(:\n    b()\nc()\nd e\nf()", "", "a c f"),
    "prose": ("\n".join(f"this is line {n} of a letter" for n in range(40)), "", ""),
    "tabs": ("class C:\n\tdef f(self):\n\t\ta b\n\t\tc()\n\tdef g(self): d()", "C C.f C.g", "c d"),
}


def test_imports_by_statement_and_by_call_of_one_module_have_one_order() -> None:
    """They come from a set: where two were the same to the sort, each process had its own order of them."""
    names = [f"m{at}" for at in range(20)]
    found = facts("".join(f"import {name}\nimport_module('{name}')\n" for name in names)).imports
    assert [one.binds for one in found] == [False, True] * len(names)


@pytest.mark.parametrize("case", REPAIRED)
def test_what_is_left_of_a_broken_file(case: str) -> None:
    source, definitions, references = REPAIRED[case]
    found = facts_of(parse_text(source))
    assert found.broken is not None
    assert found.broken.kind == "syntax"
    assert " ".join(definition.qualified for definition in found.definitions) == definitions
    assert " ".join(found.references) == references
