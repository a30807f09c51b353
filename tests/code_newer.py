"""Programs in the syntax of newer Pythons, and edits of theirs, in the form of `tests/code_edits.py`.

Each is of the version that first had the syntax: those are run that the Python at hand can compile.
"""

from __future__ import annotations

import sys

from tests.code_edits import edit
from tests.loading import Files

Edits = dict[str, tuple[Files, Files]]

R = "class R:\n def m(self): return 1\n"


def method(text: str) -> tuple[str, str]:
    """A method of a class that only annotations name."""
    return edit(R + text, "return 1", "return 2")


def of_package(text: str, change: tuple[str, str] = ("return 1", "return 2")) -> tuple[Files, Files]:
    """An edit of a module in a package in a package."""
    sub = "def g(): return 1\nclass K:\n def m(self): return 1"
    files = {"app.py": text, "pkg/__init__.py": "", "pkg/inner/__init__.py": ""}
    return {**files, "pkg/inner/sub.py": sub}, {**files, "pkg/inner/sub.py": sub.replace(*change)}


DIFFERENT: dict[tuple[int, int], Edits] = {
    (3, 11): {
        "a constant in a comprehension": edit("def f(x): return [y + 1.5 for y in x]", "1.5", "2.5"),
        "a constant in a comprehension in a comprehension": edit(
            "def f(x): return {y: {z - 7 for z in y} for y in x}", "7", "8"
        ),
        "a global that only a comprehension reads": edit(
            "N = 1\ndef f(x): return [y + N for y in x]", "= 1", "= 2"
        ),
        "a global that only the condition of a comprehension reads": edit(
            "N = 1\ndef f(x): return [y for y in x if y > N]", "= 1", "= 2"
        ),
        "a helper that only a comprehension in a lambda calls": edit(
            "def g(y): return y + 1\ndef f(x): return (lambda: {g(y): 1 for y in x})()", "+ 1", "- 1"
        ),
        "a helper that only a comprehension in a class body calls": edit(
            "def g(y): return y + 1\ndef f():\n class K:\n  n = [g(y) for y in (1, 2)]\n return K.n",
            "+ 1",
            "- 1",
        ),
        "a cell that only a comprehension reads": edit(
            "def m(n):\n def g(x): return [y + n for y in x]\n return g\nf = m(1)", "m(1)", "m(2)"
        ),
        "a variable of a comprehension that a lambda keeps": edit(
            "def f(x): return [lambda: (y, a) for y, a in x]", "(y, a) for", "(a, y) for"
        ),
        "which comprehension reads which variable": edit(
            "def f(x, y): return [[a for a in x] for b in y]", "[a for a in x]", "[b for a in x]"
        ),
        "a global that only an f-string reads": edit("N = 1\ndef f(): return f'{N!r:>4}'", "= 1", "= 2"),
        "the format of an f-string": edit("def f(n): return f'{n:>4}'", ">4", ">5"),
        "the conversion of an f-string": edit("def f(n): return f'{n!r}'", "!r", "!s"),
        "the class of a case": edit(
            "class P: pass\nclass Q: pass\nA = P\ndef f(x):\n match x:\n  case A(): return 1",
            "A = P",
            "A = Q",
        ),
        "the value of a case": edit(
            "class P: N = 1\ndef f(x):\n match x:\n  case P.N: return 1", "N = 1", "N = 2"
        ),
        "the keys of a case": edit("def f(x):\n match x:\n  case {'a': y, **z}: return y, z", "'a'", "'b'"),
        "the guard of a case": edit("N = 1\ndef f(x):\n match x:\n  case y if y > N: return y", "= 1", "= 2"),
        "an exception of a group": edit(
            "A = ValueError\ndef f(g):\n try: g()\n except* A: return 1".replace("return 1", "g(1)"),
            "= ValueError",
            "= TypeError",
        ),
        "a method of a class in a text in an annotation": method("def f(r: list['R']): return r[0].m()"),
        "a method of a class in a text of a text": method("def f(r: \"list['R']\"): return r[0].m()"),
        "a method of a class in a reference ahead": method(
            "from typing import List\ndef f(r: List['R']): return r[0].m()"
        ),
        "a method of a class in a pair of texts": method("def f(r: dict['R', 'R']): return list(r)[0].m()"),
        "a method of a class in a text with words in it": method(
            "from typing import Annotated\ndef f(r: \"Annotated[R, 'what it is, 5in wide']\"): return r.m()"
        ),
        "a method of a class beside words": method(
            "from typing import Annotated\ndef f(r: Annotated['R', 'what it is, 5in wide']): return r.m()"
        ),
        "a method of a class behind an alias": method("A = list['R']\ndef f(r: A): return r[0].m()"),
        "a method of a class behind an alias that names itself": method(
            "A = dict[str, 'A'] | list['A'] | R\ndef f(r: A): return r.m()"
        ),
        "a method of a class behind a new type": method(
            "from typing import NewType\nA = NewType('A', R)\ndef f(r: A): return r.m()"
        ),
        "a method of the bound of a type variable": method(
            "from typing import TypeVar\nT = TypeVar('T', bound=R)\ndef f(r: T): return r.m()"
        ),
        "a method of a constraint of a type variable": method(
            "from typing import TypeVar\nT = TypeVar('T', R, int)\ndef f(r: T): return r.m()"
        ),
        "a method of a class in annotated parameters": method(
            "from collections.abc import Callable\ndef f(r: Callable[[int], R]): return r(1).m()"
        ),
        "a method of a class of the result alone": method(
            "def g(n) -> R: return n\ndef f(n): return g(n).m()"
        ),
        "a method of a class in a function of a function": method(
            "def make():\n class L(R): pass\n def g(r: L): return r.m()\n return g\nf = make()"
        ),
        "a method of a class in the body of a class": edit(
            """
            class K:
             class R:
              def m(self): return 1
             def g(self, r: R): return r.m()
            f = K.g
            """,
            "return 1",
            "return 2",
        ),
        "a method of the class of a field": method(
            "class K:\n r: R\n def m(self): return self.r.m()\ndef f(k: K): return k.m()"
        ),
        "a method of the class of a field in a text": method(
            "class K:\n r: 'R | None'\n def m(self): return self.r.m()\ndef f(k: K): return k.m()"
        ),
        "a method of the class of a field of a named tuple": method(
            "from typing import NamedTuple\nclass K(NamedTuple):\n r: R\ndef f(k: K): return k.r.m()"
        ),
        "a method of the class of a field of a named tuple in a text": method(
            "from typing import NamedTuple\nclass K(NamedTuple):\n r: 'R'\ndef f(k: K): return k.r.m()"
        ),
        "a method of the class of a key of a typed dictionary": method(
            "from typing import TypedDict\nclass K(TypedDict):\n r: R\ndef f(k: K): return k['r'].m()"
        ),
        "a method of the class of a field of a struct": method(
            "import msgspec\nclass K(msgspec.Struct):\n r: R\ndef f(k: K): return k.r.m()"
        ),
        "a method of the class of a field of attrs": method(
            "import attrs\n@attrs.define\nclass K:\n r: R\ndef f(k: K): return k.r.m()"
        ),
        "a method of the class of a field of a dataclass": method(
            "from dataclasses import dataclass\n@dataclass\nclass K:\n r: R\ndef f(k: K): return k.r.m()"
        ),
        "the type of a field of a named tuple": edit(
            "from typing import NamedTuple\nclass K(NamedTuple):\n r: int\ndef f(k): return K(k)",
            "int",
            "str",
        ),
        "the type of a key of a typed dictionary": edit(
            "from typing import TypedDict\nclass K(TypedDict):\n r: int\ndef f(k): return K(r=k)",
            "int",
            "str",
        ),
        "the type of a field of a struct": edit(
            "import msgspec\nclass K(msgspec.Struct):\n r: int\ndef f(k): return K(k)", "int", "str"
        ),
        "a limit in the annotation of a field": edit(
            """
            from typing import Annotated
            import msgspec
            N = 1
            class K(msgspec.Struct):
             r: Annotated[int, msgspec.Meta(gt=N)]
            def f(k): return msgspec.convert(k, K)
            """,
            "N = 1",
            "N = 2",
        ),
        "the order of the fields of a class": edit(
            "from dataclasses import *\n@dataclass\nclass K:\n a: int\n b: int\ndef f(): return K(1, 2)",
            "a: int\n b: int",
            "b: int\n a: int",
        ),
        "a field that is there under a condition": edit(
            "N = True\nclass K:\n if N:\n  r: int\ndef f(): return K", "= True", "= False"
        ),
        "the type of a field, where annotations are texts": edit(
            "from __future__ import annotations\nclass K:\n r: int\ndef f(): return K", "r: int", "r: str"
        ),
        "a method of the class of a field, where annotations are texts": edit(
            "from __future__ import annotations\n"
            + R
            + "class K:\n r: list[R]\ndef f(k: K): return k.r[0].m()",
            "return 1",
            "return 2",
        ),
        "a method of the class of a field of a named tuple, where annotations are texts": edit(
            "from __future__ import annotations\nfrom typing import NamedTuple\n"
            + R
            + "class K(NamedTuple):\n r: list[R]\ndef f(k: K): return k.r[0].m()",
            "return 1",
            "return 2",
        ),
    },
    (3, 12): {
        "a method of the bound of a type parameter": method("def f[T: R](r: T): return r.m()"),
        "a method of a constraint of a type parameter": method("def f[T: (R, int)](r: T): return r.m()"),
        "a method of the bound of a type parameter of a class": method(
            "class K[T: R]:\n def __init__(self, r: T): self.r = r\ndef f(r): return K(r).r.m()"
        ),
        "a method of the bound of a type parameter of a method": method(
            "class K:\n def m[T: R](self, r: T) -> T: return r\ndef f(r): return K().m(r).m()"
        ),
        "a method of a class behind a type statement": method(
            "type A = list[R]\ndef f(r: A): return r[0].m()"
        ),
        "a method of a class behind a type statement that names itself": method(
            "type A = list[A] | R\ndef f(r: A): return r.m()"
        ),
        "a method of a class behind a type statement with parameters": method(
            "type A[T] = list[T]\ndef f(r: A[R]): return r[0].m()"
        ),
        "what a type statement stands for": edit(
            "type A = int\ndef f(): return A.__value__", "= int", "= str"
        ),
        "what a type statement in the body stands for": edit(
            "def f():\n type A = int\n return A.__value__", "= int", "= str"
        ),
        "a global that only a type statement in the body names": edit(
            "N = int\ndef f():\n type A = N\n return A.__value__", "= int", "= str"
        ),
        "the bound of a type parameter of a nested function": edit(
            "def f():\n def g[T: int](): pass\n return g.__type_params__[0].__bound__", "T: int", "T: str"
        ),
        "the base of a generic class in the body": edit(
            "class P:\n n = 1\ndef f():\n class K[T](P): pass\n return K.n", "n = 1", "n = 2"
        ),
        "a text in an f-string in an f-string": edit("def f(n): return f'{f'{n + 1.5}'}'", "1.5", "2.5"),
        "a global that only a comprehension in an f-string reads": edit(
            "N = 1\ndef f(x): return f'{'-'.join([f'{y + N}' for y in x])}'", "= 1", "= 2"
        ),
    },
    (3, 13): {
        "the default of a type parameter": edit(
            "def f():\n def g[T = int](): pass\n return g.__type_params__[0].__default__",
            "T = int",
            "T = str",
        ),
        "the default of a type parameter of a class": edit(
            "class K[T = int]: pass\ndef f(): return K.__type_params__", "T = int", "T = str"
        ),
    },
    (3, 14): {
        "a method of a class that is defined after its use": edit(
            "def f(r: R): return r.m()\n" + R, "return 1", "return 2"
        ),
        "a method of the class of a field that is defined after its use": edit(
            "class K:\n r: R\ndef f(k: K): return k.r.m()\n" + R, "return 1", "return 2"
        ),
        "the type of a field beside one that nothing defines": edit(
            "class K:\n a: nowhere\n r: int\ndef f(): return K", "r: int", "r: str"
        ),
        "a method of a class beside one that nothing defines": method(
            "def f(a: nowhere.K, r: R): return r.m()"
        ),
        "a global that only a template reads": edit("N = 1\ndef f(): return t'{N}'", "= 1", "= 2"),
        "the text of a template": edit("def f(n): return t'a{n}'", "'a", "'b"),
        "the format of a template": edit("def f(n): return t'{n:>4}'", ">4", ">5"),
        "a way out of a handler": edit(
            "A = ValueError\ndef f(g):\n try: g()\n except A, TypeError: return 1",
            "= ValueError",
            "= KeyError",
        ),
    },
    (3, 15): {
        "which sentinel it is": edit(
            "A, B = sentinel('A'), sentinel('B')\nN = A\ndef f(): return N", "N = A", "N = B"
        ),
        "an entry of a frozen table": edit("N = frozendict({'a': 1})\ndef f(): return N", "1", "True"),
        "what a lazy import of a submodule brings": of_package(
            "lazy import pkg.inner.sub\ndef f(): return pkg.inner.sub.g()"
        ),
        "what a lazy import of a submodule brings, of a package as a value": of_package(
            "lazy import pkg.inner.sub\ndef f(): return vars(pkg)"
        ),
        "what a lazy import of a submodule brings, where an annotation names it": of_package(
            "lazy import pkg.inner.sub\ndef f(k: pkg.inner.sub.K): return k.m()"
        ),
        "what a lazy import of a submodule brings, where an annotation names it in quotes": of_package(
            "lazy import pkg.inner.sub\ndef f(k: 'list[pkg.inner.sub.K]'): return k[0].m()"
        ),
        "what a lazy import of a submodule brings, of which a query gives an instance": of_package(
            "from engine import query\nlazy import pkg.inner.sub\n"
            "@query\ndef q(): return pkg.inner.sub.K()\ndef f(): return q().m()",
            ("self): return 1", "self): return 2"),
        ),
        "what a lazy import brings": (
            {"app.py": "lazy import helpers\ndef f(): return helpers.n", "helpers.py": "n = 1"},
            {"app.py": "lazy import helpers\ndef f(): return helpers.n", "helpers.py": "n = 2"},
        ),
        "what a lazy import of a name brings": (
            {"app.py": "lazy from helpers import g\ndef f(): return g()", "helpers.py": "def g(): return 1"},
            {"app.py": "lazy from helpers import g\ndef f(): return g()", "helpers.py": "def g(): return 2"},
        ),
    },
}


def here(table: dict[tuple[int, int], Edits]) -> Edits:
    """Those that this Python can compile."""
    return {
        claim: each
        for since, edits in table.items()
        if since <= sys.version_info
        for claim, each in edits.items()
    }
