"""An edit that can change an answer changes the fingerprint, and no other does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import (
    code_edits,
    code_edits_asked,
    code_edits_of_modules,
    code_edits_of_objects,
    code_newer,
    code_newer_same,
)
from tests.code_edits import QUERY
from tests.loading import Files, check, fresh

__all__ = ["fresh"]  # a fixture

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
    "another function beside a named tuple": (
        "from typing import NamedTuple\nclass P(NamedTuple):\n x: int\ndef f(): return P(1)",
        "from typing import NamedTuple\nclass P(NamedTuple):\n x: int\ndef f(): return P(1)\ndef g(): pass",
    ),
    "another function beside a class of attrs": (
        "import attrs\n@attrs.frozen\nclass P:\n x = attrs.field(factory=list)\ndef f(): return P()",
        "import attrs\n@attrs.frozen\nclass P:\n x = attrs.field(factory=list)\ndef f(): return P()\nn = 2",
    ),
    "another function beside a struct": (
        "import struct\nS = struct.Struct('<I')\ndef f(): return S",
        "import struct\nS = struct.Struct('<I')\ndef f(): return S\ndef g(): return 2",
    ),
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
    "what a query says of a parameter": (
        QUERY + "@Query\ndef q(n: int = 1): return n\ndef f(): return q()",
        QUERY + "@Query\ndef q(n: float = 1): return n\ndef f(): return q()",
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
    "an edit beside a mark": (
        "N = object()\ndef f(x=N): return x is N",
        "N = object()\ndef f(x=N): return x is N\ndef g(): return 2",
    ),
    "where the module lies": ("def f(): return __file__", "def f(): return __file__"),
    "a class that is used before it is looked at": (
        "from enum import Flag\nclass C(Flag):\n A = 1\n B = 2\ndef f(): return C",
        "from enum import Flag\nclass C(Flag):\n A = 1\n B = 2\nC.A | C.B\ndef f(): return C",
    ),
}

DIFFERENT = {
    **code_edits.DIFFERENT,
    **code_edits_of_modules.DIFFERENT,
    **code_edits_of_objects.DIFFERENT,
    **code_edits_asked.DIFFERENT,
    **code_newer.here(code_newer.DIFFERENT),
}
SAME |= code_edits_asked.SAME
SAME |= code_newer.here(code_newer_same.SAME)


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
