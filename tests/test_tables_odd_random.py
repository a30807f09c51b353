"""Random tables of odd keys and values whose columns change: answers, audits and feeds are those of Python.

Equal rows of several members, keys and values that Python finds equal and that are not, texts that SQLite
cannot hold, errors that have the name of ours, names of columns that SQL knows. `ODD_TABLES=300` makes more.
"""

from __future__ import annotations

import graphlib
import math
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from engine import Engine, Merge, Set, Sum, fold, input, query, table
from engine.store.canonical import pack
from tests.expressions import Outcome, outcome_of

SEEDS = int(os.environ.get("ODD_TABLES", "6"))
TEXTS = ["", "a", "ab", "a%", "_", "a\0b", "\ud800", "a\udfff", "a\U0010ffff", "a\ud7ff", "a\ue000", "é"]
POOL: dict[Any, list[Any]] = {
    str: TEXTS,
    int: [0, 1, -1, (1 << 63) - 1, 1 << 63, -(1 << 63), 1 << 100],
    float: [0.0, -0.0, 1.0, math.nan, math.inf, 2.0**53, 5e-324],
    bool: [False, True],
    bytes: [b"", b"\0", b"\xc1", b"\xc1a"],
    Decimal: [Decimal("1"), Decimal("1.0"), Decimal("-0"), Decimal("NaN")],
}
POOL |= {
    str | None: [*TEXTS, None],
    int | str: [*POOL[int], *TEXTS],
    Any: [*POOL[int], *POOL[float], True, "a"],
}
KEYS: list[Any] = [0, 1, True, 1.0, 0.0, -0.0, None, "a", "\ud800", "", b"", 1 << 70, (1,), (True,)]
NAMES = ["rowid", "oid", "id", "source", "Order", "select"]
ERRORS: dict[str, Any] = {"value": ValueError, "graphlib": graphlib.CycleError}


@input
def listed() -> Any:
    return ()


@input
def given(key: Any) -> Any:
    """The rows of a key, or the name of an error."""
    return ()


@query
def keys() -> tuple[Any, ...]:
    found = listed()
    if found is None:
        raise ValueError("no keys")
    return tuple(found)


@query
def size(key: Any) -> int:
    return len(given(key))


@query
def shown(key: Any) -> str:
    return ascii(key)


def joined(left: str, right: str) -> str:
    return left + right


sizes = fold(each=keys, of=size, into=Sum())
texts = fold(each=keys, of=shown, into=Merge(joined, ""))


class World:
    """One engine, what its inputs are, and what a consumer of its table has."""

    def __init__(self, seed: int, store: Path | None, history: int) -> None:
        self.chance = random.Random(seed)
        self.store, self.history = store, history
        self.listed: Any = ()
        self.given: dict[bytes, Any] = {}
        self.mirror: Counter[bytes] = Counter()
        self.position: str | None = None
        self.define()
        self.open()

    def open(self) -> None:
        self.db = Engine(self.store, history=self.history)
        assert not self.db.notes()

    def define(self) -> None:
        """Other columns. No member has rows then, for they would not fit."""
        chance = self.chance
        self.names = chance.sample(NAMES, chance.randint(1, 3))
        self.kinds = dict(zip(self.names, chance.choices(list(POOL), k=3), strict=False))
        fields = {name: attrs.field(type=kind) for name, kind in self.kinds.items()}
        row: Any = attrs.make_class("Row", fields, frozen=True)
        self.index = chance.sample(self.names, chance.randint(1, len(self.names)))
        identity = chance.sample(self.names, chance.randint(0, len(self.names)))

        def rows(key: Any) -> Any:
            found = given(key)
            if found in ERRORS:
                raise ERRORS[found]("\ud800", [1])
            return [row(*one) for one in found]

        rows.__annotations__["return"] = Iterable[row]
        make: Any = table(each=keys, index=self.index, identity=identity, name="odd:rows")
        self.rows = make(rows)
        self.values = fold(each=self.rows.column(self.index[0]), of=shown, into=Set(), name="odd:values")
        self.some = [self.row() for _ in range(5)]

    def row(self) -> tuple[Any, ...]:
        return tuple(self.chance.choice(POOL[kind]) for kind in self.kinds.values())

    # -- what is right ---------------------------------------------------------------------------

    def members(self) -> dict[bytes, Any]:
        return {pack(key): self.given.get(pack(key), ()) for key in self.listed}

    def found(self) -> list[tuple[Any, ...]]:
        several = [rows for rows in self.members().values() if rows not in ERRORS]
        return [row for rows in several for row in {pack(row): row for row in rows}.values()]

    def packed(self, rows: Iterable[Any]) -> Counter[bytes]:
        return Counter(pack(tuple(getattr(row, name) for name in self.names)) for row in rows)

    # -- steps -----------------------------------------------------------------------------------

    def step(self) -> None:
        steps: dict[Callable[[], None], int] = {
            self.edit: 10, self.ask: 8, self.follow: 6, self.compare: 3, self.restart: 3, self.redefine: 2,
        }  # fmt: skip
        self.chance.choices(list(steps), list(steps.values()))[0]()
        self.db.check_invariants()

    def edit(self) -> None:
        chance = self.chance
        for key in chance.sample(KEYS, chance.randint(1, 4)):
            rows = tuple(chance.choice([*self.some, self.row()]) for _ in range(chance.randint(0, 3)))
            self.given[pack(key)] = chance.choice([*ERRORS]) if chance.random() < 0.15 else rows
        if chance.random() < 0.5:
            self.listed = chance.choices(KEYS, k=chance.randint(0, 9)) if chance.random() < 0.9 else None
        self.put(self.db)

    def put(self, db: Engine) -> None:
        with db.batch():
            for key in KEYS:
                db.set(given.key(key), self.given.get(pack(key), ()))
            db.set(listed.key(), self.listed)

    def ask(self) -> None:
        if self.listed is None:
            with pytest.raises(ValueError, match="no keys"):
                self.db.get(self.rows.count)
            return
        found, chance = self.found(), self.chance
        asked = chance.sample(self.index, chance.randint(0, len(self.index)))
        like = dict(zip(self.names, chance.choice(found or self.some), strict=True))
        at = {self.names.index(name): like[name] for name in asked}
        right = [row for row in found if all(pack(row[n]) == pack(value) for n, value in at.items())]
        terms = {name: like[name] for name in asked}
        assert self.packed(self.db.get(self.rows.where, **terms)) == Counter(map(pack, right)), terms
        assert self.db.get(self.rows.count, **terms) == len(right), terms
        assert self.db.get(self.rows.exists, **terms) == bool(right), terms
        failing = [rows for rows in self.members().values() if rows in ERRORS]
        assert len(self.db.get(self.rows.failures)) == len(failing)
        for name in self.index:
            if str in {self.kinds[name], *getattr(self.kinds[name], "__args__", ())}:
                beginning, n = chance.choice(TEXTS), self.names.index(name)
                right = [row for row in found if isinstance(row[n], str) and row[n].startswith(beginning)]
                begun = self.db.get(self.rows.starting, **{name: beginning})
                assert self.packed(begun) == Counter(map(pack, right)), (name, beginning)
        assert self.db.get(self.values) == {ascii(row[self.names.index(self.index[0])]) for row in found}
        assert self.db.get(sizes) == sum(map(len, self.members().values()))

    def follow(self) -> None:
        if self.listed is None:
            return
        for delta in self.db.changes(self.rows, since="one", after=self.position):
            if delta.reset:
                self.mirror.clear()
            self.mirror.subtract(self.packed([*delta.removed, *(old for old, _ in delta.changed)]))
            assert min(self.mirror.values(), default=0) >= 0, "a row goes that is not there"
            self.mirror.update(self.packed([*delta.added, *(new for _, new in delta.changed)]))
            self.position = delta.position
            if self.chance.random() < 0.3:
                return  # killed
        assert +self.mirror == Counter(map(pack, self.found()))

    def compare(self) -> None:
        """With an engine that has never seen anything else, to the order of rows; and with audits."""
        asked: list[Any] = [self.rows.where, self.rows.failures, self.values, sizes, texts]
        with Engine(None) as fresh:
            self.put(fresh)
            for one in asked:
                here, there = answer(self.db, one), answer(fresh, one)
                assert here == there, one
        for what in (self.rows, self.values, sizes, texts):
            assert self.db.audit(what).differences == ()
        assert self.db.verify().differences == ()

    def restart(self) -> None:
        if self.store is not None:
            self.db.close()
            if self.chance.random() < 0.5:
                self.given = {}
                self.define()
            self.open()
            self.put(self.db)

    def redefine(self) -> None:
        self.given = {}
        self.put(self.db)
        self.define()


def answer(db: Engine, asked: Any) -> Outcome:
    return outcome_of(lambda: pack(db.get(asked)))


@pytest.mark.parametrize(("stored", "history"), [(False, 0), (False, 3), (True, 0), (True, 3)])
def test_no_odd_key_or_value_is_taken_for_another_one(stored: bool, history: int, tmp_path: Path) -> None:
    for seed in range(SEEDS):
        world = World(seed, tmp_path / str(seed) if stored else None, history)
        try:
            for _ in range(40):
                world.step()
            world.compare()
        except BaseException as failure:
            failure.add_note(f"seed {seed}, {world.kinds}, index {world.index}")
            raise
        finally:
            world.db.close()
