"""Modules: loading rule modules by file path, dotted name or entry point, and finding queries in them.

Invariants
    M1  Only what is named is imported: on the command line, in the project's file, or by an installed
        distribution's entry point in the group `engine.rules`.
    M2  The name of a file's module depends on its place below the root alone, because names of queries
        are identities in the store: dotted path below the root; inside a package, the package's name.
    M3  A user's module never takes a name of the standard library, of this package or of what it imports:
        it is called `local.` and its own name then. Nor does a folder of theirs shadow them.
    M4  Whatever goes wrong in a module is `BadModule` with the user's frames only; a module that failed
        is not left behind half made.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from engine.errors import BadModule, EngineError, UnknownQuery
from engine.query import REGISTRY, Query, QueryInfo
from engine.settings import Settings, looks_like_file
from engine.usertrace import frames_of_user, where

if TYPE_CHECKING:
    from engine.tables import CollectionInfo

GROUP: Final = "engine.rules"
LOCAL: Final = "local"
RESERVED: Final = frozenset(
    "__main__ attr attrs blake3 click engine msgspec pygments rich sqlite_utils".split()  # noqa: SIM905 -- a list of strings takes seven lines
)


def load_query(text: str, settings: Settings) -> Query[..., Any]:
    """The query that `MODULE:QUERY` or, from the configured rule modules, `QUERY` names.

    MODULE is a file (`path/to/rules.py`), a dotted name, or the name of an entry point in the group
    `engine.rules`; QUERY may be an attribute path (`Class.method`). Raises `BadModule`, `UnknownQuery`.
    """
    module, colon, name = text.rpartition(":")
    if colon and module and name:
        return _query_in(load_module(module, settings), name, text)
    text = text.strip(":")
    if looks_like_file(text):
        raise UnknownQuery(
            name=text,
            cause="no query is named",
            defined=_listed(queries_of(load_module(text, settings))),
            hint=f"Say {text}:QUERY.",
        )
    return _query_of_rules(text, settings)


def load_module(text: str, settings: Settings) -> ModuleType:
    """The module of a file path, a dotted name, or an entry point of the group `engine.rules`."""
    if looks_like_file(text):
        return _load_file(Path(os.path.abspath(Path(text).expanduser())), settings)
    if text.startswith(".") or "" in text.split("."):
        raise BadModule(module=text, cause="it is neither a file nor a dotted name")
    return _load_dotted(text, settings)


def load_rules(settings: Settings) -> list[ModuleType]:
    """The configured rule modules, in order."""
    return [load_module(text, settings) for text in settings.rules]


def queries_of(module: ModuleType) -> dict[str, Query[..., Any]]:
    """The queries and inputs that a module defines or imports, by attribute path, sorted."""
    found: dict[str, Query[..., Any]] = {}
    for name, value in sorted(vars(module).items()):
        if _is_query(value):
            found[name] = value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            methods = ((each, vars(value)[each]) for each in sorted(vars(value)))
            found |= {f"{name}.{each}": method for each, method in methods if _is_query(method)}
    return found


def find_defined(name: str) -> Query[..., Any] | None:
    """The query of this name in the store's sense (`module:qualified name`), if its module is loaded."""
    info = REGISTRY.get(name)
    return None if info is None else info.wrapper


def collection_of(query: object) -> CollectionInfo | None:
    """The table or fold that goes by the name of a query; None for any other query."""
    found = getattr(query, "__collection__", None)
    if found is None:
        info = getattr(query, "__query__", None)
        known = None if info is None else REGISTRY.get(f"{info.name}.members")
        if known is not None and known.collection.kind == "table":
            found = known.collection
        elif info is not None and info.collection is not None and info.collection.value is info:
            found = info.collection
    return cast("CollectionInfo | None", found)


# -- finding a query ---------------------------------------------------------------------------


def _is_query(value: object) -> bool:
    return isinstance(getattr(value, "__query__", None), QueryInfo)


def _query_in(module: ModuleType, name: str, text: str) -> Query[..., Any]:
    here: Any = module
    for step in name.split("."):
        try:
            here = vars(here)[step] if isinstance(here, ModuleType) else getattr(here, step)
        except (KeyError, AttributeError):
            _no_such_query(module, name, text)
    if not _is_query(here):
        raise UnknownQuery(
            name=text,
            cause=f"{name} is of type {type(here).__name__}, not a query",
            hint="Decorate the function with @query or @input.",
        )
    found: Query[..., Any] = here
    return found


def _no_such_query(module: ModuleType, name: str, text: str) -> NoReturn:
    defined = queries_of(module)
    close = get_close_matches(name, defined, n=1)
    raise UnknownQuery(
        name=text,
        module=getattr(module, "__file__", None) or module.__name__,
        defined=_listed(defined),
        hint=f"Did you mean {close[0]}?" if close else "Name one of the queries that the module defines.",
    )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (", ".join(names[:20]) + more) or "no queries"


def _query_of_rules(name: str, settings: Settings) -> Query[..., Any]:
    found: dict[int, tuple[str, Query[..., Any]]] = {}
    defined: list[str] = []
    for module in load_rules(settings):
        queries = queries_of(module)
        defined += queries
        base, _, way = name.rpartition(".")
        looked_up = getattr(queries.get(base), way, None)  # `definitions.where`, of a table
        query = queries.get(name) or (looked_up if _is_query(looked_up) else None)
        if query is not None:
            found[id(query)] = (f"{module.__name__}:{name}", query)
    if len(found) > 1:
        raise UnknownQuery(
            name=name,
            cause="several rule modules define it: " + ", ".join(full for full, _ in found.values()),
            hint="Say MODULE:QUERY.",
        )
    if found:
        return next(iter(found.values()))[1]
    points = _entry_points()
    if name in points:
        value = _load_point(name, points[name])
        if _is_query(value):
            return cast("Query[..., Any]", value)
    close = get_close_matches(name, [*defined, *points], n=1)
    hint = f"Did you mean {close[0]}?" if close else None
    if not settings.rules:
        hint = hint or 'Say MODULE:QUERY, or name your rule modules: [tool.engine] rules = ["rules.py"].'
    raise UnknownQuery(
        name=name,
        searched=", ".join(settings.rules) or "no rule modules are configured",
        hint=hint,
        **({"defined": _listed(defined)} if defined else {}),
    )


def _entry_points() -> dict[str, Any]:
    from importlib.metadata import entry_points  # 30 ms; only asked for names that nothing else explains

    return {point.name: point for point in entry_points(group=GROUP)}


def _load_point(name: str, point: Any) -> Any:
    before = set(sys.modules)
    try:
        return point.load()
    except BaseException as error:  # a module may raise anything, sys.exit included
        _forget_since(before)
        _translate(error, name, f"the entry point {name} = {point.value} of {GROUP}")


# -- dotted names ------------------------------------------------------------------------------


def _load_dotted(name: str, settings: Settings) -> ModuleType:
    top = name.partition(".")[0]
    if top not in sys.stdlib_module_names and top not in RESERVED:
        file = _local_file(name, settings.path)
        if file is not None:
            return _load_file(file, settings)
    before = set(sys.modules)
    for directory in reversed(settings.path):
        _make_importable(directory)
    try:
        return importlib.import_module(name)
    except BaseException as error:  # as above
        _forget_since(before)
        missing = isinstance(error, ModuleNotFoundError) and _is_part_of(error.name, name)
        if not missing:
            _translate(error, name, name)
    file = _local_file(name.removeprefix(f"{LOCAL}."), settings.path)
    if file is not None:
        return _load_file(file, settings)
    points = _entry_points()
    if name in points:
        value = _load_point(name, points[name])
        if isinstance(value, ModuleType):
            return value
    raise BadModule(
        module=name,
        cause="there is no such module",
        searched=", ".join(map(str, settings.path)) + ", and what is installed",
        hint=_hint_for_missing(name, points),
    )


def _hint_for_missing(name: str, points: Iterable[str]) -> str:
    close = get_close_matches(name, points, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return "Name a file (path/to/rules.py), a dotted name below the root, or an installed module."


def _is_part_of(missing: str | None, name: str) -> bool:
    return missing is not None and (name == missing or name.startswith(f"{missing}."))


def _local_file(name: str, path: Iterable[Path]) -> Path | None:
    steps = name.split(".")
    for directory in path:
        plain = directory.joinpath(*steps[:-1], f"{steps[-1]}.py")
        package = directory.joinpath(*steps, "__init__.py")
        for file in (package, plain):
            if file.is_file():
                return file
    return None


# -- files -------------------------------------------------------------------------------------


class _Fresh(SourceFileLoader):
    """Compiles the source every time: bytecode is matched by size and second, so it can be outdated."""

    def path_stats(self, path: str) -> Any:
        raise OSError


def _load_file(file: Path, settings: Settings) -> ModuleType:
    if file.is_dir() and (file / "__init__.py").is_file():
        file = file / "__init__.py"
    _check_file(file)
    base, name = _name_of(file, settings.root)
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
    if base != settings.root:
        _make_importable(base)
    _make_importable(settings.root, last=True)
    try:
        if (file.parent / "__init__.py").is_file():
            return _import_from(base, name, file)
        return _execute(file, name)
    except BadModule:
        _forget_since(before)
        raise
    except BaseException as error:  # as above
        _forget_since(before)
        _translate(error, str(file), name)


def _check_file(file: Path) -> None:
    cause, hint = "", None
    try:
        if not file.exists():
            near = get_close_matches(file.name, [one.name for one in file.parent.glob("*.py")], n=1)
            cause = "there is no such file"
            hint = f"Did you mean {file.parent / near[0]}?" if near else "Check the path."
        elif not file.is_file():
            cause, hint = "it is not a file", "Name a .py file, or a folder with __init__.py."
        elif file.suffix != ".py":
            cause, hint = "it is not a Python file", "Name a .py file."
        else:
            file.open("rb").close()
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
    if cause:
        raise BadModule(module=file, cause=cause, hint=hint)


def _name_of(file: Path, root: Path) -> tuple[Path, str]:
    """The directory that a module is imported from, and its name (M2, M3)."""
    whole = file.parent if file.name == "__init__.py" else file.with_suffix("")
    base = whole.parent
    while (base / "__init__.py").is_file():
        base = base.parent
    in_package = base != whole.parent or file.name == "__init__.py"
    below = whole.relative_to(base)
    if not in_package:
        below = _relative(whole, root) or below
    steps = [step.replace(".", "_") for step in below.parts]
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


def _execute(file: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file, loader=_Fresh(name, str(file)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Neighbours that import it by its short name get the same module, not a second one (M2).
    short = file.stem
    if short not in sys.stdlib_module_names and short not in RESERVED:
        sys.modules.setdefault(short, module)
    spec.loader.exec_module(module)
    return sys.modules.get(name, module)


def _import_from(base: Path, name: str, file: Path) -> ModuleType:
    """Import a module of a package, the package from `base` whatever else is importable."""
    top = name.partition(".")[0]
    if top not in sys.modules:
        spec = PathFinder.find_spec(top, [str(base)])
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


def _make_importable(directory: Path, *, last: bool = False) -> None:
    """Put a directory on the path: after the standard library, before what is installed (M3)."""
    text = str(directory)
    if text in sys.path:
        return
    installed = (n for n, entry in enumerate(sys.path) if entry.endswith(("site-packages", "dist-packages")))
    at = next(installed, len(sys.path))
    if last:
        at = len(sys.path)
    sys.path.insert(at, text)
    importlib.invalidate_caches()


def _forget_since(before: set[str]) -> None:
    """Take back what a failed import left (M4), but nothing that was installed."""
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if "site-packages" not in file and not file.startswith(sys.base_prefix):
            sys.modules.pop(name, None)


# -- what went wrong ---------------------------------------------------------------------------


def _translate(error: BaseException, shown: str, name: str) -> NoReturn:
    """Raise what a failed import means to the user. Interrupts pass."""
    if isinstance(error, SyntaxError) and error.filename:
        raise BadModule(
            module=shown,
            cause=f"{type(error).__name__}: {error.msg}",
            at=f"{error.filename}:{error.lineno}",
            hint="Correct the line." if not error.text else f"The line is: {error.text.strip()[:200]}",
        ) from None
    if isinstance(error, SystemExit):
        raise BadModule(
            module=shown,
            cause=f"it ended the program: SystemExit({error.code!r})",
            at=where(error),
            hint='Put what runs as a script below `if __name__ == "__main__":`.',
        ) from None
    if not isinstance(error, Exception):
        raise error
    cycle = _cycle(error)
    if len(cycle) > 2:
        raise BadModule(
            module=shown,
            cause="rule modules import each other in a circle",
            cycle=" -> ".join(cycle),
            at=where(error),
            hint="Move what both need to a third module, or import inside the function that uses it.",
        ) from None
    if isinstance(error, EngineError):
        error.add_note(f"while {shown} was loaded, at {where(error)}")
        raise error
    if isinstance(error, ModuleNotFoundError) and error.name:
        raise BadModule(
            module=shown,
            cause=f"it imports {error.name}, which is not there",
            at=where(error),
            hint=f"Install {error.name.partition('.')[0]}, correct the import, or add its folder to the "
            "setting `path`.",
        ) from None
    raise BadModule(
        module=shown,
        cause=f"{type(error).__name__}: {error}",
        **({"at": where(error)} if where(error) else {}),
        hint="Correct the module.",
    ) from error


def _cycle(error: BaseException) -> list[str]:
    """Names of the files on a circle: the innermost wants something of one that is not done yet."""
    wanted = getattr(error, "path", None) or getattr(getattr(error, "obj", None), "__file__", None)
    if not isinstance(error, ImportError | AttributeError) or wanted is None:
        return []
    files = [frame.filename for frame in frames_of_user(error) if frame.name == "<module>"]
    if wanted not in files:
        return []
    ring = [Path(file).name for file in dict.fromkeys(files[files.index(wanted) :])]
    return [*ring, ring[0]]
