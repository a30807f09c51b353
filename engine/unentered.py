"""Unentered: what `with` is to be given. Dropped instead, nothing fails: somebody forgot that word."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeVar

T_co = TypeVar("T_co", covariant=True)


class Unentered(AbstractContextManager[T_co]):
    """A context manager that warns where it goes without having been entered, as a coroutine does."""

    _is_entered = True  # until all of it is there

    def __init__(self, inner: AbstractContextManager[T_co], shown: str) -> None:
        self._inner = inner
        self._shown = shown  # as it is to be written
        self._is_entered = False

    def __enter__(self) -> T_co:
        self._is_entered = True
        return self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._inner.__exit__(kind, error, trace)

    def __del__(self) -> None:
        if not self._is_entered:
            text = f"it does nothing without `with`: {self._shown}"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
