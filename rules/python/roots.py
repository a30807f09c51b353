"""Roots: where the absolute imports of a project start, as the host, its settings or its build say.

Invariants
    O1  What is said more strongly replaces the rest: the host, the environment, engine.toml, [tool.engine] of
        pyproject.toml. Nothing said: what the build and pytest import from, then the root, then `src`.
    O2  Settings are files like others: an edit of them that leaves the roots as they are ends here.
    O3  A setting that is no list of folders is an error of every import, until it is corrected: without its
        roots the answers would be wrong, and nobody would know.
"""

from __future__ import annotations

import os
import posixpath
import tomllib
from collections.abc import Iterator
from typing import Any

from engine import BadSettings, input, query
from engine.rules.env import variable
from engine.rules.files import FileError, read_text
from engine.rules.python.tree import parent

SETTING = "source_roots"
VARIABLE = "ENGINE_SOURCE_ROOTS"
OWN, PROJECT = "engine.toml", "pyproject.toml"
USUAL = ("", "src")

# Where tools are told what to import from, below [tool] of pyproject.toml; "" is a key too.
FOLDERS = (
    ("setuptools", "packages", "find", "where"),
    ("setuptools", "package-dir", ""),
    ("hatch", "build", "targets", "wheel", "sources"),
    ("poetry", "packages", "from"),
    ("pdm", "build", "package-dir"),
    ("uv", "build-backend", "module-root"),
    ("maturin", "python-source"),
    ("pytest", "ini_options", "pythonpath"),
)
PACKAGES = ("hatch", "build", "targets", "wheel", "packages")  # folders that lie in one


@input
def source_roots() -> tuple[str, ...] | None:
    """The directories that absolute imports start from, as the host says it; None: see `import_roots`.

    In order, relative to the engine's root ("" itself): `db.set(source_roots.key(), ("lib", "tools"))`.
    """
    return None


@query
def import_roots() -> tuple[str, ...]:
    """The directories that absolute imports start from, in order, relative to the engine's root ("" itself).

    Raises `BadSettings`.
    """
    said = source_roots()
    if said is not None:
        return said
    text = variable(VARIABLE)
    if text:
        return _checked([part for part in text.split(os.pathsep) if part], f"environment {VARIABLE}")
    own = _document(OWN)
    if SETTING in own:
        return _checked(own[SETTING], OWN)
    project = _document(PROJECT)
    tool = project.get("tool")
    settings = tool.get("engine") if isinstance(tool, dict) else None
    if isinstance(settings, dict) and SETTING in settings:
        return _checked(settings[SETTING], PROJECT)
    return tuple(dict.fromkeys([*_built_from(tool), *USUAL]))


def _document(path: str) -> dict[str, Any]:
    """A TOML file of the root; empty where there is none, or nothing in it can be meant."""
    try:
        text = read_text(path)
    except FileError:
        return {}
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        if SETTING in text:
            raise BadSettings(file=path, cause=f"it is not TOML: {error}") from None
        return {}


def _checked(value: object, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise _bad(place, value, "it is no list of folders")
    return tuple(dict.fromkeys([_folder(one, place) for one in value]))


def _folder(value: object, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise _bad(place, value, "it is no text that names a folder")
    inside = _inside(value)
    if inside is None:
        raise _bad(place, value, "it is not below the root")
    return inside


def _bad(place: str, value: object, cause: str) -> BadSettings:
    return BadSettings(
        origin=place,
        key=SETTING,
        value=repr(value),
        cause=cause,
        hint='Name folders relative to the root, in order, as in ["lib", "."].',
    )


def _inside(folder: str) -> str | None:
    """A folder as paths of the project are written; None where it is not below the root."""
    if folder.startswith("/") or ".." in folder.split("/") or "\0" in folder:
        return None
    path = posixpath.normpath(folder)
    return "" if path == "." else path


def _built_from(tool: object) -> Iterator[str]:
    """The folders that tools import from; what says no folder of the project is their affair."""
    folders = [one for names in FOLDERS for one in _texts(tool, names)]
    folders += [parent(one.rstrip("/")) or "." for one in _texts(tool, PACKAGES)]
    for folder in folders:
        inside = _inside(folder) if folder else None
        if inside is not None:
            yield inside


def _texts(value: object, names: tuple[str, ...]) -> Iterator[str]:
    """The texts at the end of a way through tables; of a list, of all that is in it."""
    if isinstance(value, list):
        for one in value:
            yield from _texts(one, names)
    elif isinstance(value, dict) and names:
        yield from _texts(value.get(names[0]), names[1:])
    elif isinstance(value, str) and not names:
        yield value
