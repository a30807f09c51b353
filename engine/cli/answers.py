"""Answers: what a watch replies to the command line's requests. The same words that a command would print.

Invariants
    A1  A module that is loaded is never loaded again here: new code runs in a fresh interpreter only. While
        loaded code is outdated, nothing is answered but "retry".
    A2  What fails before queries run is marked "early": the client fails by itself, with its own paths.
    A3  Nothing is raised: whatever goes wrong becomes the last message.
    A4  A value that rests on a variable of the environment is not given to who has another one of that name.

Queries see the environment and the working directory of the watch, not those of who asks.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from attrs import asdict, field, frozen

from engine.errors import Closed
from engine.message import EXIT_BAD_REQUEST, EXIT_BUG, EXIT_IN_USE, EXIT_INTERRUPTED, EngineError, escaped
from engine.settings import Settings
from engine.watch import wire
from engine.watch.server import Served
from engine.watch.wire import Message

if TYPE_CHECKING:
    from engine import Engine, Key
    from engine.core import Core
    from engine.graph import Graph

AT_IT: Final[Message] = {"progress": {}}  # gives the server the chance to notice a client that has gone
VARIABLES: Final = "engine.rules.env:variable"
TOOLS: Final = "engine.rules.command:tool_version"  # found on PATH
# The last `variables_read`. There may be 100,000 inputs; their number tells whether there are new ones.
_KNOWN: Final[WeakKeyDictionary[Core, tuple[Graph, int, tuple[str, ...]]]] = WeakKeyDictionary()
LOADING: Final = threading.Lock()  # a module that another thread is loading is in `sys.modules` already


@frozen
class Place:
    """Where a client works: its settings."""

    root: str = field(validator=wire.names_files)
    store: str = field(validator=wire.names_files)
    rules: tuple[str, ...]
    path: tuple[str, ...] = field(validator=wire.names_files)
    workers: int
    strict: bool
    depth_limit: int

    def settings(self) -> Settings:
        """As the client has them."""
        return Settings(
            root=Path(self.root),
            store=Path(self.store),
            rules=self.rules,
            path=tuple(map(Path, self.path)),
        )


@frozen
class Run:
    """A request of `engine run`. sync: "no", "yes" or "crawl"; indent: of the JSON document.

    environment     of who asks; None where that does not matter
    """

    place: Place
    query: str
    args: tuple[str, ...]
    named: tuple[str, ...]
    json: bool
    indent: int | None
    sync: str
    environment: dict[str, str] | None = None


@frozen
class Look:
    """A request of `engine why`, `deps` or `rdeps`."""

    place: Place
    key: str
    args: tuple[str, ...]
    named: tuple[str, ...] = ()


@frozen
class Sync:
    """A request to look at the world."""

    crawl: bool = False


def answer(request: Message, served: Served) -> Generator[Message, None, None]:
    """The messages that answer a request; see `engine.watch.wire`."""
    verbs = {
        **dict.fromkeys(("why", "deps", "rdeps"), _look),
        "run": _run,
        "changes": _changes,
        "status": _status,
        "sync": _sync,
    }
    verb = verbs.get(str(request.get("do")))
    if verb is None:
        yield _error(f"there is no request {str(request.get('do'))[:100]!r}", EXIT_BAD_REQUEST)
        return
    try:
        yield from verb(request, served)
    except (Closed, KeyboardInterrupt):  # what a stopping engine raises in threads that wait for it
        yield {"retry": "the watch is ending"}
    except wire.Malformed as error:
        yield _error(f"the request is malformed: {error}", EXIT_BAD_REQUEST)
    except Exception as error:  # told to who asked: the watch goes on
        yield failed(error)


# -- run ---------------------------------------------------------------------------------------


def _run(request: Message, served: Served) -> Iterator[Message]:
    from engine.cli.arguments import key_to_run
    from engine.cli.report import of_query
    from engine.modules.load import load_query

    asked = wire.converted(request, Run)
    db = served.db
    refused = why_elsewhere(asked.place, db)
    if refused:
        yield refusal(refused)
        return
    if asked.sync != "no":
        served.sync(crawl=asked.sync == "crawl")
    stale = served.stale_rules()
    if stale:
        yield retry(stale)
        return
    yield AT_IT
    try:
        with LOADING:
            key = key_to_run(load_query(asked.query, asked.place.settings()), asked.args, asked.named)
    except EngineError as error:
        yield failed(error, early=True)
        return
    differing = _differing(asked, served)
    if differing:
        yield _of_another_environment(differing)
        return
    yield AT_IT
    before = db.counts()
    try:
        value = db.get(key)
    except BaseException as error:  # a query may call sys.exit
        if isinstance(error, Closed) or db._core.stopping:
            raise
        if isinstance(error, KeyboardInterrupt):  # raised by the query itself
            last = _error("interrupted", EXIT_INTERRUPTED)
        else:
            last = failed(of_query(error, str(key)))
    else:
        revision, counts = db.revision, asdict(db.counts() - before)
        differing = _differing(asked, served)  # it may have read variables that nobody read before
        if differing:
            yield _of_another_environment(differing)
            return
        last = {"ok": {"revision": revision, "counts": counts}}
        try:
            yield from _pieces(asked, key, value, revision, counts)
        except Exception as error:  # of a value that cannot be shown, which may be any
            last = failed(error)
    yield {**last, "notes": [*db.notes(), *_ignored(asked.place, db)]}


def _pieces(asked: Run, key: Key[Any], value: object, revision: int, counts: object) -> Iterator[Message]:
    """A value in the form in which it was asked for."""
    from engine.cli.output import json_text, plain, plain_answer, shown

    if not asked.json:
        return wire.pieces(shown(value))
    document = {
        "query": key.query.name,
        "args": [plain(value) for value in key.args],
        "revision": revision,
        "value": plain_answer(key, value),
        "counts": counts,
    }
    return wire.pieces(iter([json_text(document, asked.indent)]))


def why_elsewhere(place: Place, db: Engine) -> str:
    """How the places of the client are others than ours; empty where they are not."""
    if os.path.realpath(place.root) != os.path.realpath(db.root):
        return f"root {db.root}, not {place.root}"
    if db.store is not None and os.path.realpath(place.store) != os.path.realpath(db.store.directory):
        return f"store {db.store.directory}, not {place.store}"
    return ""


def _differing(asked: Run, served: Served) -> str:
    """A variable that a query read, and that is another one where the client works; "" without one."""
    theirs = asked.environment
    if theirs is None:
        return ""
    ours = getattr(served, "environment", os.environ)
    return next((name for name in variables_read(served.db) if ours.get(name) != theirs.get(name)), "")


def variables_read(db: Engine) -> tuple[str, ...]:
    """The variables of the environment that queries of this engine ever read; sorted."""
    core = db._core
    with core.lock:
        known = _KNOWN.get(core)
        if known is not None and known[:2] == (core.graph, len(core.observed)):
            return known[2]
        found: set[str] = set()
        rows = {
            row: name for name in (VARIABLES, TOOLS) if (row := core.queries.by_name.get(name)) is not None
        }
        if rows:
            query = core.graph.query
            for node in core.observed:
                name = rows.get(query[node])
                if name is not None:
                    found.add("PATH" if name == TOOLS else str(core.args_of(node)[0]))
        names = tuple(sorted(found))
        _KNOWN[core] = core.graph, len(core.observed), names
        return names


def _ignored(place: Place, db: Engine) -> Iterator[str]:
    """Settings of the client that have no effect here, because the engine is open already."""
    core = db._core
    for name in ("workers", "strict", "depth_limit"):
        ours, theirs = getattr(core, name), getattr(place, name)
        if ours != theirs:
            yield f"the watch works with {name} = {str(ours).lower()}, so {str(theirs).lower()} has no effect"


# -- look --------------------------------------------------------------------------------------


def _look(request: Message, served: Served) -> Iterator[Message]:
    from engine.cli import look

    asked = wire.converted(request, Look)
    db = served.db
    refused = why_elsewhere(asked.place, db)
    stale = served.stale_rules()
    if refused or stale:
        yield refusal(refused) if refused else retry(stale)
        return
    settings = asked.place.settings()
    try:
        with LOADING:
            key = loaded_key(asked, settings)
    except EngineError as error:
        yield failed(error, early=True)
        return
    found = (
        look.why_document(db.why(key)) if request["do"] == "why" else look.neighbours(db, request["do"], key)
    )
    yield {"ok": found}


def loaded_key(asked: Look, settings: Settings) -> Key[Any]:
    from engine.cli.look import loaded_key
    from engine.modules.load import load_rules

    load_rules(settings)
    return loaded_key(asked.key, asked.args, asked.named, settings)


def _changes(request: Message, served: Served) -> Iterator[Message]:
    from engine.cli.telling import answer_changes

    yield from answer_changes(request, served)


def _status(request: Message, served: Served) -> Iterator[Message]:
    yield {"ok": served.status()}


def _sync(request: Message, served: Served) -> Iterator[Message]:
    asked = wire.converted(request, Sync)
    differing = served.sync(crawl=asked.crawl)
    yield {"ok": {"differing": differing, "revision": served.db.revision}}


# -- what went wrong ---------------------------------------------------------------------------


def refusal(reason: str) -> Message:
    return {"refused": reason, "because": "place"}


def _of_another_environment(name: str) -> Message:
    error = _error(
        f"it was started with another value of {escaped(name, limit=100)}", EXIT_IN_USE, early=True
    )
    error["error"]["remedy"] = "Stop it, or say --read-only"
    return error


def retry(stale: tuple[str, ...]) -> Message:
    return {"retry": f"rules changed: {', '.join(map(str, stale[:3]))}"}


def _error(text: str, exit_code: int, *, early: bool = False) -> Message:
    return {"error": {"text": text, "exit_code": exit_code, "early": early}}


def failed(error: BaseException, *, early: bool = False) -> Message:
    """What `engine.cli.report.report` would tell, its exit code, and the class of an error of ours."""
    from engine.cli.report import BUG, REMEMBERED, QueryFailed, exit_code_of, origin
    from engine.message import EXIT_QUERY_FAILED
    from engine.usertrace import frames_of_user, shown

    match error:
        case EngineError():
            said = _error(shown(error), exit_code_of(error), early=early)
            said["error"]["kind"] = type(error).__name__
            return said
        case QueryFailed():
            lines = [f"{error.key} failed", shown(error.error)]
            if not frames_of_user(error.error):
                lines.append(REMEMBERED.format(origin(error.error) or error.key))
            return _error("\n".join(lines), EXIT_QUERY_FAILED)
    return _error("".join(traceback.format_exception(error)).rstrip() + f"\n{BUG}", EXIT_BUG)
