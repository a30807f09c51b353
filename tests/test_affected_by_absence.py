"""Who names a file that is gone is affected by that, however the import is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Engine
from engine.rules.python import affected

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
