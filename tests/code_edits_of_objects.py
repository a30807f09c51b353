"""Edits of classes and of objects that a function reaches, in the form of `code_edits`."""

from __future__ import annotations

from tests.code_edits import QUERY, edit
from tests.loading import Files

STRUCT = """
from msgspec import Struct, field
def some(): return [1]
class K(Struct, array_like=True, tag='a'):
    x: int = 1
    y: list = field(default_factory=some)
    z: int = field(default=0, name='m')
def f(): return K()
"""

DIFFERENT: dict[str, tuple[Files, Files]] = {
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
    "a default of a struct": edit(STRUCT, "= 1", "= 2"),
    "a default factory of a struct": edit(STRUCT, "return [1]", "return [2]"),
    "an option of a struct": edit(STRUCT, "array_like=True", "array_like=False"),
    "a tag of a struct": edit(STRUCT, "tag='a'", "tag='b'"),
    "the name that a field of a struct is encoded by": edit(STRUCT, "name='m'", "name='n'"),
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
    **{
        f"{what} of an enum": edit(f"from enum import *\n{text}", *change)
        for what, text, change in (
            (
                "what is missing",
                "class C(Enum):\n A = 1\n @classmethod\n def _missing_(c, n): return A\ndef f(): return C(7)",
                ("return A", "return B"),
            ),
            (
                "a private property",
                "class C(Enum):\n A = 1\n @property\n def _p(self): return 1\ndef f(): return C.A._p",
                ("return 1", "return 2"),
            ),
            (
                "a private class method",
                "class C(Enum):\n A = 1\n @classmethod\n def _p(c): return 1\ndef f(): return C._p()",
                ("return 1", "return 2"),
            ),
            (
                "a private table",
                "class C(Enum):\n A = 1\n __t = {1: 2}\n def m(s): return s.__t\ndef f(): return C.A.m()",
                ("1: 2", "1: 3"),
            ),
            (
                "the boundary",
                "class C(Flag, boundary=KEEP):\n A = 1\ndef f(n): return C(n)",
                ("=KEEP", "=STRICT"),
            ),
            (
                "an attribute of a member",
                "class C(Enum):\n A = 1\nC.A.n = 1\ndef f(): return C.A.n",
                ("n = 1", "n = 2"),
            ),
        )
    },
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
    "a parameter of a query": (
        QUERY + "@Query\ndef q(n): return 1\ndef f(): return q(n=1)",
        QUERY + "@Query\ndef q(m, n=1): return 1\ndef f(): return q(n=1)",
    ),
    "a default of a query": (
        QUERY + "@Query\ndef q(n=1): return n\ndef f(): return q()",
        QUERY + "@Query\ndef q(n=2): return n\ndef f(): return q()",
    ),
    "how a query takes what it takes": (
        QUERY + "@Query\ndef q(n): return n\ndef f(): return q(1)",
        QUERY + "@Query\ndef q(*, n): return n\ndef f(): return q(1)",
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
}
