"""Helpers that `functools.cache` keeps: who reads through one is told what it does not see."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from engine import Engine
from engine.code import cached
from engine.code.cached import MOST
from engine.code.given import inside
from tests.loading import fresh, load

__all__ = ["fresh"]  # a fixture

APP = """
import functools
from engine import input, query

@input
def rate() -> int: return 2

@query
def twice() -> int: return rate() * 2

{helper}

@query
def price() -> int: return helper()

@query
def label() -> str: return str(helper())
"""
TOLD = (
    "app:helper is kept by functools.cache, and reads through the query app:twice: "
    "who calls it second does not see edits. Make it a query",
)
READS = {
    "itself": "@functools.cache\ndef helper() -> int: return twice()",
    "with a size": "@functools.lru_cache(maxsize=8)\ndef helper() -> int: return twice()",
    "through a function": "inner = lambda: twice()\n@functools.cache\ndef helper() -> int: return inner()",
    "through a method": (
        "class A:\n    def get(self): return twice()\n@functools.cache\ndef helper() -> int: return A().get()"
    ),
    "through a default": "@functools.cache\ndef helper(ask=twice) -> int: return ask()",
    "through a partial": (
        "ask = functools.partial(lambda of: of(), twice)\n@functools.cache\ndef helper() -> int: return ask()"
    ),
}
READS_NOTHING = {
    "a constant": "@functools.cache\ndef helper() -> int: return 3",
    "a key": "@functools.cache\ndef helper() -> int: return len(twice.key().__class__.__name__)",
    "no cache": "def helper() -> int: return twice()",
    "itself again": "@functools.cache\ndef helper(n=3) -> int: return n and helper(n - 1)",
}


@pytest.mark.parametrize("helper", READS.values(), ids=READS)
def test_a_cached_helper_that_reads_through_a_query_is_told_once(tmp_path: Path, helper: str) -> None:
    app = load(tmp_path, APP.format(helper=helper))
    with Engine(None) as db:
        assert db.get(app.price) == 4
        assert db.notes() == TOLD
        assert db.get(app.label) == "4"
        assert db.notes() == ()


@pytest.mark.parametrize("helper", READS_NOTHING.values(), ids=READS_NOTHING)
def test_a_cached_helper_that_reads_nothing_is_not_told(tmp_path: Path, helper: str) -> None:
    app = load(tmp_path, APP.format(helper=helper))
    with Engine(None) as db:
        db.get(app.price)
        assert db.notes() == ()


@pytest.mark.parametrize(
    ("helper", "name"),
    [
        ("helper = functools.cache(functools.partial(lambda of: of(), twice))", "functools:partial"),
        ("class A:\n    def __call__(self): return twice()\nhelper = functools.cache(A())", "app:A"),
    ],
    ids=["a partial", "an object"],
)
def test_what_is_kept_of_no_function_is_told_by_what_it_is(tmp_path: Path, helper: str, name: str) -> None:
    app = load(tmp_path, APP.format(helper=helper))
    with Engine(None) as db:
        assert db.get(app.price) == 4
        assert db.notes() == (TOLD[0].replace("app:helper", name),)


ODD = """
class Odd(dict):
    def items(self): raise RuntimeError
odd = Odd()
@functools.cache
def helper() -> int: return len(odd) + 3
"""


def test_an_object_that_cannot_be_looked_into_keeps_no_cached_helper_from_being_used(tmp_path: Path) -> None:
    app = load(tmp_path, APP.format(helper=ODD))
    with Engine(None) as db:
        assert db.get(app.price) == 3
        assert db.notes() == ()


def test_what_a_cached_helper_looks_things_up_in_may_be_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []

    def counted(value: object) -> Iterable[object]:
        looked.append(value)
        return inside(value)

    monkeypatch.setattr(cached, "inside", counted)
    large = "large = {n: [n] for n in range(300_000)}\n@functools.cache\ndef helper(): return large[3][0]"
    app = load(tmp_path, APP.format(helper=large))
    with Engine(None) as db:
        assert db.get(app.price) == 3
    assert 0 < len(looked) <= MOST


def test_of_many_queries_compared_together_a_cached_helper_is_told_as_well(tmp_path: Path) -> None:
    app = load(tmp_path, APP.format(helper=READS["itself"]))
    with Engine(tmp_path / ".engine") as db:
        db.get(app.price)
        db.get(app.label)
    with Engine(tmp_path / ".engine") as db:
        db.get(app.price)
        assert db.notes() == TOLD
