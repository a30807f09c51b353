"""Remote: let the watch that holds the store answer a command, if there is one that can.

Invariants
    F1  Without a watch this costs one look at the file system, and imports nothing.
    F2  What a watch answers goes to standard output as the command itself would write it.
    F3  Whatever keeps a watch from answering, the command does the work itself. It says so where the watch
        is there and will not do, and keeps quiet where it is just gone.
    F4  Who finds the store taken asks again for a moment: it may be by a watch that has just begun.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from engine.cli.session import BUSY

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from engine import Counts, Engine, Event
    from engine.settings import Settings
    from engine.watch.client import NotServed, Reply

T = TypeVar("T")
Answered = tuple[Any, int]  # a value as JSON says it, and its revision
PATIENCE_SECONDS: Final = 5.0  # for a watch that was just there to give up its store
SOCKET: Final = "watch.sock"  # as `engine.watch.wire` has it, which is not imported in vain (F1)
START_SECONDS: Final = 0.7  # from a watch having its store to its answering there: 0.03 as a rule
STEP_SECONDS: Final = 0.02  # between two attempts at a store in use
_TOLD: Final[set[str]] = set()  # notes of watches that do not answer
LOOK_SECONDS: Final = 5.0  # of silence; the store itself can be looked at in 0.2 s, but knows less


class Alone(NamedTuple):
    """The command has to do it itself.

    hint        for a store that is in use: why the watch that has it will not do
    leaving     the watch was there a moment ago, so that its store may be free soon
    """

    hint: str = ""
    leaving: bool = False


def engine_unless_watched(
    settings: Settings,
    stack: ExitStack,
    alone: Alone,
    ask: Callable[[], T | Alone],
    *,
    hint: str = BUSY,
    patience: float = START_SECONDS,
    quiet: bool = False,
) -> Engine | T:
    """The engine, opened to do what no watch did; or what one did after all, `ask`ed once more (F4).

    hint, patience      for a store that stays in use: what to do, and for how many seconds that is awaited
    """
    import time

    from engine.cli.session import writing
    from engine.errors import StoreInUse

    until = time.monotonic() + patience
    while True:
        if alone.leaving:  # counted from when it left: it may have answered for hours before
            until = max(until, time.monotonic() + PATIENCE_SECONDS)
        try:
            return stack.enter_context(writing(settings, hint=alone.hint or hint, quiet=quiet))
        except StoreInUse:
            if alone.hint or time.monotonic() > until:
                raise
        time.sleep(STEP_SECONDS)
        answer = ask()
        if not isinstance(answer, Alone):
            return answer
        alone = answer


def run(
    query: str, args: tuple[str, ...], named: tuple[str, ...], settings: Settings, options: dict[str, Any]
) -> Alone | None:
    """Answer `engine run` by the watch; None if that was done. Options: json, quiet, sync, crawl.

    Ends the command, after the message, if the query failed.
    """
    if not may_be_watched(settings):
        return Alone()
    import sys

    from engine.cli.progress import Progress
    from engine.watch.client import NotServed, ask

    far = _Far()
    sync = "crawl" if options["crawl"] else "yes" if options["sync"] else "no"
    request = _to_run(query, args, named, settings, options["json"], sync)
    request["indent"] = 2 if options["json"] and sys.stdout.isatty() else None
    quiet: bool = options["quiet"]
    progress = Progress(cast("Engine", far), _doing(query, args, named), quiet=quiet)
    try:
        with progress:
            reply = ask(settings.store, request, progress=far.hear, waiting=_tell_waiting)
    except NotServed as error:
        return _alone(error)
    if "error" in reply.last and reply.last["error"].get("early"):
        return _early(reply)
    _finish(reply, far, progress, quiet)
    return None


def value(query: str, args: tuple[str, ...], settings: Settings, *, quiet: bool) -> Answered | Alone:
    """The value of a key, as JSON says it, and its revision; `Alone` where no watch answers.

    Ends the command, after the message, if the query failed.
    """
    if not may_be_watched(settings):
        return Alone()
    import json

    from engine.cli.progress import Progress
    from engine.watch.client import NotServed, ask

    far = _Far()
    try:
        with Progress(cast("Engine", far), _doing(query, args), quiet=quiet):
            request = _to_run(query, args, (), settings, True, "yes")
            reply = ask(settings.store, request, progress=far.hear, waiting=_tell_waiting)
    except NotServed as error:
        return _alone(error)
    failed = reply.last.get("error")
    if failed is None:
        document = json.loads(reply.out)
        return document["value"], document["revision"]
    if failed.get("early"):
        return _early(reply)
    from click.exceptions import Exit

    from engine.cli.output import tell

    tell(failed["text"])
    raise Exit(failed["exit_code"])


def may_be_watched(settings: Settings) -> bool:
    """Whether there is a socket of a watch, be it of one that was killed."""
    return os.path.exists(os.path.join(settings.store, SOCKET))


def look(
    do: str, key: str, args: tuple[str, ...], named: tuple[str, ...], settings: Settings
) -> dict[str, Any] | None:
    """What the watch knows of a key; None if the store is to be looked at instead."""
    key = _absolute(key, not args and not named)
    return _ask(settings, {"do": do, "place": _place(settings), "key": key, "args": args, "named": named})


def changes(request: dict[str, Any], settings: Settings) -> dict[str, Any] | Alone:
    """The next delta of a feed: {"delta": document or None}, or {"error": ...}; `Alone` without a watch."""
    if not may_be_watched(settings):
        return Alone()
    from engine.watch.client import NotServed, ask

    key = _absolute(request["key"], not request.get("args") and not request.get("named"))
    asked = {"do": "changes", "place": _place(settings), **request, "key": key}
    try:
        reply = ask(settings.store, asked, waiting=_tell_waiting)
    except NotServed as error:
        return _alone(error)
    if "error" not in reply.last:
        found: dict[str, Any] = reply.last["ok"]
        return found
    if reply.last["error"].get("early"):
        return _early(reply)
    return {"error": reply.last["error"]}


def status(settings: Settings) -> dict[str, Any] | None:
    """The figures of the watch; None if there is none."""
    return _ask(settings, {"do": "status"})


def _ask(settings: Settings, request: dict[str, Any]) -> dict[str, Any] | None:
    if not may_be_watched(settings):
        return None
    from engine.watch.client import NotServed, ask

    try:
        reply = ask(settings.store, request, silence=LOOK_SECONDS)
    except NotServed as error:
        _alone(error)
        return None
    found: dict[str, Any] | None = reply.last.get("ok")
    return found  # an error is told by who looks at the store, in its own words


def _early(reply: Reply) -> Alone:
    """The watch failed before anything ran: the command fails by itself, in its own words."""
    first, _, _ = str(reply.last["error"]["text"]).partition("\n")
    remedy = reply.last["error"].get("remedy")
    return Alone(f"The watch that holds it cannot run this: {first}.{f' {remedy}.' if remedy else ''}")


# -- what is sent ------------------------------------------------------------------------------


def _to_run(
    query: str, args: tuple[str, ...], named: tuple[str, ...], settings: Settings, as_json: bool, sync: str
) -> dict[str, Any]:
    return {
        "do": "run",
        "place": _place(settings),
        "query": _absolute(query),
        "args": args,
        "named": named,
        "json": as_json,
        "indent": None,
        "sync": sync,
        "environment": dict(os.environ),
    }


def _doing(query: str, args: tuple[str, ...], named: tuple[str, ...] = ()) -> str:
    return f"computing {' '.join((query, *args, *named))}"


def _place(settings: Settings) -> dict[str, Any]:
    return {
        "root": str(settings.root),
        "store": str(settings.store),
        "rules": settings.rules,
        "path": [str(directory) for directory in settings.path],
        "workers": settings.workers,
        "strict": settings.strict,
        "depth_limit": settings.depth_limit,
    }


def _absolute(text: str, displayed: bool = False) -> str:
    """`rules.py:query` with the place of the file: the watch works in another directory."""
    from engine.settings import looks_like_file

    name, parenthesis, rest = text.partition("(") if displayed else (text, "", "")
    module, colon, query = name.rpartition(":")
    if not colon or not looks_like_file(module):
        return text
    return f"{os.path.abspath(os.path.expanduser(module))}:{query}{parenthesis}{rest}"


# -- what came back ----------------------------------------------------------------------------


class _Far:
    """The engine of the watch, as far as progress is shown of it."""

    def __init__(self) -> None:
        self.revision = 0
        self._counts = _counts({})

    def counts(self) -> Counts:
        return self._counts

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        return lambda: None

    def hear(self, counts: dict[str, int]) -> None:
        self._counts = _counts(counts)


def _counts(said: dict[str, int]) -> Counts:
    from engine.event import Counts

    return Counts(*(said.get(name, 0) for name in Counts.__slots__ if name[0] != "_"))


def _finish(reply: Reply, far: _Far, progress: Any, quiet: bool) -> None:
    from engine.cli.output import tell, write
    from engine.message import escaped

    failed = reply.last.get("error")
    for note in reply.last.get("notes", ()):
        tell("note: " + "\n".join(map(escaped, note.split("\n"))))
    if reply.out:
        write(reply.out.removesuffix("\n").split("\n"))
    if failed is not None:
        from click.exceptions import Exit

        tell(failed["text"])
        raise Exit(failed["exit_code"])
    far.hear(reply.last["ok"]["counts"])
    far.revision = reply.last["ok"]["revision"]
    if not quiet:
        tell(f"{progress.summary()}, by the watch")


def _alone(error: NotServed) -> Alone:
    """The watch does not answer: say why, if it gave a reason."""
    if error.reason:
        _tell_once(f"the watch of this store is not asked: {error.reason}")
    return Alone(error.hint, error.leaving)


def _tell_waiting() -> None:
    _tell_once("the watch of this store says nothing: it is waited for")


def _tell_once(text: str) -> None:
    if text not in _TOLD:
        from engine.cli.output import tell
        from engine.message import escaped

        _TOLD.add(text)
        tell(f"note: {escaped(text)}")
