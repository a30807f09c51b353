"""Two pieces of code have one fingerprint exactly when they compute the same.

Each case is a claim with the text of a project before and after an edit. `check` loads both, one after the
other and from different folders, and compares the fingerprints of `app.f`.
"""

from __future__ import annotations

import argparse
import dis
import importlib
import itertools
import os
import subprocess
import sys
import textwrap
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import code_origin, code_reach
from engine.code import Part, code_fingerprint, code_parts
from engine.errors import BadQuery

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("app", "helpers", "deep", "pkg", "pkg.inner", "lazy", "lazier")
counter = itertools.count()
Files = str | dict[str, str]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of one case are gone before the next; files look older than the process."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("engine.code.STARTED_NS", time.time_ns() + 10**15)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    forget()


def forget() -> None:
    for name in NAMES:
        sys.modules.pop(name, None)


def load(folder: Path, files: Files) -> Any:
    """Write `files` (a text is `app.py`) to a new folder, and import `app` from there."""
    forget()
    place = folder / f"at{next(counter)}"
    for name, text in ({"app.py": files} if isinstance(files, str) else files).items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    sys.path[:] = [str(place), *(one for one in sys.path if not one.startswith(str(folder)))]
    importlib.invalidate_caches()
    return importlib.import_module("app")


def check(folder: Path, before: Files, after: Files, *, same: bool) -> None:
    first = listing(load(folder, before).f)
    second = listing(load(folder, after).f)
    changed = sorted(part[:2] for part in first ^ second)
    assert (not changed) is same, changed


def listing(function: Callable[..., object]) -> set[tuple[str, str, bytes]]:
    parts = code_parts(function)
    assert parts == code_parts(function), "two walks of the same code differ"
    assert code_fingerprint(function) == code_fingerprint(function)
    return {(part.kind, part.name, part.digest) for part in parts}


def names(function: Callable[..., object], kind: str | None = None) -> set[str]:
    return {part.name for part in code_parts(function) if kind in (None, part.kind)}


# -- edits that must be seen, edits that must not ---------------------------------------------------

QUERY = """
class Info:
    def __init__(self, name): self.name = name
class Query:
    def __init__(self, function):
        self.__wrapped__, self.__query__ = function, Info(f"{function.__module__}:{function.__qualname__}")
    def __call__(self, *args): return self.__wrapped__(*args)
"""
WRAPS = """
import functools
def twice(g):
    @functools.wraps(g)
    def inner(*args): return 2 * g(*args)
    return inner
"""


def edit(text: str, old: str, new: str) -> tuple[str, str]:
    text = textwrap.dedent(text).strip()
    assert text.count(old) == 1
    return text, text.replace(old, new)


DIFFERENT: dict[str, tuple[Files, Files]] = {
    "another constant in the same bytecode": ("def f(x): return x + 1", "def f(x): return x + 2"),
    "another builtin in the same bytecode": ("def f(x): return len(x)", "def f(x): return sum(x)"),
    "1 becomes True": ("def f(): return [1, 'a']", "def f(): return [True, 'a']"),
    "1 becomes 1.0": ("def f(): return 1", "def f(): return 1.0"),
    "0.0 becomes -0.0": ("def f(): return 0.0", "def f(): return -0.0"),
    "a text becomes bytes": ("def f(): return 'a'", "def f(): return b'a'"),
    "1 becomes True in a tuple constant": ("def f(): return (1, 2)", "def f(): return (True, 2)"),
    "1 becomes True in a set constant": ("def f(x): return x in {1, 2}", "def f(x): return x in {True, 2}"),
    "a first text that is not a docstring": ("def f(): return 'a'", "def f(): return 'b'"),
    "a docstring that is also returned": ("def f():\n 'a'\n return 'a'", "def f():\n 'b'\n return 'b'"),
    "a docstring that is read": (
        "def g():\n 'one'\ndef f(): return g.__doc__",
        "def g():\n 'two'\ndef f(): return g.__doc__",
    ),
    "a global constant": ("N = 1\ndef f(): return N", "N = 2\ndef f(): return N"),
    "a global 1 becomes True": ("N = 1\ndef f(): return N", "N = True\ndef f(): return N"),
    "a global 1 becomes True in a table": (
        "N = {'a': 1}\ndef f(): return N",
        "N = {'a': True}\ndef f(): return N",
    ),
    "a global 0.0 becomes -0.0 in a list": ("N = [0.0]\ndef f(): return N", "N = [-0.0]\ndef f(): return N"),
    "a global list becomes a tuple": ("N = [1]\ndef f(): return N", "N = (1,)\ndef f(): return N"),
    "the order of a table": ("N = {1: 2, 3: 4}\ndef f(): return N", "N = {3: 4, 1: 2}\ndef f(): return N"),
    "a huge int in a table": ("N = [10**5000]\ndef f(): return N", "N = [10**5000 + 1]\ndef f(): return N"),
    "an entry of a big table": (
        "N = {i: str(i) for i in range(1000)}\ndef f(k): return N[k]",
        "N = {i: str(i) for i in range(1000)}\nN[999] = 'x'\ndef f(k): return N[k]",
    ),
    "a value nested in a table": (
        "N = {'a': [{'b': (1, {2})}]}\ndef f(): return N",
        "N = {'a': [{'b': (1, {3})}]}\ndef f(): return N",
    ),
    "a global name that is missing": ("def f(): return N", "N = None\ndef f(): return N"),
    "a global that hides a builtin": (
        "def f(x): return len(x)",
        "def len(x): return 0\ndef f(x): return len(x)",
    ),
    "a default": ("def f(x=1): return x", "def f(x=2): return x"),
    "the type of a default": ("def f(x=1): return x", "def f(x=1.0): return x"),
    "a keyword default": ("def f(*, x=1): return x", "def f(*, x=2): return x"),
    "which parameters are keywords": ("def f(x, y): return x", "def f(x, *, y): return x"),
    "a nested function": (
        "def f(x):\n def g(): return x + 1\n return g()",
        "def f(x):\n def g(): return x + 2\n return g()",
    ),
    "a lambda in a comprehension": (
        "def f(x): return [(lambda: y + 1)() for y in x]",
        "def f(x): return [(lambda: y - 1)() for y in x]",
    ),
    "a helper": ("def g(): return 1\ndef f(): return g()", "def g(): return 2\ndef f(): return g()"),
    "a helper's default": (
        "def g(x=1): return x\ndef f(): return g()",
        "def g(x=2): return x\ndef f(): return g()",
    ),
    "a helper read only by a nested function": (
        "def g(): return 1\ndef f():\n def h(): return g()\n return h()",
        "def g(): return 2\ndef f():\n def h(): return g()\n return h()",
    ),
    "a helper read only by a class body": (
        "def g(): return 1\ndef f():\n class K:\n  x = g()\n return K.x",
        "def g(): return 2\ndef f():\n class K:\n  x = g()\n return K.x",
    ),
    "two helpers that change places": (
        "def a(): return 1\ndef b(): return 2\nx, y = a, b\ndef f(): return x() - y()",
        "def a(): return 1\ndef b(): return 2\nx, y = b, a\ndef f(): return x() - y()",
    ),
    "two closures that change places": (
        "def m(n): return lambda: n\nx, y = m(1), m(2)\ndef f(): return x() - y()",
        "def m(n): return lambda: n\nx, y = m(2), m(1)\ndef f(): return x() - y()",
    ),
    "two constants that change places": (
        "x, y = 1, 2\ndef f(): return x - y",
        "x, y = 2, 1\ndef f(): return x - y",
    ),
    "an operand of a table of functions": (
        "def a(): return 1\nOPS = {'a': a}\ndef f(o): return OPS[o]()",
        "def a(): return 2\nOPS = {'a': a}\ndef f(o): return OPS[o]()",
    ),
    "a helper's helper in another project module": (
        {
            "app.py": "from helpers import area\ndef f(x): return area(x)",
            "helpers.py": "import deep\ndef area(x): return deep.k(x)",
            "deep.py": "def k(x): return x",
        },
        {
            "app.py": "from helpers import area\ndef f(x): return area(x)",
            "helpers.py": "import deep\ndef area(x): return deep.k(x)",
            "deep.py": "def k(x): return -x",
        },
    ),
    "an attribute of a project module": (
        {"app.py": "import helpers\ndef f(x): return helpers.area(x)", "helpers.py": "def area(x): return x"},
        {
            "app.py": "import helpers\ndef f(x): return helpers.area(x)",
            "helpers.py": "def area(x): return -x",
        },
    ),
    "a constant of a submodule": (
        {
            "app.py": "import pkg.inner\ndef f(): return pkg.inner.N",
            "pkg/__init__.py": "",
            "pkg/inner.py": "N = 1",
        },
        {
            "app.py": "import pkg.inner\ndef f(): return pkg.inner.N",
            "pkg/__init__.py": "",
            "pkg/inner.py": "N = 2",
        },
    ),
    "a name computed from a module": (
        {
            "app.py": "import helpers\ndef f(n): return getattr(helpers, n)",
            "helpers.py": "def area(x): return x",
        },
        {
            "app.py": "import helpers\ndef f(n): return getattr(helpers, n)",
            "helpers.py": "def area(x): return -x",
        },
    ),
    "a module held by a closure": (
        {
            "app.py": "def m():\n import helpers as h\n return lambda x: h.area(x)\nf = m()",
            "helpers.py": "def area(x): return x",
        },
        {
            "app.py": "def m():\n import helpers as h\n return lambda x: h.area(x)\nf = m()",
            "helpers.py": "def area(x): return -x",
        },
    ),
    "a method": (
        "class K:\n def m(self): return 1\ndef f(): return K().m()",
        "class K:\n def m(self): return 2\ndef f(): return K().m()",
    ),
    "a class attribute": ("class K:\n x = 1\ndef f(): return K.x", "class K:\n x = 2\ndef f(): return K.x"),
    "a base class": (
        "class B:\n def m(self): return 1\nclass K(B): pass\ndef f(): return K().m()",
        "class B:\n def m(self): return 2\nclass K(B): pass\ndef f(): return K().m()",
    ),
    "a metaclass": (
        "class M(type):\n def m(c): return 1\nclass K(metaclass=M): pass\ndef f(): return K.m()",
        "class M(type):\n def m(c): return 2\nclass K(metaclass=M): pass\ndef f(): return K.m()",
    ),
    "a helper of a method": (
        "def g(): return 1\nclass K:\n def m(self): return g()\ndef f(): return K().m()",
        "def g(): return 2\nclass K:\n def m(self): return g()\ndef f(): return K().m()",
    ),
    "a property": (
        "class K:\n @property\n def m(self): return 1\ndef f(): return K().m",
        "class K:\n @property\n def m(self): return 2\ndef f(): return K().m",
    ),
    "a staticmethod": (
        "class K:\n @staticmethod\n def m(): return 1\ndef f(): return K.m()",
        "class K:\n @staticmethod\n def m(): return 2\ndef f(): return K.m()",
    ),
    "a staticmethod becomes a classmethod": (
        "class K:\n @staticmethod\n def m(*a): return a\ndef f(): return K.m()",
        "class K:\n @classmethod\n def m(*a): return a\ndef f(): return K.m()",
    ),
    "a cached property": edit(
        """
        from functools import cached_property as c
        class K:
         @c
         def m(self): return 1
        def f(): return K().m
        """,
        "def m(self): return 1",
        "def m(self): return 2",
    ),
    "a method used through an instance attribute of a global": edit(
        """
        class H:
         def m(self): return 1
        class S:
         def __init__(self): self.h = H()
        s = S()
        def f(): return s.h.m()
        """,
        "def m(self): return 1",
        "def m(self): return 2",
    ),
    "an attribute of a global instance": (
        "class S: pass\ns = S()\ns.n = 1\ndef f(): return s.n",
        "class S: pass\ns = S()\ns.n = 2\ndef f(): return s.n",
    ),
    "a slot of a global instance": (
        "class S: __slots__ = ('n',)\ns = S()\ns.n = 1\ndef f(): return s.n",
        "class S: __slots__ = ('n',)\ns = S()\ns.n = 2\ndef f(): return s.n",
    ),
    "a bound method's object": edit(
        """
        class S:
         def __init__(self, n): self.n = n
         def m(self): return self.n
        g = S(1).m
        def f(): return g()
        """,
        "g = S(1).m",
        "g = S(2).m",
    ),
    "a builtin method's object": (
        "g = {1: 2}.get\ndef f(): return g(1)",
        "g = {1: 3}.get\ndef f(): return g(1)",
    ),
    "a member of an enum": (
        "from enum import Enum\nclass C(Enum):\n A = 1\ndef f(): return C.A",
        "from enum import Enum\nclass C(Enum):\n A = 2\ndef f(): return C.A",
    ),
    "the order of an enum": (
        "from enum import Enum\nclass C(Enum):\n A = 1\n B = 2\ndef f(): return list(C)",
        "from enum import Enum\nclass C(Enum):\n B = 2\n A = 1\ndef f(): return list(C)",
    ),
    "a value of an attrs class": (
        "import attrs\n@attrs.frozen\nclass P:\n x: int\np = P(1)\ndef f(): return p",
        "import attrs\n@attrs.frozen\nclass P:\n x: int\np = P(2)\ndef f(): return p",
    ),
    "a default of an attrs class": (
        "import attrs\n@attrs.frozen\nclass P:\n x: int = 1\ndef f(): return P()",
        "import attrs\n@attrs.frozen\nclass P:\n x: int = 2\ndef f(): return P()",
    ),
    "a converter of an attrs class": edit(
        """
        import attrs
        def c(v): return v
        @attrs.frozen
        class P:
         x: int = attrs.field(converter=c)
        def f(): return P(1)
        """,
        "def c(v): return v",
        "def c(v): return -v",
    ),
    "a default factory of a dataclass": edit(
        """
        from dataclasses import *
        def c(): return 1
        @dataclass
        class P:
         x: int = field(default_factory=c)
        def f(): return P()
        """,
        "def c(): return 1",
        "def c(): return 2",
    ),
    "a value of a dataclass": edit(
        """
        from dataclasses import *
        @dataclass(frozen=True, slots=True)
        class P:
         x: int
        p = P(1)
        def f(): return p
        """,
        "p = P(1)",
        "p = P(2)",
    ),
    "a value of a msgspec struct": (
        "import msgspec\nclass P(msgspec.Struct):\n x: int\np = P(1)\ndef f(): return p",
        "import msgspec\nclass P(msgspec.Struct):\n x: int\np = P(2)\ndef f(): return p",
    ),
    "the type of a field": (
        "import attrs\n@attrs.frozen\nclass P:\n x: int\ndef f(d): return P(d)",
        "import attrs\n@attrs.frozen\nclass P:\n x: str\ndef f(d): return P(d)",
    ),
    "a named tuple's value": (
        "from typing import NamedTuple\nclass P(NamedTuple):\n x: int\np = P(1)\ndef f(): return p",
        "from typing import NamedTuple\nclass P(NamedTuple):\n x: int\np = P(2)\ndef f(): return p",
    ),
    "a partial's argument": (
        "from functools import partial\ndef g(x): return x\nh = partial(g, 1)\ndef f(): return h()",
        "from functools import partial\ndef g(x): return x\nh = partial(g, 2)\ndef f(): return h()",
    ),
    "a partial's function": (
        "from functools import partial\ndef g(x): return x\nh = partial(g, 1)\ndef f(): return h()",
        "from functools import partial\ndef g(x): return -x\nh = partial(g, 1)\ndef f(): return h()",
    ),
    "a cached helper": (
        "from functools import cache\n@cache\ndef g(): return 1\ndef f(): return g()",
        "from functools import cache\n@cache\ndef g(): return 2\ndef f(): return g()",
    ),
    "a decorator": (
        WRAPS + "@twice\ndef f(): return 1",
        WRAPS.replace("2 *", "3 *") + "@twice\ndef f(): return 1",
    ),
    "a decorated function": (WRAPS + "@twice\ndef f(): return 1", WRAPS + "@twice\ndef f(): return 2"),
    "a function decorated by the standard library": edit(
        """
        from contextlib import contextmanager
        @contextmanager
        def g(): yield 1
        def f():
         with g() as x: return x
        """,
        "def g(): yield 1",
        "def g(): yield 2",
    ),
    "a case of a single dispatch": edit(
        """
        from functools import singledispatch as s
        @s
        def g(x): return 1
        @g.register
        def _(x: int): return 2
        def f(x): return g(x)
        """,
        "def _(x: int): return 2",
        "def _(x: int): return 3",
    ),
    "an attribute of a function": (
        "def g(): return g.n\ng.n = 1\ndef f(): return g()",
        "def g(): return g.n\ng.n = 2\ndef f(): return g()",
    ),
    "a pattern": (
        "import re\nP = re.compile('a')\ndef f(s): return P.match(s)",
        "import re\nP = re.compile('a', re.I)\ndef f(s): return P.match(s)",
    ),
    "a date": (
        "import datetime as d\nD = d.date(2020, 1, 1)\ndef f(): return D",
        "import datetime as d\nD = d.date(2020, 1, 2)\ndef f(): return D",
    ),
    "a decimal, a fraction, a path and an identifier": edit(
        """
        from decimal import Decimal as D
        from pathlib import PurePath as P
        N = [D('1.0'), P('a')]
        def f(): return N
        """,
        "N = [D('1.0'), P('a')]",
        "N = [D('1.00'), P('a')]",
    ),
    "an object that no bytes describe": (
        "import argparse\nP = argparse.ArgumentParser('a')\ndef f(): return P",
        "import argparse\nP = argparse.ArgumentParser('b')\ndef f(): return P",
    ),
    "an import inside the body, of another name": (
        "def f():\n from os.path import join\n return join",
        "def f():\n from os.path import split\n return split",
    ),
    "an import inside the body, of a module that is not loaded": (
        {"app.py": "def f():\n from lazy import n\n return n", "lazy.py": "n = 1"},
        {"app.py": "def f():\n from lazy import n\n return n", "lazy.py": "n = 2"},
    ),
    "what a module imported inside the body imports": (
        {
            "app.py": "def f():\n import lazy\n return lazy.n",
            "lazy.py": "from lazier import n",
            "lazier.py": "n = 1",
        },
        {
            "app.py": "def f():\n import lazy\n return lazy.n",
            "lazy.py": "from lazier import n",
            "lazier.py": "n = 2",
        },
    ),
    "a relative import inside the body": (
        {
            "app.py": "from pkg import f",
            "pkg/__init__.py": "def f():\n from .inner import n\n return n",
            "pkg/inner.py": "n = 1",
        },
        {
            "app.py": "from pkg import f",
            "pkg/__init__.py": "def f():\n from .inner import n\n return n",
            "pkg/inner.py": "n = 2",
        },
    ),
    "an import inside the body, of a module that appears": (
        {"app.py": "def f():\n import lazy"},
        {"app.py": "def f():\n import lazy", "lazy.py": ""},
    ),
    "a method of the class a query returns": (
        QUERY + "class R:\n def m(self): return 1\n@Query\ndef q() -> R: return R()\ndef f(): return q().m()",
        QUERY + "class R:\n def m(self): return 2\n@Query\ndef q() -> R: return R()\ndef f(): return q().m()",
    ),
    "a method of the class of an argument": edit(
        """
        from __future__ import annotations
        class R:
         def m(self): return 1
        def f(r: list[R] | None): return r[0].m()
        """,
        "def m(self): return 1",
        "def m(self): return 2",
    ),
    "mutual recursion": (
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\nf = even",
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 1 and even(n - 1)\nf = even",
    ),
    "which of two mutual functions is asked": (
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\nf = even",
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)\nf = odd",
    ),
    "a generator": ("def f():\n yield 1", "def f():\n yield 2"),
    "a generator becomes a function": ("def f():\n yield 1", "def f():\n return 1"),
    "an async function": ("async def f(g): return await g(1)", "async def f(g): return await g(2)"),
    "a walrus": ("def f(x): return (y := x + 1) * y", "def f(x): return (y := x + 2) * y"),
    "a match statement": (
        "class P:\n __match_args__ = ('a',)\ndef f(x):\n match x:\n  case P(1): return 1",
        "class P:\n __match_args__ = ('b',)\ndef f(x):\n match x:\n  case P(1): return 1",
    ),
    "an exception handler's reach": (
        "def f(g):\n try:\n  g(); g()\n except ValueError: return 1",
        "def f(g):\n g()\n try:\n  g()\n except ValueError: return 1",
    ),
    "a value that contains itself": (
        "N = [1]\nN.append(N)\ndef f(): return N",
        "N = [2]\nN.append(N)\ndef f(): return N",
    ),
}

SAME: dict[str, tuple[Files, Files]] = {
    "a comment and blank lines": (
        "def f(x):\n return x",
        "# why\n\n\ndef f(x):\n\n    # because\n    return x  # so",
    ),
    "a docstring that changes": ("def f(x):\n 'a'\n return x", "def f(x):\n 'b'\n return x"),
    "a docstring that appears": ("def f(x): return x or 'y'", "def f(x):\n 'new'\n return x or 'y'"),
    "a docstring that appears where None is returned": ("def f(x): x()", "def f(x):\n 'new'\n x()"),
    "a docstring of a nested function": (
        "def f():\n def g(): return 'x'\n return g()",
        "def f():\n def g():\n  'new'\n  return 'x'\n return g()",
    ),
    "a docstring and lines of a class in a body": (
        "def f():\n class K:\n  x = 1\n  def m(self): self.a = self.b = 1\n return K",
        "\n\n\ndef f():\n class K:\n  'new'\n  x = 1\n  def m(self): self.a = self.b = 1\n return K",
    ),
    "a docstring of a class and of its method": (
        "class K:\n def m(self): return 1\ndef f(): return K().m()",
        "class K:\n 'new'\n def m(self):\n  'new'\n  return 1\ndef f(): return K().m()",
    ),
    "another function of the module": ("def f(): return 1", "def g(): return 2\ndef f(): return 1"),
    "a global nobody reads": ("N = 1\ndef f(): return 1", "N = 2\ndef f(): return 1"),
    "a global with the name of an attribute": ("def f(x): return x.N", "N = 2\ndef f(x): return x.N"),
    "another function of a module that is read": (
        {"app.py": "import helpers\ndef f(): return helpers.a()", "helpers.py": "def a(): return 1"},
        {
            "app.py": "import helpers\ndef f(): return helpers.a()",
            "helpers.py": "def b(): return 2\ndef a(): return 1",
        },
    ),
    "the order of definitions": (
        "def a(): return 1\ndef b(): return 2\ndef f(): return a() + b()",
        "def b(): return 2\ndef a(): return 1\ndef f(): return a() + b()",
    ),
    "the order of imports": (
        {
            "app.py": "import helpers, deep\ndef f(): return helpers.n, deep.n",
            "helpers.py": "n = 1",
            "deep.py": "n = 2",
        },
        {
            "app.py": "import deep, helpers\ndef f(): return helpers.n, deep.n",
            "helpers.py": "n = 1",
            "deep.py": "n = 2",
        },
    ),
    "the body of another query": (
        QUERY + "@Query\ndef q(): return 1\ndef f(): return q()",
        QUERY + "@Query\ndef q(): return 2\ndef f(): return q()",
    ),
    "an annotation of a builtin type": (
        "def f(x: int) -> int: return x",
        "def f(x: float) -> float: return x",
    ),
    "a name for type checkers only": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING: import helpers\ndef f(x: 'helpers.K'): return x",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING: import deep\ndef f(x: 'deep.K'): return x",
    ),
    "a comment in a module imported inside the body": (
        {"app.py": "def f():\n import lazy\n return lazy.n", "lazy.py": "n = 1"},
        {"app.py": "def f():\n import lazy\n return lazy.n", "lazy.py": "# why\n\nn = 1"},
    ),
    "an edit beside a logger": (
        "import logging\nlog = logging.getLogger('a')\ndef f(): log.info('x')",
        "import logging\nlog = logging.getLogger('a')\nN = 1\ndef f(): log.info('x')",
    ),
    "where the module lies": ("def f(): return __file__", "def f(): return __file__"),
    "a class that is used before it is looked at": (
        "from enum import Flag\nclass C(Flag):\n A = 1\n B = 2\ndef f(): return C",
        "from enum import Flag\nclass C(Flag):\n A = 1\n B = 2\nC.A | C.B\ndef f(): return C",
    ),
}


@pytest.mark.parametrize("claim", DIFFERENT)
def test_a_changed_program_has_another_fingerprint(claim: str, tmp_path: Path) -> None:
    check(tmp_path, *DIFFERENT[claim], same=False)


@pytest.mark.parametrize("claim", [*DIFFERENT, *SAME])
def test_the_same_program_in_another_folder_has_the_same_fingerprint(claim: str, tmp_path: Path) -> None:
    text = {**DIFFERENT, **SAME}[claim][0]
    check(tmp_path, text, text, same=True)


@pytest.mark.parametrize("claim", SAME)
def test_an_edit_that_changes_no_answer_keeps_the_fingerprint(claim: str, tmp_path: Path) -> None:
    check(tmp_path, *SAME[claim], same=True)


# -- the nine traps (pitfalls G.3) -------------------------------------------------------------------


def test_trap_1_a_file_edited_without_reload_keeps_the_fingerprint_of_the_code_that_runs(
    tmp_path: Path,
) -> None:
    app = load(tmp_path, "def f(): return 1")
    before = code_fingerprint(app.f)
    Path(app.__file__).write_text("def f(): return 2")
    assert code_fingerprint(app.f) == before


def test_trap_1_a_lazily_imported_file_edited_after_loading_gets_a_fingerprint_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = load(tmp_path, {"app.py": "def f():\n import lazy\n return lazy.n", "lazy.py": "n = 1"})
    clean = code_fingerprint(app.f)
    lazy = importlib.import_module("lazy")
    assert code_fingerprint(app.f) == clean, "loading it changes nothing"
    time.sleep(0.02)  # kernels stamp changes with a clock of 4 to 10 ms
    monkeypatch.setattr("engine.code.STARTED_NS", time.time_ns() - 10_000_000)
    time.sleep(0.02)
    Path(str(lazy.__file__)).write_text("n = 2")
    old_code_runs = code_fingerprint(app.f)
    sys.modules.pop("lazy")
    fresh = code_fingerprint(app.f)
    assert len({clean, old_code_runs, fresh}) == 3


def test_trap_2_closures_of_one_factory_differ_by_what_they_captured(tmp_path: Path) -> None:
    app = load(tmp_path, "def m(n):\n def g(): return n\n return g\nf = m(1)")
    assert code_fingerprint(app.m(1)) == code_fingerprint(app.m(1)) != code_fingerprint(app.m(2))
    assert code_fingerprint(app.m(1)) != code_fingerprint(app.m(True))


def test_trap_3_two_lambdas_on_one_line_differ(tmp_path: Path) -> None:
    app = load(tmp_path, "f, g = (lambda x: x + 1), (lambda x: x + 2)")
    assert code_fingerprint(app.f) != code_fingerprint(app.g)


def test_trap_4_equal_bytecode_with_other_constants_or_names_differs(tmp_path: Path) -> None:
    app = load(
        tmp_path,
        "def a(x): return x + 1\ndef b(x): return x + 2\ndef c(x): return len(x)\ndef d(x): return sum(x)",
    )
    for one, other in ((app.a, app.b), (app.c, app.d)):
        other = types.FunctionType(other.__code__.replace(co_name=one.__name__), vars(app), one.__name__)
        other.__qualname__ = one.__qualname__
        assert one.__code__.co_code == other.__code__.co_code
        assert code_fingerprint(one) != code_fingerprint(other)


def test_trap_5_globals_are_read_at_each_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = load(tmp_path, "N = {'a': [1]}\ndef g(): return N\ndef f(): return g()")
    seen = [code_fingerprint(app.f)]
    app.N["a"].append(2)
    seen.append(code_fingerprint(app.f))
    app.N = 3
    seen.append(code_fingerprint(app.f))
    monkeypatch.setattr(app, "g", lambda: 4)
    seen.append(code_fingerprint(app.f))
    assert len(set(seen)) == 4
    monkeypatch.undo()
    app.N = {"a": [1]}
    assert code_fingerprint(app.f) == seen[0]


def test_trap_6_the_fingerprint_is_stable_while_the_interpreter_specialises(tmp_path: Path) -> None:
    app = load(
        tmp_path,
        "class K:\n n = 1\nk = K()\ndef f(x):\n for i in range(x):\n  x = x + k.n + len('a')\n return x",
    )
    raw, before = app.f.__code__.co_code, code_fingerprint(app.f)
    for _ in range(2000):
        app.f(50)
    code_reach._known.clear()
    assert app.f.__code__.co_code == raw
    assert code_fingerprint(app.f) == before


def test_trap_6_the_python_version_is_a_part(tmp_path: Path) -> None:
    app = load(tmp_path, "def f(): return 1")
    wanted = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    assert names(app.f, "python") == {wanted}


SHOW = """
import sys
sys.path[:0] = [{root!r}, {place!r}]
for name in {order!r}: __import__(name)
import app
from engine.code import code_fingerprint
print(code_fingerprint(app.f).hex())
"""


def test_traps_7_and_8_processes_agree_whatever_the_hash_seed_and_the_order_of_imports(
    tmp_path: Path,
) -> None:
    text = """
        import attrs, enum, helpers, dataclasses, msgspec, typing
        WORDS = {"alpha", "beta", "gamma", "delta"}
        FROZEN = frozenset({("a", 1), ("b", 2.0), "c"})
        def a(): return 1
        def b(): return 2
        CALLS = {a, b, len}
        shared = ["x"]
        TABLE = {"one": shared, "two": shared, "three": ["x"]}
        class C(enum.Flag):
            A = 1
            B = 2
        @attrs.define
        class P:
            x: int = 1
            y: set[str] = attrs.field(factory=lambda: {"a", "b", "c"})
            def m(self): self.z = self.w = 3
        @attrs.frozen
        class Q:
            x: int = 1
            y: str = "a"
        @attrs.frozen(cache_hash=True, order=True)
        class R(Q):
            z: frozenset[str] = frozenset({"a", "b", "c"})
        @dataclasses.dataclass(frozen=True, slots=True)
        class D:
            x: int = 1
        class S(msgspec.Struct, frozen=True, order=True):
            x: int = 1
            y: frozenset[str] = frozenset({"a", "b", "c"})
        class N(typing.NamedTuple):
            x: int = 1
        class T(typing.TypedDict, total=False):
            x: int
            y: int
        class I(typing.Protocol):
            x: int
            def m(self) -> int: ...
        class J(I):
            pass
        p = P(), Q(), R(), D(), S(), N(), T(x=1), I, J()
        def f(x):
            class K:
                def m(self): self.first = self.second = self.third = x
            from lazy import n
            return x in {"alpha", "beta", "gamma"}, WORDS, FROZEN, CALLS, TABLE, C.A, p, helpers.n, K, n
    """
    load(tmp_path, {"app.py": text, "helpers.py": "n = {'x', 'y', 'z'}", "lazy.py": "n = {'u', 'v'}"})
    place = str(Path(sys.path[0]))
    seen = set()
    for seed, order in (("0", ()), ("1", ("helpers",)), ("2", ("lazy", "helpers")), ("random", ("app",))):
        script = SHOW.format(root=str(ROOT), place=place, order=order)
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        seen.add(subprocess.check_output([sys.executable, "-c", script], env=environment, text=True))
    assert len(seen) == 1, seen


def test_trap_8_equal_values_count_as_equal_whether_or_not_they_are_one_object(tmp_path: Path) -> None:
    check(
        tmp_path,
        "a = ['x']\nN = {1: a, 2: a}\ndef f(): return N",
        "N = {1: ['x'], 2: ['x']}\ndef f(): return N",
        same=True,
    )


def test_trap_9_values_that_compare_equal_differ_by_type(tmp_path: Path) -> None:
    app = load(tmp_path, "N = None\ndef f(): return N")
    values: list[object] = [
        1,
        True,
        1.0,
        0,
        False,
        0.0,
        -0.0,
        1 + 0j,
        "1",
        b"1",
        (1,),
        [1],
        {1},
        frozenset({1}),
    ]
    values += [{1: 1}, {True: 1}, {1.0: 1}, float("nan"), None, ..., (True,), (1.0,), [0.0], [-0.0]]
    seen = set()
    for value in values:
        app.N = value
        seen.add(code_fingerprint(app.f))
    assert len(seen) == len(values)


# -- what is followed, and how far -------------------------------------------------------------------


def test_a_third_party_function_is_its_distribution_and_version(tmp_path: Path) -> None:
    app = load(tmp_path, "import attrs, json\ndef f(x): return attrs.asdict(x), json.dumps(x)")
    assert names(app.f, "distribution") == {"attrs"}
    assert names(app.f, "function") == {"app:f"}


def test_a_new_version_of_a_distribution_changes_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = load(tmp_path, "import attrs\ndef f(x): return attrs.asdict(x)")
    before = code_fingerprint(app.f)
    monkeypatch.setattr("engine.code_names.release", lambda module: "attrs==0.1")
    assert code_fingerprint(app.f) != before


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
    assert not any(
        map(code_origin.in_project, ("os", "sys", "json.decoder", "attrs", "pytest", "engine.code"))
    )
    assert all(
        map(code_origin.in_project, ("typed_in", "engine.rules", "engine.rules.files", "no.such.module"))
    )


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


# -- policies -----------------------------------------------------------------------------------------


def test_each_policy_sees_what_it_says(tmp_path: Path) -> None:
    text = "N = 1\ndef g(): return N\ndef f(x=1): return g() + x"
    edits = {
        "nothing": text,
        "helper": text.replace("return N", "return -N"),
        "own": text.replace("+ x", "- x"),
    }
    edits["default"] = text.replace("x=1", "x=2")
    edits["constant"] = text.replace("N = 1", "N = 2")
    seen: dict[str, set[str]] = {}
    for policy in ("closure", "self", "version", "none"):
        version = "1" if policy == "version" else None
        found = {
            edit: code_fingerprint(load(tmp_path, changed).f, policy=policy, version=version)
            for edit, changed in edits.items()
        }
        seen[policy] = {edit for edit, one in found.items() if one != found["nothing"]}
    assert seen == {
        "closure": {"helper", "own", "default", "constant"},
        "self": {"own", "default"},
        "version": set(),
        "none": set(),
    }


def test_self_looks_through_a_decorator(tmp_path: Path) -> None:
    one = code_fingerprint(load(tmp_path, WRAPS + "@twice\ndef f(): return 1").f, policy="self")
    assert one != code_fingerprint(load(tmp_path, WRAPS + "@twice\ndef f(): return 2").f, policy="self")


@pytest.mark.parametrize("policy", ["closure", "self", "version", "none"])
def test_a_version_counts_under_every_policy_and_with_its_type(policy: str) -> None:
    def f() -> int:
        return 1

    versions: tuple[str | int, ...] = ("1", 1, True, "2")
    assert len({code_fingerprint(f, policy=policy, version=version) for version in versions}) == len(versions)


def test_a_request_that_makes_no_sense_is_refused() -> None:
    for policy in ("sometimes", "version"):
        with pytest.raises(BadQuery):
            code_fingerprint(len, policy=policy)
    with pytest.raises(BadQuery):
        code_fingerprint(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadQuery):
        code_fingerprint(len, version=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- the scan, and what it costs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["argparse", "typing", "inspect", "enum", "dataclasses", "subprocess", "ast"]
)
def test_the_scan_finds_the_names_that_dis_finds(name: str) -> None:
    """The table of shifted arguments in code_reach must fit the interpreter at hand."""
    module = importlib.import_module(name)
    assert module.__file__ is not None
    top = compile(Path(module.__file__).read_bytes(), name, "exec")
    pending, reads = [top], {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
    while pending:
        code = pending.pop()
        pending += [one for one in code.co_consts if isinstance(one, types.CodeType)]
        wanted, imports = set(), set()
        for step in walk_code(code):
            if step.opname in reads:
                wanted.add(step.argval)
            elif step.opname.startswith("IMPORT_NAME"):
                imports.add(step.argval)
        facts = code_reach.facts_of(code)
        assert {chain[0] for chain in facts.names} == wanted
        assert {one for _, one, _ in facts.imports} == imports


def walk_code(code: types.CodeType) -> Iterator[dis.Instruction]:
    yield from dis.get_instructions(code)
    for nested in code.co_consts:
        if isinstance(nested, types.CodeType):
            yield from walk_code(nested)


def test_attribute_chains_of_modules_are_found(tmp_path: Path) -> None:
    app = load(tmp_path, "import os\ndef f(a): return os.path.join(a, os.sep), a.b.c, os")
    assert set(code_reach.facts_of(app.f.__code__).names) == {("os", "path", "join"), ("os", "sep"), ("os",)}


def test_facts_of_code_that_is_gone_are_forgotten() -> None:
    scope: dict[str, Any] = {}
    exec("def f(): return 1", scope)
    number = id(scope["f"].__code__)
    code_fingerprint(scope["f"])
    assert number in code_reach._known
    scope.clear()
    assert number not in code_reach._known


def best(function: Callable[[], object], times: int) -> float:
    """The shortest of a few runs, in microseconds of this thread: noise only ever adds."""
    found = []
    for _ in range(times):
        start = time.thread_time_ns()
        function()
        found.append(time.thread_time_ns() - start)
    return min(found) / 1000


def test_ten_helpers_cost_less_than_half_a_millisecond(tmp_path: Path) -> None:
    helpers = "\n".join(f"def h{i}(x, y={i}): return x + y + N" for i in range(10))
    calls = " + ".join(f"h{i}(x)" for i in range(10))
    app = load(tmp_path, f"N = 1\n{helpers}\ndef f(x): return {calls}")
    code_fingerprint(app.f)
    assert best(lambda: code_fingerprint(app.f), 50) < 500  # 300 us meant; slack for a busy machine


def test_a_table_of_100_000_entries_costs_less_than_a_fifth_of_a_second(tmp_path: Path) -> None:
    app = load(tmp_path, "N = {str(i): i for i in range(100_000)}\ndef f(x): return N[x]")
    assert best(lambda: code_fingerprint(app.f), 3) < 200_000
