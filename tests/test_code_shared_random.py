"""Random modules whose functions reach each other by all ways that there are: alone, together, in any order.

Objects hold what was made before them, names stand for whatever has them in the end, and many have one name.
SHARED_PROGRAMS=300 for more.
"""

from __future__ import annotations

import collections
import functools
import os
import random
import sys
import zlib
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any

import pytest

from engine import query
from engine.code.fingerprint import code_parts
from engine.code.shared import Shared

NAMES = [f"v{number}" for number in range(14)]
MODULES = [f"shared_random_{number}" for number in range(3)]
PROGRAMS = int(os.environ.get("SHARED_PROGRAMS", "16"))


@pytest.fixture
def modules() -> Iterator[list[ModuleType]]:
    made = [ModuleType(name) for name in MODULES]
    sys.modules.update(zip(MODULES, made, strict=True))
    yield made
    for name in MODULES:
        del sys.modules[name]


class Program:
    """Objects, each under a name of one of the modules."""

    def __init__(self, seed: int, modules: list[ModuleType]) -> None:
        self.chance = random.Random(seed)
        self.pool: list[Any] = [1]
        for module in modules:
            vars(module).update({"__name__": module.__name__, **dict(zip(MODULES, modules, strict=True))})
        for _ in range(self.chance.randint(15, 45)):
            self.module = self.chance.choice(modules)
            self.name = self.chance.choice(NAMES)
            made = self.chance.choice(MAKERS)(self)
            self.pool.append(made)
            setattr(self.module, self.name, made)
        self.functions = [one for one in self.pool if callable(one)]

    def one(self) -> Any:
        return self.chance.choice(self.pool)

    def many(self) -> list[Any]:
        return [self.one() for _ in range(self.chance.randrange(4))]

    def callable(self) -> Any:
        return self.chance.choice([len, *(one for one in self.pool if isinstance(one, FunctionType))])

    def run(self, text: str, **given: Any) -> Any:
        scope = vars(self.module)
        scope.update(given)
        exec(text, scope)
        return scope.pop("made")


def around(program: Program) -> Any:
    held = program.many()
    held.append(held)
    return held


def function(program: Program) -> Any:
    chance = program.chance
    reads = [chance.choice(NAMES) for _ in range(chance.randrange(4))]
    reads += [f"{chance.choice(MODULES)}.{chance.choice(NAMES)}" for _ in range(chance.randrange(2))]
    text = f"def made(given=held):\n    return [{', '.join(reads)}]"
    made = program.run(text, held=program.one())
    if chance.random() < 0.3:
        made.extra = program.one()
    return made


def closure(program: Program) -> Any:
    text = (
        "def make(one, many):\n    def made(): return one, many, v1\n    return made\nmade = make(one, many)"
    )
    return program.run(text, one=program.one(), many=program.many())


def class_(program: Program) -> Any:
    return program.run(
        f"class made:\n    a = held\n    def read(self): return {program.name}", held=program.one()
    )


def asked(program: Program) -> Any:
    text = "def made(given: object = held) -> object: return v2"
    return query(name=f"shared:{len(program.pool)}")(program.run(text, held=program.one()))


def instance(program: Program) -> Any:
    kinds = [one for one in program.pool if isinstance(one, type)]
    if not kinds:
        return None
    made = program.chance.choice(kinds)()
    made.of = program.one()
    return made


MAKERS: list[Callable[[Program], Any]] = [
    *[function] * 6,
    *[closure, class_, around, asked, instance] * 2,
    Program.many,
    lambda program: tuple(program.many()),
    lambda program: dict(enumerate(program.many())),
    lambda program: collections.OrderedDict(enumerate(program.many())),
    lambda program: functools.partial(program.callable(), *program.many()),
    lambda program: functools.wraps(program.callable())(lambda *given: given),
    lambda program: functools.lru_cache(program.callable()),
    lambda program: program.module,
    lambda _: zlib.compressobj(),
]


def test_random_functions_have_the_same_parts_alone_and_together(modules: list[ModuleType]) -> None:
    for seed in range(PROGRAMS):
        functions = Program(seed, modules).functions
        of = functools.partial(code_parts, project=lambda name: name in MODULES)
        alone = [of(one) for one in functions]
        order = list(range(len(functions)))
        for _ in range(3):
            random.Random(seed).shuffle(order)
            shared = Shared()
            for number in order:
                assert of(functions[number], shared=shared) == alone[number], f"program {seed}"
