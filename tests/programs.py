"""Programs: the little language of random queries (see `expressions`).

A program has one expression for each query; a key is (query, argument).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tests.expressions import Choose, Expression, arithmetic

Node = tuple[Any, int]  # ("cell" | "file" | "wild", index) or (number of a query, argument)

ARGUMENTS = 3  # every query takes one argument, 0 to 2
CELLS = 4
FILES = 2


class Reader(Protocol):
    def read(self, node: Node) -> int: ...
    def group(self, nodes: Sequence[Node]) -> Sequence[int]: ...


def evaluate(e: Expression, n: int, reader: Reader) -> int:
    """The value of an expression for argument `n`; everything else comes from `reader`, in order."""
    match e:
        case "cell", at:
            return reader.read(("cell", evaluate(at, n, reader) % CELLS))
        case "file", at:
            return reader.read(("file", evaluate(at, n, reader) % FILES))
        case ("wild",):
            return reader.read(("wild", 0))
        case "call", queries, which, argument:
            query = queries[evaluate(which, n, reader) % len(queries)]
            return reader.read((query, evaluate(argument, n, reader) % ARGUMENTS))
        case "each", queries, size:
            keys = [(q, a) for a in range(ARGUMENTS) for q in queries]
            return sum(reader.group(keys[: evaluate(size, n, reader) % (len(keys) + 1)]))
    return arithmetic(e, n, lambda part: evaluate(part, n, reader))


def random_expression(choose: Choose, callable_queries: Sequence[int], depth: int, leaves: str) -> Expression:
    """An expression that calls some of the given queries. The smallest choices make the simplest one.

    `leaves` says which inputs it reads: "cells", "cells and files", or "switches": files behind a condition.
    """

    def some(depth: int) -> Expression:
        return random_expression(choose, callable_queries, depth, leaves)

    def one_or_more() -> list[int]:
        last = len(callable_queries) - 1
        return [callable_queries[max(choose(0, last), choose(0, last))] for _ in range(choose(1, 3))]

    kind = choose(0, 13 if depth else 3)
    if kind in (2, 3, 4, 5) and not callable_queries:
        kind = 1
    match kind:
        case 0:
            return "constant", choose(0, 4)
        case 1:
            cell, file = (
                ("cell", ("constant", choose(0, CELLS - 1))),
                ("file", ("constant", choose(0, FILES - 1))),
            )
            if leaves == "cells" or not choose(0, 1):
                return cell
            return ("if", cell, file, ("constant", 0)) if leaves == "switches" else file
        case 2 | 3 | 4:
            at: Expression = ("constant", 0) if not depth else some(depth - 1)
            return "call", one_or_more(), at, ("argument",) if choose(0, 1) else ("constant", choose(0, 2))
        case 5:
            return "each", one_or_more(), some(0)
        case 6 | 7:
            return "add", some(depth - 1), some(depth - 1)
        case 8:
            return "half", some(depth - 1)
        case 9:
            return "sign", some(depth - 1)
        case 10 | 11:
            return "if", some(depth - 1), some(depth - 1), some(depth - 1)
        case 12:
            return "fail", some(depth - 1)
    return "rescue", some(depth - 1), some(depth - 1)
