"""Bugs planted in the engine, and how many steps random timelines take to find one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from tests.timelines import fuzz

STEPS = 2_000  # within which each mutant must be found

Mutant = Callable[[ExitStack], None]


def replace(stack: ExitStack, module: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(original)` in the place of a function of the engine."""
    stack.enter_context(mock.patch.object(module, name, make(getattr(module, name))))


@contextmanager
def planted(bug: Mutant) -> Iterator[None]:
    with ExitStack() as stack:
        bug(stack)
        yield


def steps_to_find(
    settings: Any, fuzz: Callable[[int, Any], object] = fuzz, most: int = STEPS
) -> tuple[int, str]:
    """Steps until a random timeline fails, and how; raises AssertionError never."""
    for number in itertools.count():
        if number * 40 >= most:
            return most, ""
        try:
            fuzz(number, settings)
        except Exception as found:  # a bug may show by anything
            return number * 40, f"{type(found).__name__}: {found}"
    raise AssertionError
