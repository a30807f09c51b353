"""Tree: the Python files of a project, one node per directory.

Invariants
    T1  A file that appears or vanishes runs the nodes of its own directory; those above only where the
        directory gets its first Python file or loses its last one.
    T2  What `.gitignore` files name is not part of the project, and is not looked at.
    T3  Links to directories are not followed; links to files are files.
"""

from __future__ import annotations

from attrs import frozen

from engine import each, query
from engine.rules.directories import visible
from engine.rules.files import FileError, kind

MAX_DEPTH = 200  # directories inside each other that are looked at; `directories.glob` has the same limit

ABSENT = ("missing", "dangling link", "not a directory")


@frozen
class Contents:
    """The names in a directory that matter here: Python files and stubs, and directories. Both sorted."""

    files: tuple[str, ...]
    directories: tuple[str, ...]


@query
def contents(directory: str) -> Contents:
    """What a directory holds; nothing where it does not exist. The coming and going of other files ends here.

    Raises FileError "unreadable": then nobody knows what the project is.
    """
    try:
        entries = visible(directory)
    except FileError as error:
        if error.kind in ABSENT:
            return Contents((), ())
        raise
    files, directories = [], []
    for entry in entries:
        if entry.kind == "directory":
            directories.append(entry.name)
        elif entry.name.endswith((".py", ".pyi")):
            reached = entry.kind if entry.kind != "symlink" else kind(join(directory, entry.name))
            if reached == "file":
                files.append(entry.name)
    return Contents(tuple(files), tuple(directories))


@query
def files_in(directory: str) -> tuple[str, ...]:
    """The Python files and stubs in one directory, not below it, sorted."""
    return tuple(join(directory, name) for name in contents(directory).files)


@query
def python_directories() -> tuple[str, ...]:
    """The directories that hold Python files themselves, sorted. The root is ""."""
    return tuple(sorted(_directories_below("")))


@query
def python_files() -> tuple[str, ...]:
    """All Python files and stubs of the project, sorted."""
    return tuple(sorted(path for paths in each(files_in, python_directories()) for path in paths))


@query
def _directories_below(directory: str) -> tuple[str, ...]:
    found = contents(directory)
    own = (directory,) if found.files else ()
    if directory.count("/") >= MAX_DEPTH:
        return own
    below = each(_directories_below, (join(directory, name) for name in found.directories))
    return own + tuple(path for paths in below for path in paths)


def join(directory: str, name: str) -> str:
    """The path of an entry; the root directory is ""."""
    return f"{directory}/{name}" if directory else name


def parent(path: str) -> str:
    """The directory of a path."""
    return path.rpartition("/")[0]
