"""Watch: keep queries right while files change, also when the kernel's events are lost.

`Engine.watch` makes a `Watch`, which gives the events that are named here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.watch.events import (
        Changed,
        Failed,
        Figures,
        FileDelta,
        Revised,
        RulesChanged,
        Skipped,
        Started,
        Stopped,
        Trouble,
        WatchEvent,
        Watching,
    )
    from engine.watch.session import Watch

__all__ = [
    "Changed",
    "Failed",
    "Figures",
    "FileDelta",
    "Revised",
    "RulesChanged",
    "Skipped",
    "Started",
    "Stopped",
    "Trouble",
    "Watch",
    "WatchEvent",
    "Watching",
]


def __getattr__(name: str) -> Any:
    # Late: every command that asks a running watch imports this package, and needs none of these.
    if name not in __all__:
        raise AttributeError(f"module 'engine.watch' has no attribute {name!r}")
    from importlib import import_module

    place = "engine.watch.session" if name == "Watch" else "engine.watch.events"
    value = globals()[name] = getattr(import_module(place), name)
    return value
