"""Environment: variables of the process, and constants that the host program sets.

Invariants
    N1  A variable that is not set is None, and whoever read it runs again when it is set.
    N2  Only the variables that were read count, each by itself.
    N3  Values of variables are not stored: they may be secrets. One that the host sets is, as all
        that is set, until the store is opened again.
"""

from __future__ import annotations

import os
from typing import ClassVar

from engine import Durability, EngineError, input


class ConstantNotSet(EngineError):
    headline = "a constant has no value"
    hint = 'Set it before it is needed: db.set(constant.key("NAME"), "value").'
    exit_code: ClassVar[int] = 1  # a query failed

    def __init__(self, name: str) -> None:
        super().__init__(constant=name)
        self.args = (name,)  # what copy and pickle call the class with


@input(observed=True, persist=False, durability=Durability.MEDIUM)
def variable(name: str) -> str | None:
    """A variable of the environment of this process, or None where it is not set."""
    return os.environ.get(name)


@input(durability=Durability.HIGH)
def constant(name: str) -> str:
    """A text that the host program sets under a name: a version, an option, a build flavour."""
    raise ConstantNotSet(name)
