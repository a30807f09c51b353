"""Requests: what a function or class asks pytest for, by names that nothing else binds: its fixtures."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any

from engine.rules.python.nodes import dotted

EVERYWHERE = "*"  # asked for by a fixture: that all tests around it get it


def is_fixture(decorators: Iterable[str]) -> bool:
    """Whether one of the dotted names of decorators makes a fixture, as `pytest.fixture` does."""
    return any(name.rpartition(".")[2] == "fixture" for name in decorators)


def requested(node: Any) -> Iterator[str]:
    """Fixtures that a function or class asks for: the parameters of tests and fixtures that have no default,
    and the names in `usefixtures`; `EVERYWHERE` where a fixture has `autouse`."""
    fixture = False
    for decorator in node.decorator_list:
        last = dotted(decorator).rpartition(".")[2]
        if last == "usefixtures" and decorator.__class__ is ast.Call:
            constants = [one.value for one in decorator.args if isinstance(one, ast.Constant)]
            yield from (name for name in constants if isinstance(name, str))
        elif last == "fixture":
            fixture = True
            if decorator.__class__ is ast.Call and any(map(_is_autouse, decorator.keywords)):
                yield EVERYWHERE
    if node.__class__ is not ast.ClassDef and (fixture or node.name.startswith("test")):
        arguments = node.args
        plain = arguments.posonlyargs + arguments.args
        yield from (one.arg for one in plain[: len(plain) - len(arguments.defaults)])
        for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if default is None:
                yield one.arg


def _is_autouse(keyword: ast.keyword) -> bool:
    never = isinstance(keyword.value, ast.Constant) and not keyword.value.value
    return keyword.arg == "autouse" and not never
