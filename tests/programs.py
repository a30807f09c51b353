"""Programs: the little language of random queries, as nested lists, so that a timeline is plain JSON.

A program has one expression for each query; a key is (query, argument).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from graphlib import CycleError
from typing import Any, Protocol

Expression = Sequence[Any]
Node = tuple[Any, int]  # ("cell" | "file" | "wild", index) or (number of a query, argument)
Outcome = tuple[Any, ...]  # ("value", v) or ("error", name of the class, arguments)
Choose = Callable[[int, int], int]  # an integer of a range, ends included

ARGUMENTS = 3  # every query takes one argument, 0 to 2
CELLS = 4
FILES = 2


class Reader(Protocol):
    def read(self, node: Node) -> int: ...
    def group(self, nodes: Sequence[Node]) -> Sequence[int]: ...


def evaluate(e: Expression, n: int, reader: Reader) -> int:
    """The value of an expression for argument `n`; everything else comes from `reader`, in order."""
    match e:
        case "constant", value:
            return int(value)
        case ("argument",):
            return n
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
        case "add", a, b:
            return evaluate(a, n, reader) + evaluate(b, n, reader)
        case "half", a:
            return evaluate(a, n, reader) // 2
        case "sign", a:
            return max(-1, min(1, evaluate(a, n, reader)))
        case "if", condition, a, b:
            return evaluate(a if evaluate(condition, n, reader) > 0 else b, n, reader)
        case "fail", a:
            value = evaluate(a, n, reader)
            if value % 3 == 1:
                raise ValueError("unlucky", value)
            return value
        case "rescue", a, b:
            try:
                return evaluate(a, n, reader)
            except (ValueError, CycleError):
                return evaluate(b, n, reader)
    raise AssertionError(f"no such expression: {e}")


def outcome_of(work: Callable[[], int]) -> Outcome:
    """What a call comes to; of a cycle only that it is one: a ring may be entered at several places."""
    try:
        return "value", work()
    except CycleError:
        return "error", "CycleError", ()
    except ValueError as error:
        return "error", "ValueError", error.args


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
