"""Rows that are not in the store yet are found by their columns as quickly as those that are."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from engine.tables.columns import Plain
from engine.tables.kept import Columns, KeptRows


def rows(member: int) -> tuple[tuple[str, int], ...]:
    return tuple((f"name {number % 40}", member) for number in range(100))


@pytest.fixture
def kept() -> KeptRows:
    made = KeptRows(None, 0, ("name", "member"))
    for member in range(1, 21):
        made.put(member, f"source {member}", tuple(dict.fromkeys(rows(member))), True)
    return made


def test_a_lookup_looks_at_no_row_of_another_value(kept: KeptRows, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looked at all rows of each member that had one: most of the time that verdicts of code took."""
    looked_at: list[object] = []
    fits = KeptRows._fits

    def counted(kept: KeptRows, row: Columns, equal: Sequence[tuple[str, Plain]]) -> bool:
        looked_at.append(row)
        return fits(kept, row, equal)

    monkeypatch.setattr(KeptRows, "_fits", counted)
    found = kept.select([("name", "name 7")])
    assert sorted(found) == sorted((f"source {member}", ("name 7", member)) for member in range(1, 21))
    assert looked_at == []
    assert kept.select([("name", "name 7"), ("member", 3)]) == [("source 3", ("name 7", 3))]
    assert len(looked_at) == 20


def test_a_member_with_other_rows_is_found_by_these_alone(kept: KeptRows) -> None:
    assert kept.count([("member", 3)]) == 40
    kept.put(3, "source 3", (("another", 3), ("another", 4)), False)
    assert kept.count([("member", 3)]) == 1
    assert sorted(kept.select([("name", "another")])) == [
        ("source 3", ("another", 3)),
        ("source 3", ("another", 4)),
    ]
    assert len(kept.select([("name", "name 7")])) == 19
    kept.put(3, "source 3", (), False)
    assert kept.select([("name", "another")]) == []
    assert kept.select([("member", 3)]) == []
