"""Proven: a start looks at the world while its store is still compared with its seal, and answers after that.

Invariants
    W1  Nothing is answered, run, committed or told before the store is known to be as it was left, but for
        stamps of inputs.
    W2  Who asks outside a request waits as a request does: what is damaged is set aside, and it goes on.
"""

from __future__ import annotations

import os

from engine.attempt import insist
from engine.core import Core


def prove(core: Core) -> None:
    """Wait for the verdict on the store. Raises `StoreDamaged`, which `insist` takes care of."""
    if core.store is not None and core.store.prove():
        core.telling.notes += core.store.hand_over()


def proven(core: Core) -> Core:
    """The core, once its store is proven, or set aside."""
    if core.store is not None and core.store.unproven and core.pid == os.getpid():
        insist(core, lambda gate: prove(core))
    return core
