"""A read of the store that fails is no answer of the query that was reading, nor a reason of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Sum, fold, input, query
from engine.errors import StoreDamaged, StoreError
from engine.store.collections import Collections
from engine.store.sqlite import Store


@input
def stock(number: int) -> int:
    return number


@query
def numbers() -> tuple[int, ...]:
    return tuple(range(stock(9) - 6))


@query
def doubled(number: int) -> int:
    return stock(number) * 2


all_doubled = fold(each=numbers, of=doubled, into=Sum(), name="all_doubled")


@query
def trusting(number: int) -> int:
    return doubled(1) + number


@query
def careful(number: int) -> int:
    try:
        return doubled(1) + number
    except Exception:  # any: takes it for a lack of stock
        return -1


@query
def over_a_fold(number: int) -> int:
    try:
        return all_doubled() + number
    except Exception:  # as above
        return -1


@pytest.mark.parametrize(
    ("owner", "read"), [(Store, "find"), (Store, "value"), (Store, "readers"), (Collections, "blocks")]
)
@pytest.mark.parametrize("kind", [StoreError, StoreDamaged])
def test_a_read_that_fails_once_changes_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, read: str, kind: type[StoreError]
) -> None:
    """Each read in turn fails. It is told once, or the store is set aside; then everything is as it was."""
    with Engine(tmp_path / "store") as db:
        for one in (trusting, careful, over_a_fold):
            db.get(one, 0)
    fails, told = 0, 0
    real = getattr(owner, read)
    for nth in range(1, 10):
        with Engine(tmp_path / "store") as db, monkeypatch.context() as patch:
            left = nth

            def failing(self: Any, *args: object) -> object:
                nonlocal left, fails
                left -= 1
                if left == 0:
                    fails += 1
                    raise kind(reason="disk I/O error")
                return real(self, *args)

            patch.setattr(owner, read, failing)
            changed = False
            while not changed:
                try:
                    db.set(stock.key(2), nth)
                    changed = True
                except StoreError as error:
                    told += type(error) is StoreError
            for one, right in ((trusting, 2 + nth), (careful, 2 + nth), (over_a_fold, 2 + 3 * nth)):
                try:
                    assert db.get(one, nth) == right
                except StoreError as error:
                    told += type(error) is StoreError
                assert db.get(one, nth) == right
    assert fails >= told
    assert bool(told) == (kind is StoreError)
