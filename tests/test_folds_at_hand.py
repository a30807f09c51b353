"""A fold takes what comes and goes as it is in memory; what it kept of members is read where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from engine import Engine, fold, input, query
from engine.store.collections import Collections
from engine.tables.accumulate import Max, Sum

KEYS = ("a", "b", "c")


@input
def number(key: str) -> int:
    return 1


@input
def factor() -> int:
    return 1


@query
def keys_at_hand() -> tuple[str, ...]:
    return KEYS


@query
def product(key: str) -> int:
    return number(key) * factor()


@query
def digits(key: str) -> list[int]:
    return [int(one) for one in str(product(key))]


class Digits:
    """A sum of lists, which may be changed by whoever holds one."""

    def zero(self) -> int:
        return 0

    def add(self, state: int, value: list[int], /) -> int:
        return state + sum(value)

    def remove(self, state: int, value: list[int], /) -> int:
        return state - sum(value)

    def result(self, state: int, /) -> int:
        return state


total = fold(each=keys_at_hand, of=product, into=Sum(), name="at hand:total")
largest = fold(each=keys_at_hand, of=product, into=Max(), name="at hand:largest")
all_digits = fold(each=keys_at_hand, of=digits, into=Digits(), name="at hand:digits")


def read_by(db: Engine, target: Any) -> tuple[int, int]:
    """The value, and of how many members the store was asked what they contributed."""
    asked: list[int] = []
    read = Collections.members_among

    def counted(derived: Collections, collection: int, nodes: Any) -> dict[int, bytes]:
        asked.extend(nodes)
        return read(derived, collection, nodes)

    with mock.patch.object(Collections, "members_among", counted):
        return db.get(target), len(asked)


def test_what_many_members_contributed_is_not_read_back_while_their_values_are_in_memory(
    tmp_path: Path,
) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(total) == 3
        db.set(factor, 5)
        assert read_by(db, total) == (15, 0)
        db.set(number.key("a"), 2)
        assert read_by(db, total) == (20, 0)


def test_after_a_restart_what_members_contributed_is_read(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(total) == 3
    with Engine(tmp_path / "store") as db:
        db.set(factor, 5)
        assert read_by(db, total) == (15, 3)
        db.set(factor, 6)
        assert read_by(db, total) == (18, 0)


@pytest.mark.parametrize(("target", "wanted"), [(total, 50), (largest, 30)])
def test_members_that_change_again_before_they_are_reduced_count_once(
    tmp_path: Path, target: Any, wanted: int
) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(target) == (3 if target is total else 1)
        for factor_now in (5, 7, 10):
            db.set(factor, factor_now)
            assert db.get(product, "a") == factor_now, "a member alone: nobody asks for the fold"
        db.set(number.key("b"), 3)
        assert db.get(product, "b") == 30
        assert db.get(target) == wanted
    with Engine(tmp_path / "store") as db:
        assert db.get(target) == wanted


def test_values_that_may_be_changed_are_told_by_what_was_kept(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(all_digits) == 3
        db.set(factor, 12)
        db.get(digits, "a").clear()
        assert read_by(db, all_digits) == (9, 2), "what waits of a was read when that was stored"
