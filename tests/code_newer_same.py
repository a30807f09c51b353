"""Pairs of programs in the syntax of newer Pythons that mean the same, by version as in `code_newer`."""

from __future__ import annotations

from tests.code_newer import Edits, of_package


def used(text: str, use: str) -> tuple[str, str]:
    """The same program, of which something was used before anybody looks at it."""
    return text, f"{text}\n{use}"


def more(text: str) -> tuple[str, str]:
    """Another function, and a comment that moves all lines."""
    return text, f"# why\n\n{text}\ndef g(): return 2"


SAME: dict[tuple[int, int], Edits] = {
    (3, 11): {
        "a comment beside a class with fields": (
            "class K:\n a: int = 1\ndef f(): return K()",
            "# why\nclass K:\n a: int = 1  # so\n\ndef f(): return K()",
        ),
        "another function beside a named tuple of texts": more(
            "from __future__ import annotations\nfrom typing import NamedTuple\n"
            "class P(NamedTuple):\n x: int\ndef f(): return P(1)"
        ),
        "another function beside a typed dictionary": more(
            "from typing import TypedDict\nclass P(TypedDict):\n x: int\ndef f(): return P(x=1)"
        ),
        "another function beside a protocol": more(
            "from typing import Protocol\nclass P(Protocol):\n x: int\ndef f(): return P"
        ),
        "another function beside a struct with limits": more(
            "import msgspec\nfrom typing import Annotated\nclass P(msgspec.Struct):\n"
            " r: Annotated[int, msgspec.Meta(gt=1)]\ndef f(): return P"
        ),
        "another function beside a class of attrs with fields": more(
            "import attrs\n@attrs.frozen\nclass P:\n x: list[int] = attrs.field(factory=list)\n"
            "def f(): return P()"
        ),
        "another function beside an alias of a text": more(
            "from typing import List, Optional\nA = Optional[List['P']]\ndef f(): return A"
        ),
        "annotations that somebody has read": used(
            "from typing import *\nclass K:\n a: int\nclass P(NamedTuple):\n a: 'int'\n"
            "class T(TypedDict):\n a: int\ndef f(k: K) -> P: return K, P, T",
            "for one in K, P, T, f: one.__annotations__, get_type_hints(one)",
        ),
        "a class of attrs beside others": used(
            "import attrs\n@attrs.frozen\nclass P:\n x: int\ndef f(p: P): return attrs.evolve(p, x=1)",
            "@attrs.frozen\nclass Q:\n x: int",
        ),
        "a dataclass beside others": used(
            "from dataclasses import *\n@dataclass\nclass P:\n x: int\ndef f(p: P): return replace(p, x=1)",
            "@dataclass\nclass Q:\n x: int",
        ),
        "a protocol that was asked for": used(
            "from typing import *\n@runtime_checkable\nclass P(Protocol):\n a: int\n def m(self): pass\n"
            "def f(): return P",
            "class Q(P): a = 1\nisinstance(Q(), P), isinstance(1, P)",
        ),
        "an annotation of a method of a class": (
            "class K:\n def m(self, x: int) -> int: return x\ndef f(): return K().m(1)",
            "class K:\n def m(self, x: float) -> float: return x\ndef f(): return K().m(1)",
        ),
    },
    (3, 12): {
        "a type parameter that is called otherwise": (
            "def f[T](x: T) -> T: return x",
            "def f[U](x: U) -> U: return x",
        ),
        "another function beside a generic class": more("class K[T: int]:\n x: T\ndef f(): return K"),
        "another function beside a type statement": more("type A[T] = list[T] | None\ndef f(): return A"),
    },
    (3, 14): {
        "another function beside a partial with a place left": more(
            "from functools import Placeholder as _, partial\nh = partial(int, _, 2)\ndef f(): return h('1')"
        ),
        "a name that nothing defines, in an annotation": (
            "def f(x: nowhere): return x",
            "def f(x: nothing): return x",
        ),
    },
    (3, 15): {
        "another function beside a sentinel": more("N = sentinel('N')\ndef f(): return N"),
        "another function beside a frozen table": more("N = frozendict({'a': 1})\ndef f(): return N"),
        "another function beside a dataclass": more(
            "from dataclasses import *\n@dataclass\nclass K:\n a: int\n b: int = 3\ndef f(): return K(1, 2)"
        ),
        "an import of a submodule that becomes lazy": (
            of_package("import pkg.inner.sub\ndef f(): return pkg.inner.sub.g()")[0],
            of_package("lazy import pkg.inner.sub\ndef f(): return pkg.inner.sub.g()")[0],
        ),
        "an import of a submodule that becomes lazy, of a package as a value": (
            of_package("import pkg.inner.sub\ndef f(): return vars(pkg)")[0],
            of_package("lazy import pkg.inner.sub\ndef f(): return vars(pkg)")[0],
        ),
        "an import that becomes lazy": (
            {"app.py": "import helpers\ndef f(): return helpers.n", "helpers.py": "n = 1"},
            {"app.py": "lazy import helpers\ndef f(): return helpers.n", "helpers.py": "n = 1"},
        ),
    },
}
