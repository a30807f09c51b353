"""Edits of what a function reaches by modules, and imports in its body, in the form of `code_edits`."""

from __future__ import annotations

from tests.loading import Files

PARSER = "import argparse\ndef made(): return argparse.ArgumentParser('a')\nP = made()"


def of_helpers(app: str) -> tuple[Files, Files]:
    """An edit of another module, which makes an object that no bytes describe."""
    files = {"app.py": app, "helpers.py": PARSER}
    return files, {**files, "helpers.py": PARSER.replace("'a'", "'b'")}


DIFFERENT: dict[str, tuple[Files, Files]] = {
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
    "an object that no bytes describe, made in another module": of_helpers(
        "from helpers import P\ndef f(): return P"
    ),
    "an object that no bytes describe, of another module": of_helpers(
        "import helpers\ndef f(): return helpers.P"
    ),
    "an object that no bytes describe, made by another module": of_helpers(
        "from helpers import made\nP = made()\ndef f(): return P"
    ),
    "an object that no bytes describe, which holds what another module made": (
        {
            "app.py": "import string, deep\nP = string.Formatter()\nP.n = deep.n\ndef f(): return P.n",
            "deep.py": "n = 1",
        },
        {
            "app.py": "import string, deep\nP = string.Formatter()\nP.n = deep.n\ndef f(): return P.n",
            "deep.py": "n = 2",
        },
    ),
    "which of two marks it is": (
        "A, B = object(), object()\nN = A\ndef f(): return N is A",
        "A, B = object(), object()\nN = B\ndef f(): return N is A",
    ),
}
