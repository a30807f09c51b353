"""A value without canonical bytes works wherever it is read: in memory, in snapshots, proofs and workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, each, input, query
from tests.workers import Rules, make, others

__all__ = ["make", "others"]  # fixtures
Make = Callable[[str], Rules]


class Opaque:
    """Not a record, and equal to nothing but itself."""

    def __init__(self, value: int) -> None:
        self.value = value


@input
def cell() -> int:
    return 1


@query
def opaque(n: int) -> Any:  # its annotation promises nothing
    return Opaque(n + cell())


@query
def opaque_as_said(n: int) -> Opaque:
    return Opaque(n + cell())


@query
def total() -> int:
    opaques: tuple[Opaque, ...] = each(opaque, range(4))
    return sum(one.value for one in opaques) + opaque_as_said(4).value


@pytest.fixture(params=["memory", "stored"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store" if request.param == "stored" else None) as engine:
        yield engine


@pytest.mark.parametrize("what", [opaque, opaque_as_said])
@pytest.mark.parametrize("known", [True, False])
def test_in_a_snapshot(db: Engine, what: Any, known: bool) -> None:
    if known:
        assert db.get(what, 1).value == 2
    with db.snapshot() as old:
        db.set(cell.key(), 5)
        assert db.get(what, 1).value == 6
        assert old.get(what, 1).value == 2


def test_a_proof_takes_it_for_no_difference(db: Engine) -> None:
    assert db.get(total) == 15
    assert db.verify().differences == ()


def test_a_worker_that_asks_for_it_computes_it_by_itself(make: Make) -> None:
    rules = make("""
import time

class Opaque:
    def __init__(self, value: int) -> None:
        self.value = value

@query
def opaque(n: int):
    time.sleep(0.002)  # it costs more than asking
    return Opaque(n)

@query(workers="process")
def reader(n: int) -> int:
    return opaque(n % 3).value

@query
def readers() -> tuple[int, ...]:
    return each(reader, range(30))
""")
    with Engine(None, processes=2) as db:
        assert db.get(rules.opaque, 0).value == 0
        assert db.get(rules.readers) == tuple(n % 3 for n in range(30))
