"""A cell, a query that reads it, and an engine of each kind with workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Engine, input, query


@input
def cell(number: int) -> int:
    return number


@query
def ten(number: int) -> int:
    return cell(number) * 10


@pytest.fixture(params=["memory", "stored"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "store" if request.param == "stored" else None, workers=2, history=0) as engine:
        yield engine
