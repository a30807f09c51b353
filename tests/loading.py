"""Modules that are written, imported and gone again, and the parts of their code."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.code.fingerprint import code_fingerprint, code_parts

NAMES = ("app", "helpers", "deep", "pkg", "pkg.inner", "pkg.inner.sub", "lazy", "lazier")
counter = itertools.count()
Files = str | dict[str, str]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of one case are gone before the next; files look older than the process."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("engine.code.fingerprint.STARTED_NS", time.time_ns() + 10**15)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    forget()


def forget() -> None:
    for name in NAMES:
        sys.modules.pop(name, None)


def load(folder: Path, files: Files) -> Any:
    """Write `files` (a text is `app.py`) to a new folder, and import `app` from there."""
    forget()
    place = folder / f"at{next(counter)}"
    for name, text in ({"app.py": files} if isinstance(files, str) else files).items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    sys.path[:] = [str(place), *(one for one in sys.path if not one.startswith(str(folder)))]
    importlib.invalidate_caches()
    return importlib.import_module("app")


def check(folder: Path, before: Files, after: Files, *, same: bool) -> None:
    first = listing(load(folder, before).f)
    second = listing(load(folder, after).f)
    changed = sorted(part[:2] for part in first ^ second)
    assert (not changed) is same, changed


def listing(function: Callable[..., object]) -> set[tuple[str, str, bytes]]:
    parts = code_parts(function)
    assert parts == code_parts(function), "two walks of the same code differ"
    assert code_fingerprint(function) == code_fingerprint(function)
    return {(part.kind, part.name, part.digest) for part in parts}


def names(function: Callable[..., object], kind: str | None = None) -> set[str]:
    return {part.name for part in code_parts(function) if kind in (None, part.kind)}
