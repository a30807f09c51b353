"""Module files: the module of a file, under a name that its place says, and where it may import from.

Invariants
    M1  The name of a file's module depends on its place below the root alone, because names of queries
        are identities in the store: dotted path below the root; inside a package, the package's name.
    M2  A user's module never takes a name of the standard library, of this package or of what it imports:
        it is called `local.` and its own name then. Nor does a folder of theirs shadow them.
    M3  A module that failed is not left behind half made.
    M4  What a module imports does not depend on which others were loaded before: where two folders have a
        module of one name, the second one that needs its own is refused.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import stat
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

from engine.errors import BadModule
from engine.modules.bytecode import Uncached, current_spec
from engine.modules.trouble import nearest, translate
from engine.script import as_text

LOCAL: Final = "local"
RESERVED: Final = frozenset(
    "__main__ attr attrs blake3 click engine msgspec pygments rich sqlite_utils".split()  # noqa: SIM905 -- a list of strings takes seven lines
)


_IMPORTABLE: Final[dict[str, None]] = {}  # directories that were put on the path, or were there


def load_file(file: Path, root: Path) -> ModuleType:
    """The module of a file, loaded once. Raises `BadModule`."""
    if os.path.isfile(file / "__init__.py"):
        file = file / "__init__.py"
    _check_file(file)
    base, name = _name_of(file, root)
    loaded = sys.modules.get(name)
    if loaded is not None:
        if _same_file(loaded, file):
            return loaded
        raise BadModule(
            module=file,
            cause=f"another module is called {name}: {getattr(loaded, '__file__', None) or 'a built-in one'}",
            hint="Rename one of them: the names of their queries would be the same.",
        )
    before = set(sys.modules)
    if base != root:
        make_importable(base)
    make_importable(root, last=True)
    try:
        if base == file.parent:
            _check_neighbours(file)
        if os.path.isfile(file.parent / "__init__.py"):
            return _import_from(base, name, file)
        return _execute(file, name)
    except BadModule:
        forget_since(before)
        raise
    except BaseException as error:  # a module may raise anything, sys.exit included
        forget_since(before)
        translate(error, str(file))


def make_importable(directory: Path, *, last: bool = False) -> None:
    """Put a directory on the path: after the standard library, before what is installed (M2)."""
    text = str(directory)
    _IMPORTABLE[text] = None
    if text in sys.path:
        return
    installed = (n for n, entry in enumerate(sys.path) if entry.endswith(("site-packages", "dist-packages")))
    at = next(installed, len(sys.path))
    if last:
        at = len(sys.path)
    sys.path.insert(at, text)
    importlib.invalidate_caches()


def forget_since(before: set[str]) -> None:
    """Take back what a failed import left (M3), but nothing that was installed."""
    from engine.code.origin import file_in  # late: of no use where nothing fails

    for name in set(sys.modules) - before:
        file = file_in(sys.modules[name]) or ""
        if "site-packages" not in file and not file.startswith(sys.base_prefix):
            sys.modules.pop(name, None)


def _check_file(file: Path) -> None:
    cause, hint = "", None
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            cause, hint = "it is not a file", "Name a .py file, or a folder with __init__.py."
        elif file.suffix != ".py":
            cause, hint = "it is not a Python file", "Name a .py file."
        else:
            file.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        near = nearest(file.name, [one.name for one in file.parent.glob("*.py")])
        cause = "there is no such file"
        hint = f"Did you mean {file.parent / near}?" if near else "Check the path."
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
    if cause:
        raise BadModule(module=file, cause=cause, hint=hint)


def _name_of(file: Path, root: Path) -> tuple[Path, str]:
    """The directory that a module is imported from, and its name (M1, M2)."""
    whole = file.parent if file.name == "__init__.py" else file.with_suffix("")
    base = whole.parent
    while os.path.isfile(base / "__init__.py"):
        base = base.parent
    in_package = base != whole.parent or file.name == "__init__.py"
    below = whole.relative_to(base)
    if not in_package:
        below = _relative(whole, root) or below
    steps = [as_text(step).replace(".", "_") for step in below.parts]
    clashes = steps[0] in ("engine", LOCAL) or (
        len(steps) == 1 and (steps[0] in RESERVED or steps[0] in sys.stdlib_module_names)
    )
    if clashes and in_package and steps[0] != LOCAL:
        raise BadModule(
            module=file,
            cause=f"it is in a package called {steps[0]}, and that name is taken",
            hint="Rename the folder, or remove its __init__.py.",
        )
    return base, ".".join([LOCAL, *steps] if clashes else steps)


def _relative(whole: Path, root: Path) -> Path | None:
    for one, other in ((whole, root), (Path(os.path.realpath(whole)), Path(os.path.realpath(root)))):
        if one.is_relative_to(other):
            return one.relative_to(other)
    return None


def _check_neighbours(file: Path) -> None:
    """Refuse a module if the name of a neighbour that it imports means another file by now (M4)."""
    folder = str(file.parent)
    others = (_names_in(other) for other in _IMPORTABLE if other != folder and other in sys.path)
    shared = _names_in(folder).intersection(set().union(*others)) - sys.stdlib_module_names - RESERVED
    if not shared - {file.stem}:
        return
    for name in sorted(shared & _imported_by(file)):
        loaded = sys.modules.get(name)
        spec = None if loaded is not None else PathFinder.find_spec(name)
        meant = getattr(loaded, "__file__", None) if spec is None else spec.origin
        places = (os.path.join(folder, f"{name}.py"), os.path.join(folder, name, "__init__.py"))
        if meant is not None and os.path.realpath(meant) not in map(os.path.realpath, places):
            raise BadModule(
                module=file,
                cause=f"it imports {name}, and another module is called so: {meant}",
                hint=f"Rename one. Or give their folders an __init__.py, and say: from . import {name}.",
            )


def _names_in(folder: str) -> set[str]:
    """Modules and packages that can be imported from a directory."""
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    packages = {one for one in names if os.path.isfile(os.path.join(folder, one, "__init__.py"))}
    return packages | {one.removesuffix(".py") for one in names if one.endswith(".py")}


def _imported_by(file: Path) -> set[str]:
    """The first parts of what a file imports, wherever in it."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, ValueError, SyntaxError, RecursionError):
        return set()  # told when it is loaded
    found = {one.name for node in nodes if isinstance(node, ast.Import) for one in node.names}
    found |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in found}


def _execute(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file, loader=Uncached(name, str(file)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Neighbours that import it by its short name get the same module, not a second one (M1).
    short = file.stem
    if short not in sys.stdlib_module_names and short not in RESERVED:
        sys.modules.setdefault(short, module)
    spec.loader.exec_module(module)
    return sys.modules.get(name, module)


def _import_from(base: Path, name: str, file: Path) -> ModuleType:
    """Import a module of a package, the package from `base` whatever else is importable."""
    top = name.partition(".")[0]
    if top not in sys.modules:
        spec = current_spec(top, [str(base)])
        if spec is not None and spec.loader is not None:
            package = importlib.util.module_from_spec(spec)
            sys.modules[top] = package
            spec.loader.exec_module(package)
    module = importlib.import_module(name)
    if not _same_file(module, file):
        raise BadModule(
            module=file,
            cause=f"another module is called {name}: {getattr(module, '__file__', None)}",
            hint="Rename one of them.",
        )
    return module


def _same_file(module: ModuleType, file: Path) -> bool:
    loaded_from = getattr(module, "__file__", None)
    return loaded_from is not None and os.path.realpath(loaded_from) == os.path.realpath(file)
