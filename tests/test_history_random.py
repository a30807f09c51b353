"""Random programs between branches answer as from scratch, and run only what is new."""

from __future__ import annotations

import pytest

from tests.timelines import switch_branches
from tests.worlds import Settings

BRANCHES = {
    "memory": Settings(history=4),
    "strict": Settings(history=4, strict=True, tiny=True),
    "workers": Settings(history=4, tiny=True, workers=3),
    "one": Settings(history=1, tiny=True),
    "exotic": Settings(history=4, exotic=True),
    "stored": Settings(history=4, stored=True),
    "stored-one": Settings(history=1, stored=True, tiny=True),
    "stored-exotic": Settings(history=4, stored=True, exotic=True),
    "stored-workers": Settings(history=4, stored=True, workers=3),
}


@pytest.mark.parametrize("variant", BRANCHES)
def test_random_programs_between_branches_answer_as_from_scratch_and_run_only_what_is_new(
    variant: str,
) -> None:
    settings = BRANCHES[variant]
    restored = sum(switch_branches(seed, settings) for seed in range(12 if settings.stored else 40))
    assert restored > 20
