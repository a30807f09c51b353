"""Random tables, folds and queries that become others, at once or between starts: answers as from scratch.

Each slot is a name. What it stands for changes: where its keys come from, columns, index, identity, what is
reduced and how, one of it or all, or from a table to a fold or a plain query and back.
`REDEFINED_PROGRAMS=300` makes more of them.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from engine import Count, Engine, Key, Max, Merge, Sum, fold, input, query, table
from engine.query import REGISTRY
from tests.expressions import Outcome, outcome_of

SLOTS = 5
LISTS = 3
PREFIX = "renamed:"
PROGRAMS = int(os.environ.get("REDEFINED_PROGRAMS", "12"))


@frozen
class Narrow:
    a: int
    b: str


@frozen
class Wide:
    c: int
    a: int
    b: str


@input
def listed(which: int) -> tuple[int, ...]:
    return tuple(range(which + 1))


def joined(one: int, other: int) -> int:
    return one * 10 + other


INTO: dict[str, Any] = {"sum": Sum(), "count": Count(), "max": Max(default=0), "merge": Merge(joined, 0)}


@frozen
class Slot:
    """What a name stands for. `each`: a list, or a slot below and a column of it."""

    kind: str
    each: tuple[int, str]
    shift: int
    index: tuple[str, ...]
    identity: tuple[str, ...]
    into: str
    of: str  # the name of the query that a fold is over


def random_slot(chance: random.Random, below: list[Slot]) -> Slot:
    each = (chance.randint(0, LISTS - 1), "")
    columns = [(at, name) for at, slot in enumerate(below) if is_table(slot) for name in slot.index]
    if columns and chance.random() < 0.6:
        each = chance.choice(columns)
    kind = chance.choice(["narrow", "wide", "fold", "fold", "query"])
    names = ("a", "c") if kind == "wide" else ("a",)
    return Slot(
        kind,
        each,
        chance.randint(0, 2),
        tuple(name for name in names if chance.random() < 0.8),
        tuple(name for name in names if chance.random() < 0.3),
        chance.choice(list(INTO)),
        chance.choice(["shifted", "turned"]),
    )


def another(chance: random.Random, old: Slot, new: Slot) -> Slot:
    """Something else altogether, or the same but for one thing: what nobody compares shows only there."""
    one = chance.choice(["each", "shift", "into", "of", "of", "all"])
    return new if one == "all" else evolve(old, **{one: getattr(new, one)})


def is_table(slot: Slot) -> bool:
    return slot.kind in ("narrow", "wide")


def define(slots: list[Slot]) -> list[Any]:
    """The queries, tables and folds of all slots, in order: each may look into those before it."""
    sources = [source(which) for which in range(LISTS)]
    made: list[Any] = []
    for number, slot in enumerate(slots):
        at, column = slot.each
        fed = column and is_table(slots[at]) and column in slots[at].index
        each = made[at].column(column) if fed else sources[at % LISTS]
        made.append(defined(f"{PREFIX}{number}", slot, each))
    return made


def source(which: int) -> Any:
    @query(name=f"{PREFIX}keys of {which}")
    def keys() -> tuple[int, ...]:
        return listed(which)

    return keys


def defined(name: str, slot: Slot, each: Any) -> Any:
    shift = slot.shift

    @query(name=f"{name} shifted")
    def shifted(key: int) -> int:
        if key + shift == 5:
            raise ValueError(key)
        return key + shift

    @query(name=f"{name} turned")
    def turned(key: int) -> int:
        return 9 - shifted(key)

    if slot.kind == "query":

        @query(name=name)
        def plain() -> int:
            return sum(listed(0)) + shift

        return plain
    if slot.kind == "fold":
        of = shifted if slot.of == "shifted" else turned
        return fold(each=each, of=of, into=INTO[slot.into], name=name)
    if slot.kind == "wide":

        @table(each=each, name=name, index=slot.index, identity=slot.identity)
        def wide(key: int) -> Iterable[Wide]:
            yield Wide(key % 2, shifted(key) % 4, str(key))

        return wide

    @table(each=each, name=name, index=slot.index, identity=slot.identity)
    def narrow(key: int) -> Iterable[Narrow]:
        yield Narrow(shifted(key), str(key))

    return narrow


def keys_of(made: list[Any], slots: list[Slot]) -> list[Key[Any]]:
    found: list[Key[Any]] = []
    for one, slot in zip(made, slots, strict=True):
        if not is_table(slot):
            found.append(one.key())
            continue
        found += [one.where.key(), one.failures.key(), one.of.key(1)]
        found += [one.where.key(**{name: value}) for name in slot.index for value in range(2)]
    return found


def from_scratch(key: Key[Any], lists: dict[int, tuple[int, ...]]) -> Outcome:
    with Engine(None) as fresh:
        for which, numbers in lists.items():
            fresh.set(listed.key(which), numbers)
        return outcome_of(partial(fresh.get, key))


def forget_definitions() -> None:
    for name in [name for name in REGISTRY if name.startswith(PREFIX)]:
        del REGISTRY[name]


@pytest.mark.parametrize("group", range(2))
def test_what_is_defined_otherwise_answers_as_from_scratch(group: int, tmp_path: Path) -> None:
    for seed in range(group * PROGRAMS, (group + 1) * PROGRAMS):
        chance = random.Random(seed)
        options: dict[str, Any] = {"history": chance.choice([0, 4]), "strict": chance.random() < 0.3}
        forget_definitions()
        slots: list[Slot] = []
        for _ in range(SLOTS):
            slots.append(random_slot(chance, slots))
        made, lists = define(slots), dict[int, tuple[int, ...]]()
        db = Engine(tmp_path / f"store{seed}", **options)
        for step in range(14):
            if chance.random() < 0.5:
                at = chance.randrange(SLOTS)
                slots[at] = another(chance, slots[at], random_slot(chance, slots[:at]))
                if chance.random() < 0.6:  # in another process
                    db.close()
                    forget_definitions()
                    db = Engine(tmp_path / f"store{seed}", **options)
                    assert not db.notes()
                made = define(slots)
            else:
                which = chance.randint(0, LISTS - 1)
                lists[which] = tuple(chance.randint(0, 5) for _ in range(chance.randint(0, 3)))
                db.set(listed.key(which), lists[which])
            keys = keys_of(made, slots)
            for key in chance.sample(keys, min(4, len(keys))) if step < 13 else keys:
                found = outcome_of(partial(db.get, key))
                assert found == from_scratch(key, lists), f"seed {seed}, step {step}: {key}"
            db.check_invariants()
        for one, slot in zip(made, slots, strict=True):
            if slot.kind != "query":
                assert not db.audit(one).differences, f"seed {seed}: {slot}"
        db.close()
