"""Arguments are one key however they are passed, and another one for every other type."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from attrs import frozen

from engine import Engine, EngineError, Key, Sum, each, fold, query, table
from engine.errors import BadLookup, BadQuery
from engine.key import short
from tests.sources import CHECKOUT
from tests.watching import Watch


class Pair(NamedTuple):
    one: object
    other: object


@frozen
class Tagged:
    tags: frozenset[str]


@dataclass(frozen=True)
class Wide:
    name: str
    below: Tagged


TAGS = frozenset({"c", "a", "b", "d"})
NESTED = frozenset({TAGS, frozenset[str](), ("t", TAGS)})
SETS: tuple[object, ...] = (
    TAGS, frozenset({10, 9, 100}), NESTED, (1, TAGS), Pair(TAGS, [set(TAGS)]), Tagged(TAGS),
    Wide("w", Tagged(TAGS)), {"k": TAGS}, set[int](), frozenset({1, "a", None, 2.5, b"x"}), "{}",
)  # fmt: skip


def test_one_and_true_and_one_point_zero_are_three_keys(db: Engine) -> None:
    @query
    def name_of(value: object) -> str:
        return repr(value)

    assert [db.get(name_of, value) for value in (1, True, 1.0, 0.0, -0.0)] == [
        "1",
        "True",
        "1.0",
        "0.0",
        "-0.0",
    ]

    @query
    def wrapped() -> tuple[str, ...]:
        return tuple(name_of(value) for value in (1, True, 1.0, (1,), (True,)))

    assert db.get(wrapped) == ("1", "True", "1.0", "(1,)", "(True,)")


def test_keywords_and_defaults_name_the_same_key(db: Engine, watch: Watch) -> None:
    @query
    def scaled(a: int, factor: int = 2, *, offset: int = 0) -> int:
        return a * factor + offset

    @query
    def top() -> tuple[int, ...]:
        return scaled(3), scaled(a=3), scaled(3, 2, offset=0), scaled(3, factor=5), scaled(3, offset=1)

    assert watch.get(top) == (6, 6, 6, 15, 7)
    assert len(watch.ran) == 4
    assert scaled.key(3) == scaled.key(a=3, factor=2)


def test_a_key_with_sets_in_it_is_shown_alike_in_every_process() -> None:
    code = "from tests.test_keys import *; print(*map(short, SETS), sep='\\n')"
    found = set()
    for seed in range(3):
        child = subprocess.run(
            [sys.executable, "-c", code],
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
        found.add(child.stdout)
    assert found == {"\n".join(map(short, SETS)) + "\n"}
    abc = "frozenset({'a', 'b', 'c', 'd'})"
    assert [short(one) for one in SETS] == [
        abc,
        "frozenset({9, 10, 100})",
        f"frozenset({{('t', {abc}), frozenset(), {abc}}})",
        f"(1, {abc})",
        f"Pair(one={abc}, other=[{{'a', 'b', 'c', 'd'}}])",
        f"Tagged(tags={abc})",
        f"Wide(name='w', below=Tagged(tags={abc}))",
        f"{{'k': {abc}}}",
        "set()",
        "frozenset({'a', 1, 2.5, None, b'x'})",
        "'{}'",
    ]


def test_what_contains_itself_is_shown_as_python_does() -> None:
    ring: list[object] = [set[int]({1})]
    ring.append(ring)
    assert short(ring) == "[{1}, [...]]"


@query
def twice(number: int) -> int:
    return 2 * number


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda key: pickle.loads(pickle.dumps(key))])
def test_a_key_that_was_copied_or_sent_is_the_same_key(again: Callable[[Key[int]], Key[int]]) -> None:
    key = twice.key(2)
    assert again(key) == key
    assert {key: "there"}[again(key)] == "there"
    with Engine(None) as db:
        assert db.get(again(key)) == 4


@query
def numbers() -> tuple[int, ...]:
    return (1, 2)


class Row(NamedTuple):
    number: int


@table(each=numbers, index=("number",))
def rows(number: int) -> Iterable[Row]:
    yield Row(number)


def test_the_key_of_a_lookup_can_be_copied_and_is_refused_where_it_is_pickled() -> None:
    """It was refused where it was read, as what is no query."""
    key = rows.count.key(number=1)
    assert copy.deepcopy(key) == copy.copy(key) == key
    with pytest.raises(BadLookup, match="cannot be pickled"):
        pickle.dumps(key)


totals = fold(each=numbers, of=twice, into=Sum())


@pytest.mark.parametrize("key", [rows.key(1), totals.key(), rows, totals], ids=str)
def test_what_a_table_or_a_fold_is_made_of_is_refused_in_words_where_it_is_pickled(key: object) -> None:
    """It was Python's own error of a function that is not the same object."""
    with pytest.raises(EngineError, match="cannot be pickled"):
        pickle.dumps(key)


def test_each_is_told_what_is_no_key() -> None:
    @query
    def lines(path: str) -> int:
        return len(path)

    for wrong in ([lines(one) for one in ("a", "bb")], lines, lines.key("a")):
        with pytest.raises(BadQuery, match=r"each takes several keys[^$]*each\(lines, paths\)"):
            each(wrong)  # type: ignore[arg-type]  # that is the mistake
