"""Telling: what a watch replies to `engine changes`, one delta to a request.

Invariants
    E1  A request that is repeated gets the same delta: it is acknowledged by the next one (`after`).
    E2  A follower waits here for MOMENT_SECONDS at most. Before that, what its table came to read is watched.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from attrs import frozen

from engine.cli import answers
from engine.cli.feed import Feed
from engine.cli.report import of_query
from engine.errors import Closed
from engine.message import EngineError
from engine.watch import wire
from engine.watch.events import Revised, Skipped
from engine.watch.wire import Message

if TYPE_CHECKING:
    from engine.watch.server import Served

MOMENT_SECONDS: Final = 0.5  # Ctrl-C in a follower waits as long


@frozen
class Changes:
    """A request of `engine changes`: acknowledge `after`, and take the next delta.

    take    whether there is one to be taken: the last request only acknowledges
    wait    wait a moment for one, if there is none
    """

    place: answers.Place
    key: str
    cursor: str
    args: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    after: str | None = None
    close: bool = False
    take: bool = True
    wait: bool = False
    sync: bool = False


def answer_changes(request: Message, served: Served) -> Iterator[Message]:
    """The messages that answer a request for changes."""
    asked = wire.converted(request, Changes)
    db = served.db
    refused = answers.why_elsewhere(asked.place, db)
    if asked.sync and not refused:
        served.sync()
    stale = served.stale_rules()
    if refused or stale:
        yield answers.refusal(refused) if refused else answers.retry(stale)
        return
    yield answers.AT_IT
    try:
        with answers.LOADING:
            look = answers.Look(asked.place, asked.key, asked.args, asked.named)
            key = answers.loaded_key(look, asked.place.settings())
    except EngineError as error:
        yield answers.failed(error, early=True)
        return
    before = db.counts().executed
    try:
        feed = Feed(db, key, asked.cursor, asked.after)
        if asked.close:
            feed.close()
            yield {"ok": {"delta": None, "closed": not feed.is_new}}
            return
        found = feed.next() if asked.take else None
        if found is None and asked.take and asked.wait:
            yield from _moment(served, cover=asked.sync or db.counts().executed != before)
            found = feed.next()
    except Exception as error:  # told to who asked: the watch goes on
        if isinstance(error, Closed) or db._core.stopping:
            raise
        yield answers.failed(of_query(error, str(key)))
        return
    yield {"ok": {"delta": None if found is None else found[0]}}


def _moment(served: Served, cover: bool) -> Iterator[Message]:
    """Until something changed, or the moment is over. `cover`: what was read just now has to be watched."""
    watch = served.db._watch
    if watch is None:
        return
    with watch.events() as mailbox:
        if cover:
            served.sync()
        until = time.monotonic() + MOMENT_SECONDS
        while (left := until - time.monotonic()) > 0:
            try:
                event = mailbox.get(left)
            except TimeoutError:
                return
            if event is None or isinstance(event, Revised | Skipped):
                return
            yield answers.AT_IT
