"""Random programs with tables under random timelines: answers are from scratch, only what must run runs.

Steps: set, batch, changed code, forget, close and open, crash, gc, snapshots held over edits, and members
that fail for a moment. See `table_world` for what is checked after each, `table_model` for what must run.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.table_timelines import FOUND, run_again
from tests.table_world import Settings, fuzz, switch_branches

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
VARIANTS = {
    "memory": Settings(),
    "tiny": Settings(tiny=True),
    "tiny-strict": Settings(tiny=True, strict=True),
    "workers": Settings(workers=3),
    "flaky": Settings(flaky=True),
    "stored": Settings(stored=True),
    "shared-bits": Settings(bits=2),
    "stored-shared-bits": Settings(stored=True, bits=1),
    "stored-tiny-workers": Settings(stored=True, tiny=True, workers=3),
    "stored-flaky": Settings(stored=True, tiny=True, flaky=True),
    "unstored": Settings(unstored=True),
    "stored-unstored-history": Settings(stored=True, unstored=True, history=2, tiny=True),
    "history": Settings(history=4),
    "history-flaky": Settings(history=4, flaky=True),
    "stored-history": Settings(stored=True, history=4),
    "stored-history-tiny-workers": Settings(stored=True, history=2, tiny=True, workers=3),
    "small-memory-history-workers": Settings(stored=True, max_memory=1, history=4, workers=3, tiny=True),
    "stored-history-flaky": Settings(stored=True, history=4, tiny=True, flaky=True),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_random_timeline_with_tables_gives_another_answer_or_runs_more_than_it_must(variant: str) -> None:
    settings = VARIANTS[variant]
    count = (20 if settings.stored else 60) * (100 if NIGHTLY else 1)
    first = random.randrange(1 << 30) if NIGHTLY else 0
    for seed in range(first, first + count):
        fuzz(seed, settings)


@pytest.mark.parametrize("variant", [one for one in VARIANTS if "history" in one])
def test_no_timeline_between_branches_with_tables_gives_another_answer(variant: str) -> None:
    settings = VARIANTS[variant]
    count = (20 if settings.stored else 60) * (100 if NIGHTLY else 1)
    assert sum(switch_branches(seed, settings) for seed in range(count)) > count // 4


@pytest.mark.parametrize("what", FOUND)
def test_a_timeline_with_tables_that_once_failed(what: str) -> None:
    for settings in (FOUND[what][0], Settings(stored=True, tiny=True)):
        run_again(what, settings)
