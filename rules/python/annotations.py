"""Annotations: the names in quoted ones, and the class that an annotation says a value is of.

Quoted texts are not parsed: names and what joins them are all that matters, and prose is no annotation. What
the parser says of a text would depend on the depth of who asks (parse P2).
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Iterator
from keyword import iskeyword
from typing import Any

from engine.rules.python.nodes import chain

LONGEST_TEXT = 1000  # characters of a quoted annotation; a longer one says nothing
VALUES = ("Literal",)  # what is subscripted with values, not with types
WITH_MORE = ("Annotated",)  # the first of its arguments is a type
SAME_CLASS = ("ClassVar", "Final", "NotRequired", "Optional", "ReadOnly", "Required")

_name = r"[^\W\d]\w*"
_dotted = rf"{_name}(?:\s*\.\s*{_name})*"
_token = re.compile(rf"""\s*(?:({_dotted})|("[^"]*"|'[^']*'|\d+|\.\.\.)|([\[(])|([\])])|([,|*]))\s*""")
_or_none = re.compile(rf"(?:None\s*\|\s*)?({_dotted})(?:\s*\|\s*None)?")
_optional = re.compile(rf"(?:{_name}\.)?Optional\[\s*({_dotted})\s*\]")


def quoted(annotation: Any) -> list[ast.expr]:
    """The names that stand in quotes in an annotation: `C` in `"C"`, `list["C"]` and `"C | None"`."""
    if annotation.__class__ is ast.Name or annotation.__class__ is ast.Attribute:
        return []
    found: list[ast.expr] = []
    waiting = [annotation]
    while waiting:
        node = waiting.pop()
        kind = node.__class__
        if kind is ast.Constant:
            if node.value.__class__ is str:
                found += map(_node, _names(node.value))
        elif kind is ast.Subscript:
            last = _last(node.value)
            if last in WITH_MORE and node.slice.__class__ is ast.Tuple:
                waiting += node.slice.elts[:1]
            elif last not in VALUES:
                waiting.append(node.slice)
        elif kind is ast.BinOp and node.op.__class__ is ast.BitOr:
            waiting += (node.left, node.right)
        elif kind is ast.Tuple or kind is ast.List:
            waiting += node.elts
    return found


def declared(annotation: Any) -> str:
    """The dotted name of the class that a value is of, if it is not None: `a.C` of `"a.C"` and `a.C | None`.

    "" where the annotation says no single class.
    """
    while True:
        kind = annotation.__class__
        if kind is ast.BinOp and annotation.op.__class__ is ast.BitOr:
            if is_none(annotation.right):
                annotation = annotation.left
            elif is_none(annotation.left):
                annotation = annotation.right
            else:
                return ""
        elif kind is ast.Subscript:
            last, inner = _last(annotation.value), annotation.slice
            if last in WITH_MORE and inner.__class__ is ast.Tuple and inner.elts:
                annotation = inner.elts[0]
            elif last in SAME_CLASS:
                annotation = inner
            else:
                return ""
        elif kind is ast.Constant and annotation.value.__class__ is str:
            text = _plain(annotation.value)
            match = _or_none.fullmatch(text) or _optional.fullmatch(text)
            name = "" if match is None else _joined(match[1])
            return "" if iskeyword(name.partition(".")[0]) else name
        else:
            return "" if kind is ast.Call else chain(annotation)


def _names(text: str) -> Iterator[str]:
    """The dotted names in a quoted annotation; none where the text is no annotation."""
    found: list[str] = []
    at = depth = 0
    after_word = False
    text = _plain(text)
    while at < len(text):
        match = _token.match(text, at)
        if match is None:
            return iter(())
        name, value, opened, closed, _ = match.groups()
        depth += (opened is not None) - (closed is not None)
        word = name is not None or value is not None
        if depth < 0 or (word and after_word):
            return iter(())
        after_word = word or closed is not None
        if name is not None:
            found.append(_joined(name))
        at = match.end()
    return (name for name in found if not iskeyword(name.partition(".")[0])) if not depth else iter(())


def _plain(text: str) -> str:
    """The text as Python reads names, "" where it is too long."""
    if len(text) > LONGEST_TEXT:
        return ""
    return (text if text.isascii() else unicodedata.normalize("NFKC", text)).strip()


def _joined(name: str) -> str:
    return "".join(name.split())


def _node(dotted: str) -> ast.expr:
    first, *parts = dotted.split(".")
    node: ast.expr = ast.Name(first, ast.Load())
    for part in parts:
        node = ast.Attribute(node, part, ast.Load())
    return node


def _last(node: Any) -> str:
    return chain(node).rpartition(".")[2]


def is_none(node: Any) -> bool:
    """Whether an expression is `None`."""
    return node.__class__ is ast.Constant and node.value is None
