"""Table programs: the language of random queries and tables, and the naive evaluator that defines correct.

A program is a list of definitions, each of which may ask for those before it:

    ["query", expression]                  of one argument, 0 to 2
    ["table", source, rows]                source: ["keys", list, expression] or ["column", table, name]

Rows are [condition, a, b]: where the condition holds for a source key, there is a row with these columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from tests.expressions import Choose, Expression, Outcome, arithmetic, outcome_of, value_of

Definition = Sequence[Any]
Node = tuple[Any, ...]
"""("cell", i), ("list", i), ("q", d, n), ("keys", d), ("t", d, key) or ("look", d, mode, terms)."""

ARGUMENTS = 3
CELLS = 4
LISTS = 2
MOST_KEYS = 4  # source keys are 0 to 4
TEXTS = ("", "x", "xy", "y")
INPUTS = ("cell", "list")


class Row(NamedTuple):
    a: int
    b: str


class Reader(Protocol):
    def read(self, node: Node) -> Any: ...
    def group(self, nodes: Sequence[Node]) -> Sequence[Any]: ...


def number(answer: Any) -> int:
    """What an expression makes of the answer of a lookup."""
    if answer is None:
        return 0
    if isinstance(answer, Row):
        return answer.a + 2 * TEXTS.index(answer.b) + 1
    if isinstance(answer, tuple):
        total = 0
        for one in answer:
            total = (total * 3 + (number(one) if isinstance(one, Row) else len(str(one)))) % 101
        return total
    return int(answer)


def argument_of(key: Any) -> int:
    """The argument that a member's expressions see."""
    return TEXTS.index(key) if isinstance(key, str) else int(key)


def evaluate(e: Expression, n: int, reader: Reader) -> int:
    """The value of an expression for argument `n`; everything else comes from `reader`, in order."""
    match e:
        case "cell", at:
            return int(reader.read(("cell", evaluate(at, n, reader) % CELLS)))
        case "call", queries, which, argument:
            query = queries[evaluate(which, n, reader) % len(queries)]
            return int(reader.read(("q", query, evaluate(argument, n, reader) % ARGUMENTS)))
        case "each", queries, size:
            nodes = [("q", q, a) for a in range(ARGUMENTS) for q in queries]
            return sum(reader.group(nodes[: evaluate(size, n, reader) % (len(nodes) + 1)]))
        case "look", table, mode, columns, first, second:
            values = [evaluate(first, n, reader), evaluate(second, n, reader)][: len(columns)]
            return number(reader.read(("look", table, mode, terms_of(columns, values))))
        case "of", table, texts, at:
            return number(reader.read(("look", table, "of", (key_of(texts, evaluate(at, n, reader)),))))
        case "failures", table:
            return number(reader.read(("look", table, "failures", ())))
        case "rows", table, texts, at:
            return number(reader.read(("t", table, key_of(texts, evaluate(at, n, reader)))))
    return arithmetic(e, n, lambda part: evaluate(part, n, reader))


def terms_of(columns: Sequence[str], values: Sequence[int]) -> tuple[Any, ...]:
    terms: list[Any] = []
    for name, value in zip(columns, values, strict=True):
        terms += (name, value % 4 if name == "a" else TEXTS[value % 4])
    return tuple(terms)


def key_of(texts: bool, value: int) -> Any:
    return TEXTS[value % 4] if texts else value % (MOST_KEYS + 1)


def rows_of(definition: Definition, key: Any, reader: Reader) -> tuple[Row, ...]:
    """The rows of one source key, in the order of the definition, doubles included."""
    n = argument_of(key)
    found = []
    for condition, a, b in definition[2]:
        if evaluate(condition, n, reader) > 0:
            found.append(Row(evaluate(a, n, reader) % 4, TEXTS[evaluate(b, n, reader) % 4]))
    return tuple(found)


def keys_of(definition: Definition, reader: Reader) -> tuple[int, ...]:
    """What the query gives that `each=` names."""
    _, at, more = definition[1]
    return (*reader.read(("list", at)), *([MOST_KEYS] if evaluate(more, 0, reader) > 0 else []))


def answer_of(mode: str, terms: Sequence[Any], rows: Sequence[Row]) -> Any:
    """What a lookup says, of all rows in order."""
    named = dict(zip(terms[::2], terms[1::2], strict=True))
    if mode == "starting":
        ((name, beginning),) = named.items()
        return tuple(row for row in rows if getattr(row, name).startswith(beginning))
    found = tuple(row for row in rows if matches(row, named))
    if mode == "first":
        return found[0] if found else None
    return found if mode == "where" else len(found) if mode == "count" else bool(found)


def matches(row: Row, named: dict[str, Any]) -> bool:
    return all(getattr(row, name) == value for name, value in named.items())


def told(error: ValueError) -> str:
    """What `failures` says of an error."""
    return f"ValueError: {error}"


class Scratch:
    """The naive evaluator: nothing is kept between questions, tables are computed from their members."""

    def __init__(self, program: Sequence[Definition], inputs: Callable[[Node], Any]) -> None:
        self.program, self.inputs = program, inputs
        self.known: dict[Node, Outcome] = {}

    def outcome(self, node: Node) -> Outcome:
        return outcome_of(lambda: self.read(node))

    def read(self, node: Node) -> Any:
        if node[0] in INPUTS:
            return self.inputs(node)
        if node not in self.known:
            self.known[node] = outcome_of(lambda: self._compute(node))
        return value_of(self.known[node])

    def group(self, nodes: Sequence[Node]) -> list[Any]:
        return [self.read(node) for node in nodes]

    def _compute(self, node: Node) -> Any:
        definition = self.program[node[1]]
        match node:
            case "q", _, n:
                return evaluate(definition[1], n, self)
            case "keys", _:
                return keys_of(definition, self)
            case "t", _, key:
                return rows_of(definition, key, self)
            case "look", d, "of", (key,):
                return tuple(sorted(set(self.read(("t", d, key))))) if key in self._keys(d) else ()
            case "look", d, "failures", ():
                outcomes = {key: self.outcome(("t", d, key)) for key in self._keys(d)}
                return tuple(
                    sorted(
                        (repr(key), told(ValueError(*outcome[2])))
                        for key, outcome in outcomes.items()
                        if outcome[0] == "error"
                    )
                )
            case "look", d, mode, terms:
                return answer_of(mode, terms, self._rows(d))
        raise AssertionError(node)

    def _keys(self, d: int) -> list[Any]:
        source = self.program[d][1]
        if source[0] == "keys":
            return sorted(set(self.read(("keys", d))))
        return sorted({getattr(row, source[2]) for row in self._rows(source[1])})

    def _rows(self, d: int) -> list[Row]:
        found: list[Row] = []
        for key in self._keys(d):
            outcome = self.outcome(("t", d, key))
            if outcome[0] == "value":
                found += sorted(set(outcome[1]))
        return found


# -- random programs -----------------------------------------------------------------------------


def random_program(choose: Choose) -> list[Definition]:
    program: list[Definition] = []
    for d in range(choose(2, 8)):
        table = choose(0, 1) if d else 1
        program.append(random_table(choose, program) if table else random_query(choose, program))
    return program


def random_query(choose: Choose, below: Sequence[Definition]) -> Definition:
    return "query", random_expression(choose, below, choose(1, 3))


def random_table(choose: Choose, below: Sequence[Definition]) -> Definition:
    tables = [d for d, one in enumerate(below) if one[0] == "table"]
    source: Any = ("keys", choose(0, LISTS - 1), ("constant", 0))
    if choose(0, 2) == 0:
        source = ("keys", choose(0, LISTS - 1), random_expression(choose, below, choose(0, 2)))
    elif tables and choose(0, 1):
        source = ("column", tables[choose(0, len(tables) - 1)], "ab"[choose(0, 1)])
    return "table", source, random_rows(choose, below)


def random_rows(choose: Choose, below: Sequence[Definition]) -> list[Any]:
    return [
        [
            ("constant", 1) if choose(0, 1) else random_expression(choose, below, choose(0, 2)),
            random_expression(choose, below, choose(0, 2)),
            random_expression(choose, below, choose(0, 1)),
        ]
        for _ in range(choose(1, 2))
    ]


def texts_of(program: Sequence[Definition], d: int) -> bool:
    """Whether the source keys of a table are texts."""
    source = program[d][1]
    return bool(source[0] == "column" and source[2] == "b")


def random_expression(choose: Choose, below: Sequence[Definition], depth: int) -> Expression:
    queries = [d for d, one in enumerate(below) if one[0] == "query"]
    tables = [d for d, one in enumerate(below) if one[0] == "table"]

    def some(depth: int) -> Expression:
        return random_expression(choose, below, depth)

    def leaf() -> Expression:
        return (("constant", choose(0, 4)), ("argument",), ("cell", ("constant", choose(0, CELLS - 1))))[
            choose(0, 2)
        ]

    kind = choose(0, 15)
    if kind <= 2 or (kind > 8 and not depth):
        return leaf()
    if kind <= 6 and tables:
        t = tables[choose(0, len(tables) - 1)]
        at = leaf() if not depth else some(depth - 1)
        mode = ("where", "first", "exists", "count", "starting", "of", "failures", "rows")[choose(0, 7)]
        if mode in ("of", "rows"):
            return mode, t, texts_of(below, t), at
        if mode == "failures":
            return mode, t
        columns = ("b",) if mode == "starting" else (("a",), ("b",), ("a", "b"), ())[choose(0, 3)]
        return "look", t, mode, columns, at, leaf()
    if kind <= 8:
        if not queries:
            return leaf()
        chosen = [queries[choose(0, len(queries) - 1)] for _ in range(choose(1, 2))]
        if choose(0, 3) == 0:
            return "each", chosen, leaf()
        return "call", chosen, leaf(), leaf() if not depth else some(depth - 1)
    match kind:
        case 9:
            return "add", some(depth - 1), some(depth - 1)
        case 10:
            return ("half", "sign")[choose(0, 1)], some(depth - 1)
        case 11:
            return "if", some(depth - 1), some(depth - 1), some(depth - 1)
        case 12:
            return "fail", some(depth - 1)
        case 13 | 14:  # reads something or not, and is equal
            return "if", leaf(), ("half", ("sign", some(depth - 1))), ("constant", 0)
    return "rescue", some(depth - 1), some(depth - 1)
