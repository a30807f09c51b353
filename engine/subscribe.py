"""Subscribe: tell a host when the value of a key became another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.core import Core
from engine.errors import UnkeyableArgument
from engine.graph import TRANSIENT
from engine.key import Key
from engine.locate import find
from engine.options import check_called
from engine.query import REGISTRY
from engine.request import demand

STEADY = 10  # times a value is asked for again while another thread keeps changing it


class Subscription:
    """One callback on one key; `close()` ends it."""

    def __init__(self, owner: list[Subscription], key: Key[Any], callback: Callable[[Any], object]) -> None:
        check_called(callback, "callback")
        self._owner = owner
        self.key = key
        self.callback = callback
        # changed_at of the value told last. Its complement: that it fails for a moment, which is told once;
        # then the memo before is news when it holds again.
        self.seen = 0

    def close(self) -> None:
        """No further calls."""
        if self in self._owner:
            self._owner.remove(self)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def refresh(core: Core, subscription: Subscription, *, tell: bool = True) -> None:
    """Bring the key up to date; call back if its value changed since it was told last.

    A failing query is told as its exception, be it for a moment. A failing callback is logged, and keeps its
    subscription.
    """
    key = subscription.key
    info = REGISTRY.get(key.query.name, key.query)  # the name may have been taken over meanwhile
    stamp: int | None = None
    value: Any = None
    for _ in range(STEADY):
        before = stamp
        try:
            value = demand(core, info, key.args)
        except Exception as error:  # told like a value
            value = error
        with core.lock:
            try:
                node = find(core, info, key.args) or 0
            except UnkeyableArgument:  # a class of it has other fields by now: told above, and once
                node = 0
            stamp = core.graph.changed_at[node]
            if core.graph.flags[node] & TRANSIENT:
                stamp = ~stamp
        if stamp == before:
            break  # the value between two equal stamps belongs to them
    assert stamp is not None
    if subscription.seen == stamp:
        return
    subscription.seen = stamp
    if tell:
        try:
            subscription.callback(value)
        except Exception:  # of the host: the other subscribers are told all the same
            import logging  # late: of no use where no subscriber fails

            logging.getLogger("engine").exception("a subscriber of %s failed", key)
