"""What a class has for certain it has however its body goes; what it may lack it lacks in some run of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from textwrap import indent
from typing import Any

import pytest

from engine import Engine
from engine.rules import python

NAMES = "abcde"
CLASSES = 40
RUNS = 80
BASE = "class Base:\n" + "".join(f"    def {name}(self): ...\n" for name in NAMES)


def _body(chance: Random, depth: int, only_if: bool) -> str:
    lines: list[str] = []
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(NAMES)
        first, second, third = (
            indent(_body(chance, depth - 1, only_if), "    ") if depth else "    pass" for _ in range(3)
        )
        simple = [f"def {name}(self): ...", f"{name} = 1", f"class {name}: ..."]
        statements = [
            *simple,
            f"if when():\n{first}",
            f"if when():\n{first}\nelse:\n{second}",
            f"if when():\n{first}\nelif when():\n{second}\nelse:\n{third}",
            f"if when():\n{first}\nelif when():\n{second}",
            f"try:\n    fail()\n{first}\n    fail()\nexcept OSError:\n{second}\nelse:\n{third}",
            f"try:\n{first}\n    fail()\nexcept OSError:\n{second}\nfinally:\n{third}",
            f"for {name} in range(when()):\n{first}\nelse:\n{second}",
            f"while when():\n{first}",
            f"with suppress(OSError):\n    fail()\n{first}\n    fail()",
            f"try:\n    fail()\n{first}\nexcept OSError as {name}:\n{second}",
            f"match when():\n case 0:\n{first}\n case _ if when():\n{second}",
            f"match when():\n case {name} if when():\n{first}",
            f"if when() and ({name} := 1):\n{first}",
        ]
        lines.append(chance.choice(statements[:8] if only_if else statements) if depth else simple[0])
        if chance.random() < 0.1:
            lines.append(f"{name} = 1\ndel {chance.choice((name, f'({name},)'))}")
    return "\n".join(lines)


def _runs(text: str) -> Iterator[type]:
    """The class, made once for each way in which its conditions can be, or for many of them."""
    code = compile(text, "body", "exec")
    ways: list[list[int]] = [[]]
    for _ in range(RUNS):
        if not ways:
            return
        way, asked = ways.pop(0), 0

        def when(way: list[int] = way) -> int:
            nonlocal asked
            asked += 1
            if asked > len(way):
                ways.append([*way, 1])
                way.append(0)
            return way[asked - 1]

        def fail(when: Any = when) -> None:
            if when():
                raise OSError

        known: dict[str, Any] = {"when": when, "fail": fail, "suppress": suppress}
        exec(f"{BASE}", known)
        exec(code, known)
        yield known["C"]


@pytest.mark.parametrize("only_if", [True, False])
def test_what_a_class_may_inherit_is_what_it_has_not_for_certain(only_if: bool, tmp_path: Path) -> None:
    texts = [
        f"class C(Base):\n{indent(_body(Random(seed), 2, only_if), '    ')}\n" for seed in range(CLASSES)
    ]
    uses = "".join(f"    c.{name}\n" for name in NAMES)
    for seed, text in enumerate(texts):
        (tmp_path / f"m{seed}.py").write_text(f"from base import Base\n{text}def f(c: C):\n{uses}")
    (tmp_path / "base.py").write_text(BASE)
    inherited = hidden = 0
    with Engine(None, root=tmp_path) as db:
        for seed, text in enumerate(texts):
            rows = db.get(python.references.where, source=f"m{seed}.py:f")
            said = {name: {row.target for row in rows if row.name == f"c.{name}"} for name in NAMES}
            runs = list(_runs(text))
            for name in NAMES:
                ways = {name in vars(one) for one in runs}
                what = f"seed {seed}, {name}: {said[name]}\n{text}"
                assert (f"m{seed}.py:C.{name}" in said[name]) >= (True in ways), what
                assert (f"base.py:Base.{name}" in said[name]) >= (False in ways), what
                if only_if and len(runs) < RUNS:
                    assert (f"base.py:Base.{name}" in said[name]) == (False in ways), what
                inherited += False in ways
                hidden += ways == {True} and said[name] == {f"m{seed}.py:C.{name}"}
    assert min(inherited, hidden) > 10
