"""Descriptors: what is assigned in a class and gives something else to whoever asks for it there."""

from __future__ import annotations

from collections.abc import Callable

from engine.rules.python.meanings import BUILTIN, EXTERNAL, INSTANCE, INTERNAL, Meaning, Meanings
from engine.rules.python.uses import MARK


def is_descriptor(one: Meaning, member: Callable[[str, str, str], Meanings], said: bool) -> bool:
    """Whether an instance in a class is one: its class has `__get__`, or lies outside of the project and may.

    `said`: an annotation names that class, which outside of the project nobody does for a descriptor. Where a
    class of the project inherits from outside, its own attributes are what people look for: no descriptor.
    """
    if one.outcome == EXTERNAL:
        return not said and one.detail.endswith(MARK)
    if one.kind != INSTANCE or one.path is None:
        return False
    return member(one.path, one.qualified, "__get__")[0].outcome in (INTERNAL, BUILTIN)
