"""Patterns: what the patterns of a `match` statement bind and read without a node that is a name."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from engine.rules.python.nodes import chain
from engine.rules.python.scopes import Scope
from engine.rules.python.uses import ANYTHING, MARK, READ

if TYPE_CHECKING:
    from engine.rules.python.survey import Survey


def capture(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    """`case [first, *rest] as whole` and `case {**rest}` bind names without a Name node."""
    name = node.rest if node.__class__ is ast.MatchMapping else node.name
    if name is not None:
        stack.append(ast.copy_location(ast.Name(name, ast.Store()), node))
    stack.extend(child for child in ast.iter_child_nodes(node))


def of_class(survey: Survey, node: Any, scope: Scope, stack: list[Any], context: str) -> None:
    """`case Point(x=0)` reads the attribute `x` of an instance of `Point`."""
    named = chain(node.cls)
    instance = f"{named}{MARK}" if named else ANYTHING
    survey.marked += [(scope, f"{instance}.{name}", READ) for name in node.kwd_attrs]
    stack.extend(child for child in ast.iter_child_nodes(node))
