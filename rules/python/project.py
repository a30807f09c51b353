"""Project: the table of the Python files of a project, whose paths are the source keys of all others."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from engine import table
from engine.rules.python.tree import files_in, python_directories


@frozen
class File:
    """A Python file or stub."""

    path: str


@table(each=python_directories, index=("path",), identity=("path",))
def project_files(directory: str) -> Iterable[File]:
    """The Python files and stubs of the project, one directory at a time."""
    return map(File, files_in(directory))
