"""Nodes: small questions to single nodes of a syntax tree."""

from __future__ import annotations

import ast
from typing import Any

from engine.rules.python.private import is_private

# Attributes in a row that are one name. Each beginning of a name can be a reference: their texts grow
# with the square of this, and a file of one expression could take all memory.
LONGEST = 100


def dotted(node: Any) -> str:
    """The dotted name an expression starts with: "a.b" for `a.b(1).c[2]`; "" where there is none."""
    parts: list[str] = []
    while True:
        if node.__class__ is ast.Attribute:
            parts.append(node.attr)
            node = node.value
        elif node.__class__ is ast.Call:
            parts.clear()
            node = node.func
        elif node.__class__ is ast.Subscript:
            parts.clear()
            node = node.value
        elif node.__class__ is ast.Name:
            parts.append(node.id)
            return ".".join(reversed(parts))
        else:
            return ""


def chain(node: Any) -> str:
    """The dotted name that an expression is: "a.b"; "a.b()" for a call of one; "" for anything else."""
    mark = ""
    if node.__class__ is ast.Call:
        node, mark = node.func, "()"
    if node.__class__ is ast.Name:
        return f"{node.id}{mark}"
    parts: list[str] = []
    while node.__class__ is ast.Attribute and len(parts) < LONGEST:
        parts.append(node.attr)
        node = node.value
    if node.__class__ is not ast.Name:
        return ""
    parts.append(node.id)
    return ".".join(reversed(parts)) + mark


# Builtins that look for the attribute that a text names.
BY_TEXT = frozenset(["getattr", "hasattr"])


def named_in_text(call: Any) -> list[ast.expr]:
    """The arguments of `getattr(x, "name")`, with `x.name` in place of the first one if that is known."""
    given: list[ast.expr] = call.args
    if len(given) < 2 or not isinstance(given[1], ast.Constant):
        return given
    name = given[1].value
    if not isinstance(name, str) or not name.isidentifier():
        return given
    if is_private(name):
        return given  # in a text it stands for itself, not for that of the class around
    return [ast.Attribute(given[0], name, ast.Load()), *given[2:]]


# Functions, `importlib.import_module` among them, that import the module that a text names.
IMPORTING = frozenset(["import_module", "__import__", "importorskip"])


def imported_by_text(call: Any) -> str:
    """The absolute name of the module that `import_module("a.b")` imports; "" where that is not known."""
    first = call.args[0] if call.args else None
    name = first.value if isinstance(first, ast.Constant) else None
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        return ""
    return name


def mentions(node: Any, name: str) -> bool:
    """Whether an expression reads a name; what stands in displays of it is not looked at."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        kind = node.__class__
        if kind is ast.Name:
            if node.id == name:
                return True
        elif kind is ast.Attribute:
            waiting.append(node.value)
        elif kind is ast.Call:
            waiting += (node.func, *node.args, *[keyword.value for keyword in node.keywords])
        elif kind is ast.Subscript:
            waiting += (node.value, node.slice)
        elif kind is ast.BinOp:
            waiting += (node.left, node.right)
        elif kind is ast.Tuple and len(node.elts) <= LONGEST:  # of types
            waiting += node.elts
    return False


def for_typing(test: Any) -> bool | None:
    """Of the test of an `if`: whether its body is for type checkers alone; False: what is after `else` is."""
    negated = test.__class__ is ast.UnaryOp and test.op.__class__ is ast.Not
    typing = dotted(test.operand if negated else test).rpartition(".")[2] == "TYPE_CHECKING"
    return not negated if typing else None


def position(node: ast.AST) -> tuple[int, int]:
    """Line and column of a node, for sorting."""
    return node.lineno, node.col_offset  # type: ignore[attr-defined]  # only called for nodes with one


def is_all(node: Any) -> bool:
    """Whether a node is the name `__all__`."""
    return node.__class__ is ast.Name and node.id == "__all__"


def is_lazy(node: Any) -> bool:
    """Whether an import statement runs when its name is first used (3.15)."""
    return bool(getattr(node, "is_lazy", False))
