"""Edits of functions and constants that must be seen in the fingerprint of a module's function `f`."""

from __future__ import annotations

import textwrap

from tests.loading import Files

QUERY = """
import inspect
class Info:
    def __init__(self, function):
        self.name, self.made_by = f"{function.__module__}:{function.__qualname__}", lambda: [function]
        self.parameters = tuple(inspect.signature(function).parameters.values())
class Query:
    def __init__(self, function):
        self.__wrapped__, self.__query__ = function, Info(function)
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
