"""Load: rule modules by file path, dotted name or entry point, and the queries in them.

Only what is named is imported: on the command line, in the project's file, or by an installed distribution's
entry point in the group `engine.rules`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from engine.errors import BadModule, UnknownQuery
from engine.modules.bytecode import install
from engine.modules.files import LOCAL, RESERVED, forget_since, load_file, make_importable
from engine.modules.trouble import nearest, translate
from engine.query import REGISTRY, Query, QueryInfo
from engine.settings import Settings, looks_like_file

if TYPE_CHECKING:
    from engine.tables.table import CollectionInfo

GROUP: Final = "engine.rules"


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
    install()
    for directory in settings.path:
        if directory != settings.root:  # which a file has last
            make_importable(directory)
    if looks_like_file(text):
        return load_file(Path(os.path.abspath(Path(text).expanduser())), settings.root)
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
            here = _had(here, step) if isinstance(here, ModuleType) else getattr(here, step)
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


def _had(module: ModuleType, name: str) -> Any:
    """What a module has by a name; KeyError without it. What the `lazy` of 3.15 put off is imported."""
    from engine.code.names import is_put_off, names_of  # late: the first fingerprint needs it

    found = names_of(module, name)[name]
    if not is_put_off(found):
        return found
    try:
        return getattr(module, name)
    except BaseException as error:  # as of any module
        translate(error, getattr(module, "__file__", None) or module.__name__)


def _no_such_query(module: ModuleType, name: str, text: str) -> NoReturn:
    defined = queries_of(module)
    plain, parenthesis, _ = name.partition("(")
    close = nearest(plain, defined)
    hint = f"Did you mean {close}?" if close else "Name one of the queries that the module defines."
    if parenthesis and plain in defined:
        whole = text.partition("(")[0]
        hint = f"Give its arguments as words of their own: {whole} ARG..."
        if not name.endswith(")"):  # it was meant as a displayed key, which is read as one elsewhere
            hint = f"""Close the parenthesis, and put it in quotes: "{whole}('a', 3)"."""
    raise UnknownQuery(
        name=text,
        module=getattr(module, "__file__", None) or module.__name__,
        defined=_listed(defined),
        hint=hint,
    )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return (", ".join(names[:20]) + more) or "no queries"


def _query_of_rules(name: str, settings: Settings) -> Query[..., Any]:
    found: dict[int, tuple[str, Query[..., Any]]] = {}
    defined: list[str] = []
    for module in load_rules(settings):
        with contextlib.suppress(KeyError):
            _had(module, name.partition(".")[0])
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
    close = nearest(name, [*defined, *points])
    hint = f"Did you mean {close}?" if close else None
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
        forget_since(before)
        translate(error, f"the entry point {name} = {point.value} of {GROUP}")


# -- dotted names ------------------------------------------------------------------------------


def _load_dotted(name: str, settings: Settings) -> ModuleType:
    top = name.partition(".")[0]
    if top not in sys.stdlib_module_names and top not in RESERVED:
        file = _local_file(name, settings.path)
        if file is not None:
            return load_file(file, settings.root)
    before = set(sys.modules)
    make_importable(settings.root)
    try:
        return importlib.import_module(name)
    except BaseException as error:  # as above
        forget_since(before)
        missing = isinstance(error, ModuleNotFoundError) and _is_part_of(error.name, name)
        if not missing:
            translate(error, name)
    file = _local_file(name.removeprefix(f"{LOCAL}."), settings.path)
    if file is not None:
        return load_file(file, settings.root)
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
    close = nearest(name, points)
    if close:
        return f"Did you mean {close}?"
    return "Name a file (path/to/rules.py), a dotted name below the root, or an installed module."


def _is_part_of(missing: str | None, name: str) -> bool:
    return missing is not None and (name == missing or name.startswith(f"{missing}."))


def _local_file(name: str, path: Iterable[Path]) -> Path | None:
    steps = name.split(".")
    for directory in path:
        plain = directory.joinpath(*steps[:-1], f"{steps[-1]}.py")
        package = directory.joinpath(*steps, "__init__.py")
        for file in (package, plain):
            if os.path.isfile(file):
                return file
    return None
