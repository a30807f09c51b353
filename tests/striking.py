"""Interrupts in the middle of something."""

from __future__ import annotations

from typing import Any

import pytest


def strike(
    patch: pytest.MonkeyPatch, owner: Any, name: str, error: type[BaseException] = KeyboardInterrupt
) -> None:
    """The next call of this function is interrupted before it does anything."""
    real = getattr(owner, name)

    def struck(*args: Any, **named: Any) -> Any:
        patch.setattr(owner, name, real)
        raise error

    patch.setattr(owner, name, struck)
