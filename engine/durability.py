"""Durability: how rarely an input changes.

A memo is as durable as the least durable input below it. When nothing of that level or above has
changed since a memo was verified, it holds without a look at its dependencies (salsa's durability).

Invariants
    D1  durability(memo) <= min(durability(dependency)), at every moment, also after a backdate.
"""

from __future__ import annotations

from enum import IntEnum


class Durability(IntEnum):
    """How rarely an input changes."""

    LOW = 0  # what people edit: sources
    MEDIUM = 1  # configuration, tool versions
    HIGH = 2  # installed packages, the standard library, constants
