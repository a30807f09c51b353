"""Programs whose code is edited: random modules, a name of which stands for anything that a query can reach.

Each name is a constant, a function, a class, a query, a table, ... that reads those before it. An edit makes
some of them anew: of another kind, with other parameters, defaults, methods or annotations. The first names
may live in a module of their own, which is imported in one of three ways, from Python 3.15 on also lazily.
"""

from __future__ import annotations

import random
import re
import sys

CELLS = 3
WAYS = ("from", "module", "late")  # how the other module is imported; late: in the bodies of queries
HEAD = """
from __future__ import annotations
import functools
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple
from attrs import frozen
from engine import Count, Max, Merge, Min, Sum, each, fold, input, query, table
{imports}

def wrapped(function: Any) -> Any:
    @functools.wraps(function)
    def inner(*args: Any, **more: Any) -> Any:
        return function(*args, **more)
    return inner

def number(value: Any) -> int:
    if isinstance(value, (tuple, list, frozenset)):
        return sum(number(one) for one in value) % 97
    if hasattr(value, "worth"):
        kind = type(value)
        is_of_now = getattr(sys.modules[kind.__module__], kind.__name__, None) is kind
        return number(value.worth()) if is_of_now else -1
    return len(value) if isinstance(value, str) else int(value or 0)

def rescued(work: Any) -> int:
    try:
        return number(work())
    except Exception as error:
        return 50 + len(type(error).__name__)

@input
def cell(n: int) -> int:
    return n

@input
def listed() -> tuple[int, ...]:
    return 0, 1, 2
"""
WORTH = "    def worth(self) -> int:\n        n = self.n\n        return $e\n"
BODY = f"""\
    n: int$default
{WORTH}    K = $small
    @property
    def p(self) -> int:
        return self.n + $small"""
OWN = """\
@frozen
class Own$at:
    n: int
    def worth(self) -> int:
        return self.n + $small
"""
ROW = """\
class Row$at(NamedTuple):
    a: int
    b: str
$more    def worth(self) -> int:
        return self.a + $small
"""
MINE = """class Mine$at:
    def empty(self) -> int:
        return 0
    def lift(self, value: Any) -> int:
        return number(value) + $small
    def merge(self, one: int, other: int) -> int:
        return one + other
    def result(self, state: int) -> int:
        return state
"""
ROWS = """, index=$index$identity)
def $name(n: int) -> list[Row$at]:
    return [Row$at(($e) % 3, str(($e) % 3))]"""
FOLDED = "$name = fold(each=listed, of=$reduced, into=$into, name=f'{__name__}:$name')"

# What a name of each kind may be. $name: it; $e: an expression of `n`; of those before it, if there are any:
# $record, $table, $reduced, $called. The last alternative of each kind reads none of these but by $e.
KINDS: dict[str, tuple[str, ...]] = {
    "constant": ("$name = $small", "$name = len([1] * $small)"),
    "function": (
        "def $name(x=0):\n    n = x\n    return $e",
        "def $name(x=0, y=1):\n    n = x\n    return $e",
    ),
    "wrapped": ("@wrapped\ndef $name(x):\n    n = x\n    return $e",),
    "lambda": ("$name = lambda n: $e",),
    "closure": (
        "def make$at(k):\n    def inner(n):\n        return n + k\n    return inner\n$name = make$at($small)",
    ),
    "record": (
        f"@frozen\nclass $name:\n{BODY}",
        f"@dataclass(frozen=True)\nclass $name:\n{BODY}",
        f"class $name(NamedTuple):\n{BODY}",
    ),
    "child": (
        f"class $name($record):\n{WORTH}",
        "class $name($record):\n    pass",
        f"@frozen\nclass $name:\n{BODY}",
    ),
    "enum": (
        "class $name(Enum):\n    A = 0\n    B = 1\n    C = 2\n"
        "    def worth(self) -> int:\n        n = self.value\n        return $e",
    ),
    "query": (
        "@query$option\ndef $name(x: $loose) -> int:\n    n = x\n    return $e",
        "@query\ndef $name(y: int) -> int:\n    n = y\n    return $e",
        "@query\ndef $name(x: int, z: int = $small) -> int:\n    n = x + z\n    return $e",
        "@query\ndef $name(x: int, z: int) -> int:\n    n = x\n    return $e",
    ),
    "defaults": (
        "@query$option\ndef $name(x: int = $small, y: int = $small) -> int:\n    n = x - y\n    return $e",
    ),
    "keyword": (
        "@query$option\ndef $name(x: int, *, y: int = $small) -> int:\n    n = x - y\n    return $e",
    ),
    "starred": (
        "@query$option\ndef $name(*xs: int) -> int:\n    n = 1\n    return $e + len(locals())",
        "@query$option\ndef $name(x: int, y: int = 1) -> int:\n    n = 1\n    return $e + len(locals())",
    ),
    "alone": ("@query$option\ndef $name() -> $number:\n    n = 1\n    return $e",),
    "batch": (
        "@query(batch=True)\ndef $name(ns: list[int]) -> list[$record]:\n    return [$record(n) for n in ns]",
        "@query(batch=True)\ndef $name(ns: list[int]) -> list[int]:\n    return [n * $small for n in ns]",
    ),
    "gives": (
        "@query$option\ndef $name(x: int) -> $record:\n    n = x\n    return $record($e)",
        f"{OWN}@query$option\ndef $name(x: int) -> Own$at:\n    return Own$at(x)",
    ),
    "several": (
        "@query$option\ndef $name(x: int) -> tuple[$record, ...]:\n    n = x\n    return ($record($e),)",
        f"{OWN}@query$option\ndef $name(x: int) -> tuple[Own$at, ...]:\n    return (Own$at(x),)",
    ),
    "otherwise": ("@query$option\ndef $name(x: int) -> $several:\n    return (x, x + $small)",),
    "method": (
        "@frozen\nclass $name:\n    n: int\n    @query\n    def asked(self, x: int = $small) -> int:\n"
        "        n = self.n + x\n        return $e",
    ),
    "input": ("@input\ndef $name(x: int$default) -> $number:\n    return x + $small",),
    "table": (f"{ROW}@table(each=$table.column('a'){ROWS}", f"{ROW}@table(each=listed{ROWS}"),
    "fold": (
        FOLDED,
        MINE + FOLDED.replace("$into", "Mine$at()"),
        "@query$option\ndef $name() -> int:\n    n = 1\n    return $e",
    ),
    "dict": ("$name = {0: $called, 1: $called, 2: $called}", "$name = {0: abs, 1: len, 2: abs}"),
    "partial": ("$name = functools.partial($called, $small)", "$name = functools.partial(int, $small)"),
}
CHOICES: dict[str, tuple[str, ...]] = {
    "small": ("0", "1", "2", "3"),
    "default": ("", "", " = 1", " = 2"),
    "more": ("", "    c: int = 3\n"),
    "option": ("", "", "", "(persist=False)"),
    "loose": ("int", "int", "Any"),
    "number": ("int", "int", "Any"),
    "several": ("tuple[int, ...]", "frozenset[int]", "Any"),
    "index": ("('a', 'b')", "('a', 'b')", "('b',)", "('a',)"),
    "identity": ("", ", identity=('a',)"),
    "into": ("Max(default=0)", "Min(default=0)", "Count()", "Sum()", "Merge(min, 0)"),
}
OF_KINDS: dict[str, tuple[str, ...]] = {  # what can stand for a name that is read
    "record": ("record",),
    "table": ("table",),
    "reduced": ("query", "defaults", "keyword", "gives", "batch", "input", "otherwise"),
    "called": ("function", "query", "wrapped", "lambda", "defaults", "closure", "keyword"),
}
CALLED = ("$it($a)",)
# How names of each kind are read. $it: the name; $a: a number from 0 to 2.
READS: dict[str, tuple[str, ...]] = {
    "constant": ("$it",),
    "function": ("$it($a)", "$it()", "$it(x=$a)"),
    **dict.fromkeys(("wrapped", "lambda", "closure"), CALLED),
    **dict.fromkeys(("record", "child"), ("$it($a).worth()", "number($it($a))", "$it.K", "$it($a).p")),
    "enum": ("$it($a).worth()", "$it.A.worth()"),
    "query": ("$it($a)", "$it(x=$a)", "sum(each($it, range($a)))", "sum(each([$it.key($a)]))"),
    "defaults": ("$it($a)", "$it()", "$it(y=$a)", "$it($a, $a)", "sum(each([$it.key(), $it.key($a)]))"),
    "keyword": ("$it($a)", "$it($a, y=$a)", "sum(each($it, range($a)))"),
    "starred": ("$it($a)", "$it($a, $a)", "$it()"),
    "alone": ("number($it())",),
    "batch": ("number($it($a))", "number(each($it, range($a)))"),
    "gives": ("$it($a).worth()", "number($it($a))", "number(each($it, (0, 1)))"),
    "several": ("$it($a)[0].worth()", "number($it($a))"),
    "otherwise": ("number($it($a))",),
    "method": ("$it($a).asked()", "$it($a).asked($a)"),
    "input": ("number($it($a))", "number($it())"),
    "table": (
        *("$it.count()", "$it.count(a=$a)", "number($it.first(a=$a))", "number($it.where(b='1'))"),
        *("number([*$it])", "number($it.of($a))", "number($it($a))", "number($it.starting(b='1'))"),
        *("sum(each([$it.count.key(a=$a)]))", "len($it.failures())", "$it.count(z=$a)"),
    ),
    "fold": ("number($it())", "number(each([$it.key()]))"),
    "dict": ("$it[$a]($a)", "number($it.get(1)(1))"),
    "partial": ("number($it())",),
}


class Program:
    """A random module and the one that it imports."""

    def __init__(self, chance: random.Random, name: str) -> None:
        self.chance, self.name = chance, name
        size = chance.randint(3, 7)
        self.elsewhere = chance.randint(0, size // 2)  # names in the other module: the first ones
        self.way = chance.choice(WAYS)
        self.kinds: list[str] = []
        self.definitions: list[str] = []
        for at in range(size):
            self.kinds.append(chance.choice(list(KINDS)))
            self.definitions.append(self._definition(at))
        self.asked = [self._expression(size, 3) for _ in range(CELLS)]

    def edit(self) -> None:
        """Define a name or two otherwise."""
        for _ in range(self.chance.choice([1, 1, 2])):
            at = self.chance.randrange(len(self.kinds))
            if self.chance.random() < 0.3:
                self.kinds[at] = self.chance.choice(list(KINDS))
            self.definitions[at] = self._definition(at)

    def state(self) -> tuple[list[str], list[str]]:
        """What an edit changes."""
        return list(self.kinds), list(self.definitions)

    def go_back(self, state: tuple[list[str], list[str]]) -> None:
        self.kinds, self.definitions = list(state[0]), list(state[1])

    def texts(self) -> dict[str, str]:
        """Both modules by name, in the order in which they are to be loaded."""
        other = f"{self.name}_other"
        lazy = "lazy " if sys.version_info >= (3, 15) else ""
        imports = {
            "from": f"from {other} import *",
            "module": f"{lazy}import {other} as other",
            "late": f"import {other} as other",
        }
        late = imports["late"] if self.way == "late" else "pass"
        asked = [
            f"@query\ndef asked{at}(n: int) -> int:\n    {late}\n    return rescued(lambda: {expression})"
            for at, expression in enumerate(self.asked)
        ]
        here = [HEAD.format(imports=imports[self.way]), *self.definitions[self.elsewhere :], *asked]
        return {
            other: "\n".join([HEAD.format(imports=""), *self.definitions[: self.elsewhere]]),
            self.name: "\n".join(here),
        }

    def _definition(self, at: int) -> str:
        chance = self.chance
        fit = [
            text
            for text in KINDS[self.kinds[at]]
            if all(self._of(at, asked) for asked in OF_KINDS if re.search(rf"\${asked}\b", text))
        ]
        record = chance.choice(self._of(at, "record") or [""])

        def part(found: re.Match[str]) -> str:
            match found[1]:
                case "name":
                    return f"d{at}"
                case "at":
                    return str(at)
                case "e":
                    return self._expression(at, 2)
                case "record":
                    return record  # what is returned is what is said
                case one if one in OF_KINDS:
                    return chance.choice(self._of(at, one))
                case one:
                    return chance.choice(CHOICES[one])

        return re.sub(r"\$([a-z]+)", part, chance.choice(fit))

    def _of(self, at: int, asked: str) -> list[str]:
        """The names before one that are of some kinds."""
        return [self._said(one, at) for one in range(at) if self.kinds[one] in OF_KINDS[asked]]

    def _said(self, read: int, at: int) -> str:
        """A name as another one says it."""
        across = read < self.elsewhere <= at and self.way != "from"
        return f"other.d{read}" if across else f"d{read}"

    def _expression(self, at: int, depth: int) -> str:
        """An expression of `n` that reads what is before a name."""
        chance = self.chance
        if depth == 0 or at == 0 or chance.random() < 0.15:
            return chance.choice([str(chance.randint(0, 4)), "n", f"cell({chance.randrange(CELLS)})"])
        one, other, third = (self._expression(at, depth - 1) for _ in range(3))
        kind = chance.randint(0, 9)
        if kind < 7:
            read = chance.randrange(at)
            text = chance.choice(READS[self.kinds[read]])
            made = text.replace("$it", self._said(read, at)).replace("$a", f"({one}) % 3")
            return f"rescued(lambda: {made})" if chance.random() < 0.4 else made  # else all is one error
        return (
            f"({one} + {other}) % 97",
            f"({one} if ({other}) % 2 else {third})",
            f"rescued(lambda: {one})",
        )[kind - 7]
