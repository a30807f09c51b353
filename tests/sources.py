"""The modules of this checkout, as text and as trees."""

from __future__ import annotations

import ast
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
FOLDERS = ("engine", "store", "rules", "benchmarks", "examples", "tests")


def below(*folders: str) -> list[Path]:
    """The modules of folders; of `engine` those that lie in it, not behind its links."""
    links = [CHECKOUT / "engine" / "store", CHECKOUT / "engine" / "rules"]
    found = [path for folder in folders for path in sorted((CHECKOUT / folder).rglob("*.py"))]
    return [path for path in found if not any(path.is_relative_to(link) for link in links)]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def shown(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()
