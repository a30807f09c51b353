"""Random programs: with processes and without, all values and all that is stored are the same."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import engine.parallel.held as held
import engine.parallel.shared as shared
from engine import Engine
from engine.parallel.dispatch import Dispatch
from engine.parallel.exchange import Exchange
from engine.parallel.processes import Processes
from engine.parallel.units import Setup, encode
from tests.expressions import outcome_of
from tests.programs import ARGUMENTS, CELLS, FILES, random_expression
from tests.workers import Rules, graph_of

PROGRAM = """
import json
from typing import Any
from tests.programs import evaluate

CODE = json.loads({code!r})

@input
def cell(n: int) -> int:
    return n

@query
def content(n: int) -> int:
    return int(read_text(f"file{{n}}"))

@query(batch=3, workers={batched!r})
def tripled(numbers: list[int]) -> list[int]:
    return [3 * number for number in numbers]

class Reads:
    def read(self, node: Any) -> int:
        kind, n = node
        return cell(n) if kind == "cell" else content(n) if kind == "file" else QUERIES[kind](n)

    def group(self, nodes: Any) -> list[int]:
        found = each([QUERIES[kind].key(n) for kind, n in nodes])
        return [number // 3 for number in each(tripled, found)]

READS = Reads()

def made(q: int) -> Any:
    return QUERIES[q]

{queries}
QUERIES = [{names}]

@query
def everything() -> tuple[int, ...]:
    return each([one.key(n) for one in QUERIES for n in range({arguments})])
"""
QUERY = """
@query(workers={workers!r}, persist={persist})
def q{q}(n: int) -> {kind}:
    return evaluate(CODE[{q}], n, READS)
"""


def program(pick: Callable[[int, int], int]) -> tuple[str, int]:
    size = pick(2, 8)
    code = [random_expression(pick, range(q), pick(1, 3), "cells and files") for q in range(size)]
    places = ["process", "process", "process", "inline", "auto"]
    queries = [
        QUERY.format(q=q, workers=places[pick(0, 4)], persist=pick(0, 4) > 0, kind="int") for q in range(size)
    ]
    names = ", ".join(f"q{q}" for q in range(size))
    text = PROGRAM.format(
        code=json.dumps(code),
        queries="".join(queries),
        names=names,
        arguments=ARGUMENTS,
        batched=places[pick(0, 4)],
    )
    return text, size


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of all programs."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def executor(root: Path) -> Iterator[Processes]:
    """Two workers for all programs: starting them takes longer than a program."""
    made = Processes(2)
    made.open(encode(Setup(str(root).encode(), 1_000, ())))
    yield made
    made.close()


def let_go(exchange: Exchange) -> None:
    """Instead of ending all workers, which serve further engines: those that still work for this one."""
    for number in [number for number, slot in exchange._slots.items() if slot.units]:
        exchange._drop(number)


def timeline(
    seed: int,
    rules: Rules,
    size: int,
    place: Path,
    executor: Processes | None,
    monkeypatch: pytest.MonkeyPatch,
) -> list[Any]:
    """What a random timeline comes to: everything that can be seen, step by step."""
    pick = random.Random(seed).randint
    store = place / f"store{executor is not None}{seed}"
    for n in range(FILES):
        (place / f"file{n}").write_text(str(n))
    seen: list[Any] = []

    def opened() -> Engine:
        db = Engine(store, root=place, depth_limit=1_000, history=0)
        if executor is not None:
            made = executor
            db._core.dispatch = Dispatch(db._core, lambda: made)
            exchange = db._core.dispatch.exchange
            monkeypatch.setattr(exchange, "close", partial(let_go, exchange))
        return db

    db = opened()
    for _ in range(12):
        step = pick(0, 9)
        if step < 4:
            db.set(rules.cell.key(pick(0, CELLS - 1)), pick(0, 4))
        elif step < 7:
            (place / f"file{pick(0, FILES - 1)}").write_text(str(pick(0, 4)))
            db.sync()
        elif step == 7:
            db.forget(f"*:q{pick(0, size - 1)}(*")
        elif step == 8:
            db.close()
            db = opened()
            db.sync()
        before = db.counts().executed
        seen.append(outcome_of(partial(db.get, rules.everything)))
        keys = [one.key(n) for one in rules.QUERIES for n in range(ARGUMENTS)]
        seen.append([outcome_of(partial(db.get, key)) for key in keys])
        seen.append(("executed", db.counts().executed - before))
        db.check_invariants()
        seen.append(graph_of(db))
    assert db.store is not None
    db.store.check_invariants()
    db.close()
    return seen


PROGRAMS = int(os.environ.get("WORKERS_PROGRAMS", "3"))  # of each group


@pytest.mark.parametrize("group", range(4))
def test_random_programs_do_not_show_where_they_ran(
    group: int, tmp_path: Path, root: Path, executor: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "ASK_US", 0 if group % 2 else 10**9)
    if group // 2 % 2:  # whatever can be given is given
        for name, value in (("GIVE_US", 0), ("LOAD_US", 0), ("AGAIN", -1.0)):
            monkeypatch.setattr(shared, name, value)
    for seed in range(group * PROGRAMS, (group + 1) * PROGRAMS):
        text, size = program(random.Random(seed).randint)
        rules = Rules(tmp_path, text)
        here = timeline(seed, rules, size, root, None, monkeypatch)
        there = timeline(seed, rules, size, root, executor, monkeypatch)
        for at, (one, other) in enumerate(zip(here, there, strict=True)):
            if at % 4 == 2 and "persist=False" in text:
                continue  # what is not stored is not sent, but for members: it runs here where it is read
            if isinstance(one, dict):
                assert one.keys() == other.keys(), f"seed {seed}, step {at // 4}"
                for name in one:
                    assert one[name] == other[name], f"seed {seed}, step {at // 4}: {name}"
            assert one == other, f"seed {seed}, step {at // 4}"
