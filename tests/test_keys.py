"""Arguments are one key however they are passed, and another one for every other type."""

from __future__ import annotations

from engine import Engine, query
from tests.watching import Watch


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
