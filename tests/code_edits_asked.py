"""Edits of what counts because some code asks for it, and of what it gets by made up names or with arguments.

In the form of `code_edits`.
"""

from __future__ import annotations

from tests.code_edits import edit
from tests.loading import Files

RULES = "class A:\n 'one'\nclass B:\n 'more'\nRULES = [A, B]\n"
QUERIES = "from engine import query\n@query\ndef q(n: int) -> int: 'one'\nRULES = [q]\n"
LAZY = {"app.py": "def f():\n import lazy\n return lazy.g.__doc__", "lazy.py": "def g(): 'one'"}
ABSTRACT = "from abc import *\nfrom collections.abc import Sequence\nclass S(ABC): pass\nclass Q: pass\n"


def docs(text: str) -> tuple[str, str]:
    return edit(text, "'one'", "'two'")


def notes(use: str) -> tuple[str, str]:
    return edit(f"import inspect, typing\ndef g(x: int): return x\ndef f(): return {use}", ": int", ": str")


def below(use: str) -> tuple[str, str]:
    text = (
        "class B:\n @classmethod\n def all(c): return c.__subclasses__()\nclass K(B): n = 1\ndef f(): return "
    )
    return edit(text + use, "n = 1", "n = 2")


def any_name(use: str) -> tuple[str, str]:
    return edit(f"import sys\ndef g(): return 1\ndef f(n): return {use}", "return 1", "return 2")


DIFFERENT: dict[str, tuple[Files, Files]] = {
    "a docstring of a class in a list": docs(f"{RULES}def f(): return [rule.__doc__ for rule in RULES]"),
    "a docstring of a query in a list": docs(f"{QUERIES}def f(): return [rule.__doc__ for rule in RULES]"),
    "an annotation of a query in a list": edit(
        f"import inspect\n{QUERIES}def f(): return [*map(inspect.signature, RULES)]", "n: int", "n: str"
    ),
    "a docstring of the class of what a helper makes": docs(
        f"{RULES}def g(): return A()\ndef f(): return g().__doc__"
    ),
    "a docstring that a method reads of its class": docs(
        "class K:\n 'one'\n def m(self): return self.__doc__\ndef f(): return K().m()"
    ),
    "a docstring that the standard library reads": docs(
        "import inspect\ndef g(): 'one'\ndef f(): return inspect.getdoc(g)"
    ),
    "a docstring that is read by a name in a text": docs(
        "def g(): 'one'\ndef f(): return getattr(g, '__doc__')"
    ),
    "a docstring in a module imported inside the body": (LAZY, {**LAZY, "lazy.py": "def g(): 'two'"}),
    "a docstring of a module": (
        {"app.py": "import deep\ndef g(m): return m.__doc__\ndef f(): return g(deep)", "deep.py": "'one'"},
        {"app.py": "import deep\ndef g(m): return m.__doc__\ndef f(): return g(deep)", "deep.py": "'two'"},
    ),
    "an annotation that is read": notes("g.__annotations__"),
    "an annotation that is read in a signature": notes("inspect.signature(g)"),
    "an annotation that is read as a hint": notes("typing.get_type_hints(g)"),
    "a class that is found among the subclasses of another": below("B.__subclasses__()"),
    "a class that a method finds among the subclasses": below("B.all()"),
    "a class below a subclass": edit(
        "class B: pass\nclass K(B): pass\nclass L(K): n = 1\ndef g(c): return c.__subclasses__()\n"
        "def f(): return g(g(B)[0])",
        "n = 1",
        "n = 2",
    ),
    "a function of the module, found by any name": any_name("globals()[n]()"),
    "a function of the module, in a text that is evaluated": any_name("eval('g()')"),
    "a function of the module, in a text that is run": any_name("exec('g()')"),
    "a function of the module, found in the module itself": any_name("getattr(sys.modules[__name__], n)()"),
    "a class that was made by a call": edit(
        "import types\nK = types.new_class('K', (), {}, lambda ns: ns.update(n=1))\ndef f(): return K.n",
        "n=1",
        "n=2",
    ),
    "a dataclass that was made by a call": edit(
        "from dataclasses import *\nK = make_dataclass('K', [('n', int, 1)])\ndef f(): return K().n",
        ", 1",
        ", 2",
    ),
    "another method of the class of a method": edit(
        "class K:\n def g(self): return 1\n def m(self): return self.g()\nf = K.m", "return 1", "return 2"
    ),
    "a method of a class below that of a method": edit(
        "class B:\n def m(self): return self.g()\nclass K(B):\n def g(self): return 1\nf = B.m",
        "return 1",
        "return 2",
    ),
    "a method of a class below that of an argument": edit(
        "class B: pass\nclass K(B):\n def g(self): return 1\ndef f(b: list[B]): return b[0].g()",
        "return 1",
        "return 2",
    ),
    "which classes an abstract class takes for its own": edit(
        f"{ABSTRACT}S.register(Q)\ndef f(): return isinstance(Q(), S)", "S.register(Q)", ""
    ),
    "which classes an abstract class of the standard library takes for its own": edit(
        f"{ABSTRACT}Sequence.register(Q)\ndef f(): return isinstance(Q(), Sequence)",
        "Sequence.register(Q)",
        "",
    ),
    "a class that is abstract by half, as its class of classes makes it by other means": edit(
        "from abc import *\nclass M(ABCMeta):\n def __new__(m, *of): return type.__new__(m, *of)\n"
        "class K(metaclass=M): n = 1\ndef f(): return K.n",
        "n = 1",
        "n = 2",
    ),
    "the content of an object whose base is written in C": edit(
        "import array\nclass A(array.array): pass\nN = A('i', [1])\ndef f(): return N", "[1]", "[2]"
    ),
    "the class of a path": edit(
        "import pathlib\nN = pathlib.PurePosixPath('a')\ndef f(): return N", "PurePosixPath", "PosixPath"
    ),
    "a method of a path": edit(
        "from pathlib import *\nclass P(PurePosixPath): m = lambda s: 1\nN = P('a')\ndef f(): return N.m()",
        "s: 1",
        "s: 2",
    ),
    "which of two hours of the same name it is": edit(
        "import datetime as d\nN = d.datetime(2020, 1, 1, fold=0)\ndef f(): return N.timestamp()",
        "fold=0",
        "fold=1",
    ),
    "a method that was made by other means": edit(
        "ns = {}\nexec('def m(self): self.n = 1', ns)\nclass K: __init__ = ns['m']\ndef f(): return K().n",
        "n = 1",
        "n = 2",
    ),
}

KEYS = "from engine import query\n@query\ndef q(n: int) -> int: return n\nk, K = q.key, q.key(1)\n"
HASHED = "import attrs\n@attrs.frozen(cache_hash=True)\nclass P: n: str = 'a'\np = P()\ndef f(): return p"
SAME: dict[str, tuple[Files, Files]] = {
    "a class below that of a result": (
        "class B: pass\ndef f() -> B: return B()",
        "class B: pass\nclass K(B): pass\ndef f() -> B: return B()",
    ),
    "keys that code holds, of a query that is defined later": (
        f"{KEYS}def f(): return k(1), K",
        KEYS.replace("@", "@query\ndef p() -> int: return 1\n@") + "def f(): return k(1), K",
    ),
    "a hash that somebody asked for": (HASHED, f"{HASHED}\nhash(p)"),
    "a path that somebody took apart": (
        "from pathlib import Path\nP = Path('a/b')\ndef f(): return P",
        "from pathlib import Path\nP = Path('a/b')\nP.parts, hash(P), P.parent\ndef f(): return P",
    ),
    "an annotation beside a class with fields in the body": (
        "def g(x: int): return x\ndef f():\n class K:\n  a: int = 1\n return K, g",
        "def g(x: str): return x\ndef f():\n class K:\n  a: int = 1\n return K, g",
    ),
    "an annotation beside a class with fields that is imported inside the body": (
        {"app.py": "def g(x: int): return x\ndef f():\n import lazy\n g(1)", "lazy.py": "class K: a: K"},
        {"app.py": "def g(x: str): return x\ndef f():\n import lazy\n g(1)", "lazy.py": "class K: a: K"},
    ),
    "a docstring beside an annotation that is read": (
        "def g(x: int): 'one'\ndef f(): return g.__annotations__",
        "def g(x: int): 'two'\ndef f(): return g.__annotations__",
    ),
}
