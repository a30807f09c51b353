"""Arguments: texts of the command line to the arguments of a query, and back from a displayed key.

Invariants
    A1  The annotation of a parameter decides what its text means (see `convert`).
    A2  Nothing is evaluated: displayed keys are read as literals.
    A3  What does not fit is `BadArguments` with the signature.
"""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from engine.cli.convert import convert, free, make, shown
from engine.errors import BadArguments
from engine.key import Key
from engine.modules.load import collection_of
from engine.parameters import owner_of, signature_of
from engine.query import Query, QueryInfo, info_of

if TYPE_CHECKING:
    from engine.tables.table import CollectionInfo


def key_of_texts(query: Query[..., Any], texts: Sequence[str], named: Iterable[str] = ()) -> Key[Any]:
    """The key of a query with arguments given as texts; `named` are texts of the form NAME=VALUE.

    A table without arguments is the whole of it; a lookup takes columns as NAME=VALUE.
    """
    info = info_of(query)
    named = tuple(named)
    table = None if texts or named else _whole_table(query)
    if table is not None:
        return Key(table.settle, ())
    if by_columns(info):
        return _key_of_columns(info, (*texts, *named))
    hints = _hints(info, query)
    positional: list[Any] = []
    parameters = iter(info.parameters)
    parameter = None
    for text in texts:
        if parameter is None or parameter.kind is not parameter.VAR_POSITIONAL:
            parameter = next(parameters, None)
        if parameter is None or parameter.kind is parameter.KEYWORD_ONLY:
            takes = sum(one.kind is not one.KEYWORD_ONLY for one in info.parameters)
            raise BadArguments(
                query=info.name,
                cause=f"{len(texts)} arguments are given, it takes {takes}",
                signature=signature_of(info.name, info.parameters),
            )
        positional.append(_converted(info, parameter, text, hints))
    keywords: dict[str, Any] = {}
    by_name = {parameter.name: parameter for parameter in info.parameters}
    for text in named:
        name, equals, value = text.partition("=")
        if not equals or name not in by_name:
            raise BadArguments(
                query=info.name,
                argument=text,
                cause=f"there is no parameter {name}" if equals else "it is not NAME=VALUE",
                signature=signature_of(info.name, info.parameters),
            )
        if name in keywords:
            raise BadArguments(query=info.name, argument=text, cause=f"{name} is given twice")
        keywords[name] = _converted(info, by_name[name], value, hints)
    return Key(info, info.bind(tuple(positional), keywords))


def key_to_run(query: Query[..., Any], texts: Sequence[str], named: Iterable[str]) -> Key[Any]:
    """The same for who wants to see a value: of a table as a whole that is all its rows."""
    return key_to_show(key_of_texts(query, texts, named))


def key_to_show(key: Key[Any]) -> Key[Any]:
    """The key whose value people want to see: of a table as a whole its rows, for its own is a digest."""
    whole = key.query.collection
    if whole is not None and whole.kind == "table" and whole.settle is key.query:
        return Key(whole.lookups["where"], ())
    return key


def split_displayed(text: str) -> tuple[str, str] | None:
    """Name and argument part of the display form `module:query('a', 3)`; None for another form."""
    name, parenthesis, rest = text.strip().partition("(")
    return (name, rest[:-1]) if name and parenthesis and rest.endswith(")") else None


def key_of_displayed(query: Query[..., Any], arguments: str) -> Key[Any]:
    """The key of a query with arguments as they are displayed."""
    info = info_of(query)
    if by_columns(info):
        terms = literals(info.name, arguments)
        return Key(info, info.bind(terms, {}))
    hints = _hints(info, query)
    nodes = _parsed(info.name, arguments)
    values: list[Any] = []
    for number, node in enumerate(nodes):
        at = min(number, len(info.parameters) - 1)
        hint = hints.get(info.parameters[at].name, Any) if info.parameters else Any
        values.append(_literal(info.name, arguments, node, hint))
    if info.kinds is None and len(values) == len(info.parameters):
        return Key(info, tuple(values))  # displayed arguments are canonical already, see Key
    return Key(info, info.bind(tuple(values), {}))


def literals(name: str, arguments: str) -> tuple[Any, ...]:
    """The displayed arguments of a query that is not loaded; columns of a lookup as names and values."""
    terms: list[Any] = []
    for node in _parsed(name, arguments, named=True):
        if isinstance(node, ast.keyword):
            terms += (str(node.arg), _literal(name, arguments, node.value, Any))
        else:
            terms.append(_literal(name, arguments, node, Any))
    return tuple(terms)


def _whole_table(query: Query[..., Any]) -> CollectionInfo | None:
    """The table that goes by the name of a query."""
    found = collection_of(query)
    return found if found is not None and found.kind == "table" else None


def by_columns(info: QueryInfo) -> bool:
    """Whether a query is a lookup that takes columns."""
    return getattr(info, "mode", "of") not in ("of", "failures")


def free_values(texts: Iterable[str]) -> tuple[Any, ...]:
    """Arguments given as texts for a query that is not loaded."""
    return tuple(free(text) for text in texts)


# -- texts -------------------------------------------------------------------------------------


def _key_of_columns(info: Any, texts: Iterable[str]) -> Key[Any]:
    hints = typing.get_type_hints(info.of.columns.row)
    columns: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            known = ", ".join(info.of.index) or "none is indexed"
            raise BadArguments(query=info.name, argument=text, cause="it is not COLUMN=VALUE", columns=known)
        if name in columns:
            raise BadArguments(query=info.name, argument=text, cause=f"{name} is given twice")
        if name not in hints:
            columns[name] = value
            continue
        try:
            columns[name] = convert(value, hints[name])
        except ValueError as error:
            raise BadArguments(
                query=info.name,
                column=name,
                given=repr(value),
                expected=shown(hints[name]),
                cause=str(error) or "it does not fit",
            ) from None
    return Key(info, info.bind((), columns))


def _hints(info: QueryInfo, query: object) -> dict[str, Any]:
    if getattr(info, "mode", "") == "of":
        member: QueryInfo = info.collection.member
        return {info.parameters[0].name: _hints(member, query).get(member.parameters[0].name, Any)}
    try:
        hints = typing.get_type_hints(info.function)
    except Exception:  # whatever an annotation runs: who needs it is told
        hints = {one.name: one.annotation for one in info.parameters if not isinstance(one.annotation, str)}
    first = info.parameters[0].name if info.parameters else ""
    owner = owner_of(info.function)
    if owner is not None and first and first not in hints:
        hints[first] = owner
    return hints


def _converted(info: QueryInfo, parameter: inspect.Parameter, text: str, hints: dict[str, Any]) -> Any:
    hint = hints.get(parameter.name, Any)
    try:
        return convert(text, hint)
    except ValueError as error:
        raise BadArguments(
            query=info.name,
            argument=parameter.name,
            given=repr(text),
            expected=shown(hint),
            cause=str(error) or "it does not fit",
            signature=signature_of(info.name, info.parameters),
        ) from None


# -- displayed keys ----------------------------------------------------------------------------


def _parsed(name: str, arguments: str, *, named: bool = False) -> list[Any]:
    try:
        call = ast.parse(f"f({arguments})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        shortened = "…" in arguments
        raise BadArguments(
            key=f"{name}({arguments})",
            cause="it is shortened" if shortened else f"it cannot be read: {getattr(error, 'msg', error)}",
            hint="Say MODULE:QUERY and its arguments one by one.",
        ) from None
    if not isinstance(call, ast.Call) or (call.keywords and not named):
        raise BadArguments(
            key=f"{name}({arguments})",
            cause="arguments are shown by position",
            hint="Say MODULE:QUERY and its arguments one by one.",
        )
    return [*call.args, *call.keywords]


def _literal(name: str, arguments: str, node: ast.expr, hint: Any) -> Any:
    try:
        return _value(node, hint)
    except (ValueError, TypeError, RecursionError) as error:
        why = "" if "malformed node" in str(error) else f": {error}"  # it shows nodes of the syntax tree
        raise BadArguments(
            key=f"{name}({arguments})",
            cause=f"{ast.unparse(node)[:100]} is not a literal{why}",
            hint="Put texts in quotes.",
        ) from None


def _value(node: ast.expr, hint: Any) -> Any:
    if isinstance(node, ast.Tuple):
        return tuple(_value(one, Any) for one in node.elts)
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    called = ast.unparse(node.func)
    if called.endswith("Path") and len(node.args) == 1:
        pure = called.startswith("Pure")
        return (PurePath if pure else Path)(ast.literal_eval(node.args[0]))
    if called == "frozenset":
        return frozenset(ast.literal_eval(node.args[0]) if node.args else ())
    for kind in (hint, *typing.get_args(hint)):
        if isinstance(kind, type) and called in (kind.__name__, kind.__qualname__):
            import msgspec

            fields = {one.arg: _value(one.value, Any) for one in node.keywords if one.arg}
            return msgspec.convert(fields, kind, dec_hook=make)
    raise ValueError(f"{called} is not known here")
