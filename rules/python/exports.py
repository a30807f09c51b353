"""Exports: what `__all__` says, as far as it can be known without running the module."""

from __future__ import annotations

import ast
from typing import Any

from engine.rules.python.nodes import is_all


class Exports:
    """The names in `__all__`; None while the module has not said. `dynamic`: there may be more, or fewer.

    Statements in `if` and `try` count as executed: which branch runs is not known here.
    """

    def __init__(self) -> None:
        self.names: set[str] | None = None
        self.dynamic = False

    def assign(self, value: Any) -> None:
        """`__all__ = value`."""
        self.names = set() if self.names is None else self.names
        self.add(value)

    def add(self, value: Any) -> None:
        """`__all__ += value`."""
        if self.names is None:
            self.names, self.dynamic = set(), True  # added to something that came from elsewhere
        while value.__class__ is ast.BinOp and value.op.__class__ is ast.Add:
            self._add_literal(value.right)
            value = value.left
        self._add_literal(value)

    def call(self, method: str, arguments: list[Any]) -> None:
        """`__all__.extend(value)` and the like."""
        if method == "extend" and len(arguments) == 1:
            self.add(arguments[0])
        elif method == "append" and len(arguments) == 1:
            self.add(ast.List(elts=arguments))
        elif method == "remove" and self.names is not None and len(arguments) == 1:
            name = getattr(arguments[0], "value", None)
            self.dynamic |= name not in self.names
            self.names.discard(str(name))
        elif method != "sort":
            self.dynamic = True

    def _add_literal(self, value: Any) -> None:
        names = self.names
        assert names is not None
        if _is_wrapped(value):
            value = value.args[0]
        if is_all(value):
            return  # __all__ = __all__ + [...]
        if value.__class__ in (ast.List, ast.Tuple, ast.Set):
            for element in value.elts:
                name = getattr(element, "value", None)
                if isinstance(name, str) and name.isidentifier():
                    names.add(name)
                else:
                    self.dynamic = True
        elif _is_split(value):
            names.update(filter(str.isidentifier, value.func.value.value.split()))
        else:
            self.dynamic = True


def _is_wrapped(value: Any) -> bool:
    """`list((...))`, `sorted([...])`, `tuple([...])`"""
    if value.__class__ is not ast.Call or len(value.args) != 1 or value.keywords:
        return False
    return value.func.__class__ is ast.Name and value.func.id in ("list", "sorted", "tuple")


def _is_split(value: Any) -> bool:
    """`"one two".split()`"""
    if value.__class__ is not ast.Call or value.args or value.keywords:
        return False
    function = value.func
    return (
        function.__class__ is ast.Attribute
        and function.attr == "split"
        and function.value.__class__ is ast.Constant
        and isinstance(function.value.value, str)
    )
