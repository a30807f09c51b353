"""After code was loaded anew while an engine is open, a verification compares what is there, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import Engine
from tests.loading import fresh, load

__all__ = ["fresh"]  # a fixture

BEFORE = """
    from engine import input, query

    @input
    def raise_by() -> int:
        return 1

    @query
    def raised(number: int) -> int:
        return number + raise_by()

    @query
    def first(number: int) -> int:
        return raised(number)

    @query
    def second(number: int) -> int:
        return raised(number) * 10
    """
REMOVED = """
    @query
    def first(number: int) -> int:
        return raised(number)
"""


@pytest.mark.parametrize(
    "edit", [("", ""), ("number + raise_by()", "number + raise_by() + 100"), ("return 1", "return 5")]
)
@pytest.mark.parametrize("order", [("first", "second"), ("second", "first"), ("first",)])
def test_keys_whose_function_a_reload_removed_are_gone_and_no_differences(
    tmp_path: Path, order: tuple[str, ...], edit: tuple[str, str]
) -> None:
    """What they read is defined anew. They found the old definitions, for which there was an error, or a
    difference.
    """
    app = load(tmp_path, BEFORE)
    with Engine(None) as db:
        for name in order:
            assert db.get(getattr(app, name), 1) == {"first": 2, "second": 20}[name]
        assert REMOVED in BEFORE
        app = load(tmp_path, BEFORE.replace(REMOVED, "").replace(*edit))
        assert not hasattr(app, "first")
        expected = db.get(app.raised, 1)
        assert db.get(app.second, 1) == 10 * expected
        for _ in range(2):
            found = db.verify()
            assert (found.differences, found.moved) == ((), ())
            assert found.compared >= 3
        db.check_invariants()
