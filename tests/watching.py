"""What a request did: the executed and cut-off keys, as short names, for tests to compare with a claim.

`number` is an input for such tests.
"""

from __future__ import annotations

from typing import Any

from engine import Engine, Event, What, input

RAN = (What.EXECUTED, What.CUT_OFF, What.FAILED)


class Watch:
    """Listens to an engine; `ran` and `cut` hold names like `total()` since the last `clear`."""

    def __init__(self, db: Engine) -> None:
        self.db = db
        self.events: list[Event] = []
        db.listen(self.events.append)

    def clear(self) -> None:
        self.events.clear()

    def keys(self, *kinds: What) -> list[str]:
        return [short(event) for event in self.events if event.what in kinds]

    @property
    def ran(self) -> list[str]:
        """Keys whose function ran, in order."""
        return self.keys(*RAN)

    @property
    def cut(self) -> list[str]:
        """Those of them whose value was equal."""
        return self.keys(What.CUT_OFF)

    def get(self, query: Any, *args: Any, **columns: Any) -> Any:
        """`Engine.get` after a `clear`; checks that a second get does no work at all."""
        self.clear()
        try:
            value = self.db.get(query, *args, **columns)
        finally:
            self.db.check_invariants()
        before = self.db.counts()
        assert self.db.get(query, *args, **columns) == value
        assert self.db.counts() == before, "a repeated get did something"
        return value


def short(event: Event) -> str:
    """The key without its module and enclosing functions: `total()`."""
    name, _, arguments = str(event.key).partition("(")
    return f"{name.rpartition(':')[2].rpartition('.')[2]}({arguments}"


@input
def number(name: str) -> int:
    return 0
