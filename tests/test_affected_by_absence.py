"""Who names a file that is gone is affected by that, however the import is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Engine
from engine.rules.python import affected, imports

IMPORTERS = {
    "app.py": "import pkg.gone",
    "late.py": "def load():\n    from pkg import gone",
    "star.py": "from pkg.gone import *",
    "pkg/beside.py": "from .gone import f",
    "pkg/whole.py": "from . import gone",
    "pkg/sub/one.py": "from ..gone import f",
    "pkg/sub/two.py": "from .. import gone",
    "pkg/sub/deep/three.py": "from ...gone import f",
    "pkg/sub/deep/four.py": "from ... import gone",
    "other/far.py": "from pkg.gone import f",
}
OTHERS = {
    "pkg/sub/none.py": "from .gone import f\nfrom . import gone",
    "other/none.py": "from ..gone import f\nfrom .. import gone",
    "top.py": "from .gone import f",
    "pkg/sub/deep/none.py": "from ..gone import f\nimport gone",
}
PACKAGES = ("pkg", "pkg/sub", "pkg/sub/deep", "other")
BELOW = {
    "app.py": "import pkg.sub.gone",
    "pkg/far.py": "from .sub.gone import f",
    "pkg/sub/beside.py": "from .gone import f",
    "pkg/other/across.py": "from ..sub.gone import f",
    "pkg/other/whole.py": "from ..sub import gone",
}


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


def reached(db: Engine, path: str) -> set[str]:
    return {one.symbol for one in db.get(affected, (path,)).files} - {path}


@pytest.mark.parametrize(
    ("gone", "importers"),
    [
        ("pkg/gone.py", IMPORTERS),
        ("pkg/gone.pyi", IMPORTERS),
        ("pkg/gone/__init__.py", IMPORTERS),
        ("pkg/sub/gone.py", BELOW),
        ("pkg/sub/__init__.py", {"pkg/sub/inner.py": "from . import f", "pkg/up.py": "from .sub import f"}),
    ],
)
def test_a_file_that_goes_affects_all_who_named_it_and_nobody_else(
    gone: str, importers: dict[str, str], tmp_path: Path
) -> None:
    write(tmp_path, {f"{one}/__init__.py": "" for one in (*PACKAGES, "pkg/other")})
    write(tmp_path, {gone: "def f(): pass", **importers})
    if importers is IMPORTERS:
        write(tmp_path, OTHERS)
    with Engine(None, root=tmp_path) as db:
        before = reached(db, gone)
        assert before >= importers.keys()
        assert not before & OTHERS.keys()
        (tmp_path / gone).unlink()
        db.sync()
        after = reached(db, gone)
        assert after >= importers.keys()
        assert not after & OTHERS.keys()


def test_a_star_import_rests_on_the_submodules_that_a_package_lists_also_when_they_go(tmp_path: Path) -> None:
    """`from pkg import *` imports the names of `__all__` that the package has not: its submodules."""
    write(
        tmp_path,
        {
            "pkg/__init__.py": "from pkg.own import own\n__all__ = ['gone', 'own']",
            "pkg/gone.py": "def f(): pass",
            "pkg/own.py": "def own(): pass",
            "pkg/other.py": "",
            "pkg/sub/__init__.py": "from .. import *",
            "app.py": "from pkg import *",
        },
    )
    with Engine(None, root=tmp_path) as db:
        stars = {"app.py", "pkg/sub/__init__.py"}
        assert reached(db, "pkg/gone.py") == stars
        assert reached(db, "pkg/own.py") == {"pkg/__init__.py", *stars}  # by what the package imports itself
        assert reached(db, "pkg/other.py") == set()
        targets = [(row.name, row.target) for row in db.get(imports.of, "app.py")]
        assert sorted(targets) == [("*", "pkg/__init__.py"), ("gone", "pkg/gone.py")]
        (tmp_path / "pkg" / "gone.py").unlink()
        db.sync()
        assert reached(db, "pkg/gone.py") == stars
        assert reached(db, "pkg/missing.py") == set()


@pytest.mark.parametrize(
    "importing",
    [
        "from pkg.sub._fast import f",
        "import pkg.sub._fast",
        "try:\n    from ..pkg.sub import _fast, more\nexcept ImportError: pass",
        "from pkg.sub import names",
        "import pkg.sub.names",
    ],
)
def test_what_has_no_file_still_runs_the_packages_around_it(importing: str, tmp_path: Path) -> None:
    """A compiled module cannot be seen, but Python imports the packages that it lies in first."""
    write(
        tmp_path,
        {
            "pkg/__init__.py": "import base",
            "pkg/sub/__init__.py": "",
            "pkg/sub/names/one.py": "",
            "pkg/beside.py": "from .sub._fast import f",
            "base.py": "",
            "tools/app.py": importing,
        },
    )
    with Engine(None, root=tmp_path) as db:
        assert reached(db, "base.py") == {"pkg/__init__.py", "tools/app.py"}
        assert reached(db, "pkg/sub/__init__.py") == {"pkg/beside.py", "tools/app.py"}


def test_what_a_module_makes_below_itself_rests_on_its_file(tmp_path: Path) -> None:
    """As `six.moves` does, copied into a package."""
    write(
        tmp_path,
        {
            "pkg/__init__.py": "",
            "pkg/six.py": "",
            "pkg/user.py": "from .six.moves import range",
            "app.py": "import pkg.six.moves.urllib",
        },
    )
    with Engine(None, root=tmp_path) as db:
        assert reached(db, "pkg/six.py") == {"pkg/user.py", "app.py"}
