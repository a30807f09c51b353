"""Events as JSON lines, for other programs; and back.

Invariants
    J1  One event is one line of ASCII, its keys sorted: the same bytes for the same event.
    J2  Whatever a file, a key or an error is called, the line is valid JSON: control characters and
        undecodable bytes (lone surrogates) are escaped, and there is no NaN.
    J3  SCHEMA is raised when a field goes or changes its meaning. Fields and kinds of events may be
        added without that: readers leave alone what they do not know.
    J4  Nothing is made of a line but an event: no other class, no code.

docs/events.md describes the fields; tests/test_watch_event_lines.py pins them.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from engine.errors import BadEvent
from engine.watch.events import (
    Revised,
    RulesChanged,
    Skipped,
    Started,
    Stopped,
    Trouble,
    WatchEvent,
    Watching,
)

SCHEMA: Final = 1
DIGITS: Final = 3  # of seconds and milliseconds: finer than anything that is measured here
SHOWN: Final = 200  # characters of a line that is refused

NAMES: Final[dict[str, type[WatchEvent]]] = {
    "started": Started,
    "revised": Revised,
    "watching": Watching,
    "trouble": Trouble,
    "rules_changed": RulesChanged,
    "skipped": Skipped,
    "stopped": Stopped,
}
_NAME_OF: Final = {kind: name for name, kind in NAMES.items()}


def to_json(event: WatchEvent) -> str:
    """The event as one line, without the end of the line. Times are rounded to DIGITS."""
    import msgspec

    document = rounded(msgspec.to_builtins(event), DIGITS)
    document["schema"] = SCHEMA
    document["event"] = _NAME_OF[type(event)]
    return json.dumps(document, sort_keys=True, allow_nan=False)


def from_json(line: str | bytes) -> WatchEvent:
    """The event of a line that `to_json` made. Fields that are not known here are left alone.

    BadEvent: it is no event, one of another schema, or one of a kind that is not known here.
    """
    import msgspec

    try:
        document = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadEvent(line=_shown(line), cause=error) from None
    if not isinstance(document, dict):
        raise BadEvent(line=_shown(line), cause="it is not an object")
    schema = document.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        raise BadEvent(line=_shown(line), cause=f"its schema is {schema!r}, and {SCHEMA} is known here")
    kind = NAMES.get(str(document.get("event")))
    if kind is None:
        raise BadEvent(line=_shown(line), cause=f"no event is called {document.get('event')!r} here")
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise BadEvent(line=_shown(line), cause=error) from None


def rounded(value: Any, digits: int) -> Any:
    """What a document says, its numbers rounded."""
    match value:
        case float():
            return round(value, digits) if math.isfinite(value) else 0.0  # a clock that failed: unknown
        case dict():
            return {name: rounded(part, digits) for name, part in value.items()}
        case list() | tuple():
            return [rounded(part, digits) for part in value]
    return value


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _shown(line: str | bytes) -> str:
    text = line if isinstance(line, str) else line.decode("utf-8", "backslashreplace")
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
