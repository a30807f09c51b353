"""What walks of one moment share changes no fingerprint, whatever the order in which they are made."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from engine import Engine
from engine.code.fingerprint import code_fingerprint, code_parts
from engine.code.shared import Shared
from engine.code.walk import Walk
from engine.query import REGISTRY
from engine.rules.python import dead, graph, overrides
from tests.loading import fresh, load

__all__ = ["fresh"]  # a fixture

MODULES = (dead, graph, overrides)  # these import the others
RULES = [info.function for name, info in REGISTRY.items() if name.startswith("engine.rules.")]
# Each of these hangs on who asks, or on the order in which a walk meets things.
TRAPS = {
    "app.py": """\
import contextlib
import functools
import threading
import zlib
from dataclasses import dataclass, field
from engine import query
import other

first, second = (lambda: 1), (lambda: 2)
deep = [1, (2, [other.shout])]
deep.append(deep)
holder = {"deep": deep, "again": (deep, deep)}
several = {"first": [first, second], "second": [second, first], "both": ([first], [second])}
opaque = zlib.compressobj()
guard = threading.Lock()

def wrap(function):
    @functools.wraps(function)
    def wrapped(*args):
        return (function, wrapped, args)
    return wrapped

@wrap
def one(): return opaque, several

@wrap
def two(): return one, other.opaque_too, deep

@functools.singledispatch
def kinds(x): return holder
@kinds.register
def _(x: int): return two()

@dataclass
class Node:
    next: "Node | None" = None
    made: list = field(default_factory=lambda: [first])
    def walk(self): return other.Leaf, self.next, guard

@query
def asked(number: int = len(several)) -> Node: return Node()

bag, inner = [], [zlib.compressobj()]
outer = [inner]
bag.append(contextlib.contextmanager(functools.partial(first, bag)))
held = bag[0]
other.outer = outer
class Made:
    steps = deep, holder, bag

def three(): return asked, Node, second, first
def four(): return first, several, kinds, other, absent
def five(): return functools.partial(three, Node), other.thing
def six():
    import lazy
    return lazy.n, other.again, holder
ORDER = [first, second]
def left(steps=ORDER): return steps
def right(steps=ORDER): return steps
def backwards(): return left, right, second
def forwards(): return left, right, first
@query
def told(how: object = zlib.compressobj()) -> int: return 1
@query
def turning(how: object = deep) -> int: return 1
def telling(): return other.told_there, told, turning
def eight(): return held
def nine(): return bag, held
def ten(): return inner, outer
def seven(node: "other.Leaf") -> "Node": return opaque
""",
    "other.py": """\
import app
def opaque_too(): return app.opaque, thing
def again(): return app.holder, app.second
def shout(): return thing
def outside(): return outer
def told_there(): return app.told, app.turning, app.Made
class Leaf:
    size: "app.Node"
    def grow(self): return opaque_too, Leaf
thing = (app, Leaf)
__getattr__ = lambda name: name
""",
    "lazy.py": "import app\nn = 1\n",
}


def fingerprints(functions: dict[str, Any], order: list[str], shared: Shared | None) -> dict[str, bytes]:
    return {name: code_fingerprint(functions[name], shared=shared) for name in order}


def test_in_any_order_and_alone_functions_have_the_same_fingerprints(tmp_path: Path) -> None:
    app = load(tmp_path, TRAPS)
    scope = {
        **vars(app),
        **{f"other.{name}": one for name, one in vars(app.other).items()},
        "walk": app.Node.walk,
    }
    functions = {name: one for name, one in scope.items() if isinstance(one, FunctionType)}
    order = sorted(functions)
    alone = fingerprints(functions, order, None)
    assert len(set(alone.values())) == len(alone) >= 15
    for seed in range(12):
        random.Random(seed).shuffle(order)
        assert fingerprints(functions, order, Shared()) == alone
    parts = {name: code_parts(one) for name, one in functions.items()}
    for first, second in itertools.permutations(functions, 2):
        shared = Shared()
        code_parts(functions[first], shared=shared)
        assert code_parts(functions[second], shared=shared) == parts[second]


def test_the_queries_of_the_code_graph_have_the_same_fingerprints_in_any_order() -> None:
    rules = list(RULES)
    functions = random.Random(0).sample(rules, 40)
    alone = [code_fingerprint(each) for each in functions]
    for seed in range(3):
        random.Random(seed).shuffle(rules)
        shared = Shared()
        for each in rules:
            code_fingerprint(each, shared=shared)
        assert [code_fingerprint(each, shared=shared) for each in functions] == alone


def test_what_changed_between_two_moments_is_not_shared(tmp_path: Path) -> None:
    app = load(tmp_path, "table = [1]\ndef below(): return table\ndef f(): return below")
    before = code_fingerprint(app.f, shared=Shared())
    app.table.append(2)
    assert code_fingerprint(app.f, shared=Shared()) != before


def test_a_function_that_many_queries_reach_is_read_once_at_a_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = "".join(f"@query\ndef q{n}() -> int: return below({n})\n" for n in range(20))
    above = f"@query\ndef above() -> int: return {' + '.join(f'q{n}()' for n in range(20))}\n"
    app = load(tmp_path, f"from engine import query\ndef below(n): return n\n{queries}{above}")
    read: list[str] = []
    real = Walk.function

    def function(walk: Walk, of: FunctionType, name: str) -> None:
        read.append(of.__name__)
        real(walk, of, name)

    monkeypatch.setattr(Walk, "function", function)
    with Engine(tmp_path / "store") as db:
        assert db.get(app.above) == sum(range(20))
    assert read.count("below") == 20, "each query is met by itself, and anything may run in between"
    read.clear()
    with Engine(tmp_path / "store") as db:
        assert db.get(app.above) == sum(range(20))
        assert db.counts().executed == 0
    assert read.count("below") == 1
    assert sorted(read) == sorted(["below", "above", *(f"q{n}" for n in range(20))])
