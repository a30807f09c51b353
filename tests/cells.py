"""A cell, a query that reads it, and an engine of each kind with workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine import Engine, input, query

SECONDS = 60.0  # longest wait before a test counts as hanging


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


def until(condition: Callable[[], object]) -> None:
    """Wait for another thread."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "a thread hangs"
        time.sleep(0.001)
