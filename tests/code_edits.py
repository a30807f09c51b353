"""Edits of a module that must be seen in the fingerprint of its function `f`."""

from __future__ import annotations

import textwrap

from tests.loading import Files

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
    "the format of a struct": (
        "import struct\nS = struct.Struct('<I')\ndef f(): return S",
        "import struct\nS = struct.Struct('<Q')\ndef f(): return S",
    ),
    "the default of a field of attrs": (
        "import attrs\n@attrs.frozen\nclass P:\n x: int = attrs.field(default=1)\ndef f(): return P()",
        "import attrs\n@attrs.frozen\nclass P:\n x: int = attrs.field(default=2)\ndef f(): return P()",
    ),
    "the factory of a field of attrs": (
        "import attrs\n@attrs.frozen\nclass P:\n x = attrs.field(factory=list)\ndef f(): return P()",
        "import attrs\n@attrs.frozen\nclass P:\n x = attrs.field(factory=dict)\ndef f(): return P()",
    ),
    "the validator of a field of attrs": (
        "import attrs\ndef v(s, a, x): return 1\n@attrs.frozen\nclass P:\n x = attrs.field(validator=v)\n"
        "def f(): return P(1)",
        "import attrs\ndef v(s, a, x): return 2\n@attrs.frozen\nclass P:\n x = attrs.field(validator=v)\n"
        "def f(): return P(1)",
    ),
    "the order of fields of a named tuple": (
        "from typing import NamedTuple\nclass P(NamedTuple):\n x: int\n y: int\ndef f(): return P(1, 2)",
        "from typing import NamedTuple\nclass P(NamedTuple):\n y: int\n x: int\ndef f(): return P(1, 2)",
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
