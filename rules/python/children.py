"""Children: which fields of the nodes of a syntax tree hold more nodes, from the grammar that Python has."""

from __future__ import annotations

import ast
from collections.abc import Mapping

# Fields that hold no nodes worth a look: names, flags, operators.
_LEAVES = frozenset(
    [
        "arg",
        "asname",
        "attr",
        "conversion",
        "ctx",
        "id",
        "is_async",
        "kind",
        "kwd_attrs",
        "level",
        "name",
        "names",
        "op",
        "ops",
        "rest",
        "simple",
        "str",
        "tag",
        "type_comment",
        "type_ignores",
    ]
)


def children_table(handlers: Mapping[type, object]) -> dict[type, tuple[str, ...]]:
    """Per class of nodes without a handler, the fields that hold its children, last first."""
    table: dict[type, tuple[str, ...]] = {}
    for kind in vars(ast).values():
        if isinstance(kind, type) and issubclass(kind, ast.AST) and kind not in handlers:
            table[kind] = tuple(name for name in reversed(kind._fields) if name not in _LEAVES)
    table[ast.Constant] = ()
    table[type(None)] = ()  # in lists with holes: the key of `**rest` in a dict
    return table
