"""Requests: what a function, a class or a module asks pytest for by names that nothing else binds: fixtures,
and modules that have some.

Invariants
    Q1  Only what stands in texts is seen: a name that is computed asks for nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from engine.rules.python.nodes import dotted
from engine.rules.python.scopes import CLASS, FUNCTION, MODULE, Scope
from engine.rules.python.uses import FIXTURE

if TYPE_CHECKING:
    from engine.rules.python.survey import Survey

EVERYWHERE = "*"  # asked for by a fixture: that all tests around it get it
MARKS, PLUGINS = "pytestmark", "pytest_plugins"
TOLD = frozenset([MARKS, PLUGINS])  # variables that pytest reads
ASKING = "getfixturevalue"  # the method of `request` that gives the fixture of a name


def is_fixture(decorators: Iterable[str]) -> bool:
    """Whether one of the dotted names of decorators makes a fixture, as `pytest.fixture` does."""
    return any(name.rpartition(".")[2] == "fixture" for name in decorators)


def renamed(place: str, name: str) -> str:
    """What a fixture that its decorator gives another name is bound to, in a class or (""): the module."""
    return f"{place}.@{name}" if place else f"@{name}"


def request(survey: Survey, scope: Scope, node: Any) -> None:
    """Note what a function or class asks for, and a fixture that pytest gives under another name."""
    survey.marked += [(scope, name, FIXTURE) for name in _requested(node) if name != scope.receiver]
    scope.given_as = "" if node.__class__ is ast.ClassDef else _given_name(node)
    if scope.given_as:
        qualified = scope.prefix.removesuffix(".<locals>.")
        survey.renamed.append((renamed(qualified.rpartition(".")[0], scope.given_as), qualified))


def tell(survey: Survey, scope: Scope, variable: str, value: Any) -> None:
    """Note what a variable of a module or class, one of `TOLD`, says to pytest: plugins are loaded when the
    module that names them is, not amid it."""
    if variable == MARKS and (scope.kind is MODULE or scope.kind is CLASS):
        survey.marked += [(scope, name, FIXTURE) for name in _marked(value)]
    elif variable == PLUGINS and scope.kind is MODULE:
        survey.imports.update((name, None, "", 0, FUNCTION, "") for name in _plugins(value))


def _requested(node: Any) -> Iterator[str]:
    """Fixtures that a function or class asks for: the parameters of tests and fixtures that have no default,
    and the names in `usefixtures`; `EVERYWHERE` where a fixture has `autouse`."""
    fixture = False
    for decorator in node.decorator_list:
        if _last(decorator) == "fixture":
            fixture = True
            if decorator.__class__ is ast.Call and any(map(_is_autouse, decorator.keywords)):
                yield EVERYWHERE
        else:
            yield from _marked(decorator)
    if node.__class__ is not ast.ClassDef and (fixture or node.name.startswith("test")):
        arguments = node.args
        plain = arguments.posonlyargs + arguments.args
        yield from (one.arg for one in plain[: len(plain) - len(arguments.defaults)])
        for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if default is None:
                yield one.arg


def _marked(node: Any) -> list[str]:
    """The names in `usefixtures`, of one mark or of several in a list."""
    if isinstance(node, ast.List | ast.Tuple):
        return [name for one in node.elts for name in _marked(one)]
    return texts(node.args) if node.__class__ is ast.Call and _last(node) == "usefixtures" else []


def _given_name(node: Any) -> str:
    """The name under which pytest gives the fixture that a function makes, if its decorator says another."""
    for decorator in node.decorator_list:
        if decorator.__class__ is ast.Call and _last(decorator) == "fixture":
            names = texts(one.value for one in decorator.keywords if one.arg == "name")
            return names[0] if names else ""
    return ""


def _plugins(node: Any) -> list[str]:
    """The modules that the value of `pytest_plugins` names."""
    several = isinstance(node, ast.List | ast.Tuple)
    names = texts(node.elts) if several else [name for text in texts([node]) for name in text.split(",")]
    return [name for name in names if all(part.isidentifier() for part in name.split("."))]


def texts(nodes: Iterable[Any]) -> list[str]:
    """The texts among expressions."""
    constants = [one.value for one in nodes if isinstance(one, ast.Constant)]
    return [one for one in constants if isinstance(one, str)]


def _last(node: Any) -> str:
    return dotted(node).rpartition(".")[2]


def _is_autouse(keyword: ast.keyword) -> bool:
    never = isinstance(keyword.value, ast.Constant) and not keyword.value.value
    return keyword.arg == "autouse" and not never
