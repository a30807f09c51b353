"""Patience: how long a test waits for what has to happen, on however slow a machine.

It is counted in looks, not by a clock: a machine that stops all processes for a minute ends no patience.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 120.0  # seconds until a test gives up waiting
STEP_SECONDS = 0.005
LONGEST = 600.0  # seconds, where a look takes long itself: less than `LIMIT` of conftest, which ends the run


def until(condition: Callable[..., Any], what: str | Callable[[], str] = "", *arguments: Any) -> Any:
    """Wait until something holds of some arguments, and return it."""
    ended = time.monotonic() + LONGEST
    for _ in range(round(PATIENCE / STEP_SECONDS)):
        if time.monotonic() > ended:
            break
        if found := condition(*arguments):
            return found
        time.sleep(STEP_SECONDS)
    raise AssertionError(f"waited in vain for {what() if callable(what) else what or condition}")
