"""`engine changes`: what changed in a table or a value since a consumer looked last, each change once.

Invariants
    C1  A delta is acknowledged after it was written and flushed, and not before.
    C2  While a watch has the store, it answers; when it is gone, this command goes on by itself, and so the
        other way round: the cursor is in the store.
    C3  The first signal ends a following command in order: what was written is acknowledged.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from signal import SIGINT
from typing import TYPE_CHECKING, Any, Final

import click

from engine.cli.session import by_name, places

if TYPE_CHECKING:
    from engine import Engine, Key
    from engine.cli.feed import Feed
    from engine.cli.remote import Alone
    from engine.cli.takeover import Start
    from engine.settings import Settings
    from engine.signals import Stopping
    from engine.watch.session import Watch

EPILOG: Final = """\b
Examples:
  engine changes rules.py:words --cursor index            what changed since the last time; first all rows
  engine changes words --cursor index --follow --json     and so on, until Ctrl-C; one delta to a line
  engine changes words --cursor index --after POSITION    for who stores `position` with what it made of it
  engine changes words --cursor index --close             forget this consumer
  engine changes rules.py:lines a.txt --cursor index      the value of a query, with an argument
"""
TURN_SECONDS: Final = 0.2  # the longest until a signal is noticed
BUSY: Final = "Wait for it to end."


@click.command("changes", epilog=EPILOG, short_help="Tell what changed since a consumer looked last.")
@click.argument("name", metavar="TABLE|KEY")
@click.argument("args", nargs=-1, metavar="[ARGS]...")
@by_name
@click.option("--cursor", required=True, metavar="NAME", help="The consumer; the store keeps how far it is.")
@click.option("--after", metavar="POSITION", help="Go on after this position instead.")
@click.option("--follow", is_flag=True, help="Go on as files change, until Ctrl-C.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N deltas.")
@click.option("--close", is_flag=True, help="Forget the cursor: nothing is kept for it any more.")
@click.option("--json", "json_", is_flag=True, help="One JSON document to a line for each delta.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing but the changes, and no progress.")
@places
def command(name: str, args: tuple[str, ...], named: tuple[str, ...], **options: Any) -> None:
    """Tell what changed in a table, or in the value of a key, since this consumer looked last.

    A new consumer gets all rows. A delta counts as told once it was written: one that was interrupted before
    is told again.
    """
    from engine.cli.session import settings_of
    from engine.cli.takeover import Start, taken_over

    own = {one: options.pop(one) for one in ("cursor", "after", "follow", "limit", "close", "json_", "quiet")}
    if own["close"] and (own["follow"] or own["after"] or own["limit"]):
        raise click.UsageError("--close only forgets the cursor: leave the other options out.")
    if taken_over() is not None:
        own["after"] = None  # all that was written is acknowledged
    start = Start() if own["follow"] else None
    _Command(name, args, named, own, settings_of(options), start).run()


class _Command:
    """One run of `engine changes`, until nothing is left, or somebody ends it."""

    def __init__(
        self,
        name: str,
        args: tuple[str, ...],
        named: tuple[str, ...],
        options: dict[str, Any],
        settings: Settings,
        start: Start | None,
    ) -> None:
        self._name = name
        self._args = args
        self._named = named
        self._options = options
        self._settings = settings
        self._start = start
        self._answers = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding)
        self._poll = select.poll()
        self._poll.register(self._answers, 0)
        self._stop = False
        self._break: Callable[[], None] | None = None  # what ends the queries that run
        self._left: int | None = options["limit"]
        self._after: str | None = options["after"]
        self._told = 0
        self._error = ""  # what was told last of a table that fails

    def run(self) -> None:
        """See the module."""
        from engine.cli.output import ReaderGone, answer_only, tell
        from engine.signals import Interrupted, stopping

        with stopping(self._end) as state, answer_only():
            try:
                self._work(state)
            except KeyboardInterrupt:
                if not state.number:
                    state.number = SIGINT
            except ReaderGone:
                self._options["quiet"] = True
            state.unwound()
        if state.number:
            raise Interrupted(state.number, f"{self._told} deltas were told, and are acknowledged")
        if not self._told and not self._options["close"] and not self._options["quiet"]:
            tell("nothing changed")

    def _work(self, state: Stopping) -> None:
        from engine.cli.remote import engine_unless_watched

        alone = self._ask_the_watch()
        if alone is None:
            return
        from engine.cli.look import loaded_key

        key = loaded_key(self._name, self._args, self._named, self._settings)
        with ExitStack() as stack:
            quiet = self._options["quiet"]
            db = engine_unless_watched(
                self._settings, stack, alone, self._ask_the_watch, hint=BUSY, quiet=quiet
            )
            if db is not None:
                self._do(db, key)
                state.unwound()  # what follows is the commit

    def _end(self) -> None:
        """A signal. Runs in a signal handler."""
        self._stop = True
        if self._break is not None:
            self._break()

    # -- by ourselves --------------------------------------------------------------------------

    def _do(self, db: Engine, key: Key[Any]) -> None:
        from engine.cli.feed import Feed

        self._break = db.stop
        cursor: str = self._options["cursor"]
        if self._options["follow"]:
            self._follow(db, key, cursor)
            return
        with self._shown(db, key):
            feed = self._told_by(lambda: Feed(db, key, cursor, self._after))
        if self._options["close"]:
            feed.close()
            self._say_closed(not feed.is_new)
        else:
            self._drain(feed, lambda: self._shown(db, key))

    def _shown(self, db: Engine, key: Key[Any]) -> AbstractContextManager[object]:
        """To be entered while queries may run."""
        from engine.cli.progress import Progress

        return Progress(db, f"computing {key}", quiet=self._options["quiet"])

    def _drain(self, feed: Feed, shown: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        """Tell all there is, and acknowledge it (C1)."""
        while not self._stop and self._left != 0:
            with shown():
                found = self._told_by(feed.next)
            if found is None:
                return
            document, delta = found
            # From here to the acknowledgement nothing is computed, and nothing is broken off.
            breaking, self._break = self._break, None
            try:
                self._write(document)
                self._told_by(partial(feed.acknowledge, delta))
            finally:
                self._break = breaking

    def _follow(self, db: Engine, key: Key[Any], cursor: str) -> None:
        from engine.cli.waiting import settings_files
        from engine.watch.events import Revised, RulesChanged, Skipped, Started

        feed: Feed | None = None
        changed = False
        with db.watch(key) as watch, ExitStack() as beginning:
            beginning.enter_context(self._shown(db, key))
            watch.follow_rules(settings_files(self._start.directory if self._start else "", self._settings))
            for event in self._events(watch):
                if isinstance(event, RulesChanged):
                    changed = True
                    break
                if isinstance(event, Started | Revised | Skipped):
                    beginning.close()
                    feed = self._keep_telling(db, key, cursor, feed)
                if self._left == 0:
                    return
        if changed and not self._stop and self._start is not None:
            from engine.cli.takeover import Handed

            db.close()
            self._start.again(Handed(time.time()))

    def _events(self, watch: Watch) -> Any:
        """The events until somebody ends it; trouble is told."""
        from engine.cli.output import ReaderGone, tell
        from engine.errors import RootGone
        from engine.message import escaped
        from engine.watch.events import Trouble

        mailbox = iter(watch)
        while not self._stop:
            if self._poll.poll(0):
                raise ReaderGone
            try:
                event = mailbox.get(TURN_SECONDS)
            except TimeoutError:
                continue
            if event is None:
                return
            if isinstance(event, Trouble):
                if event.cause == RootGone.headline:
                    raise RootGone(root=event.place, hint="Put it back and start again.")
                tell(f"{escaped(event.place)}: {escaped(event.cause)}")
            yield event

    def _keep_telling(self, db: Engine, key: Key[Any], cursor: str, feed: Feed | None) -> Feed | None:
        """Tell what is new; a table that fails is told, and tried again at the next change."""
        from engine.cli.feed import Feed
        from engine.cli.report import QueryFailed, exit_code_of
        from engine.message import EXIT_QUERY_FAILED, EngineError

        try:
            feed = feed or self._told_by(lambda: Feed(db, key, cursor, self._after))
            assert feed is not None
            self._drain(feed)
            self._error = ""
        except QueryFailed as failed:
            self._tell_failure(str(failed.error), failed)
        except EngineError as failed:
            if exit_code_of(failed) != EXIT_QUERY_FAILED:
                raise
            self._tell_failure(str(failed), failed)
        return feed

    def _told_by(self, work: Callable[[], Any]) -> Any:
        """What `work` gives; an exception of a query as such."""
        from engine.cli.report import of_query

        try:
            return work()
        except Exception as error:  # of the query, or what is ours and stays as it is
            raise of_query(error, self._name) from error

    # -- by the watch --------------------------------------------------------------------------

    def _ask_the_watch(self) -> Alone | None:
        """Have the watch that holds the store answer; None: done."""
        from engine.cli import remote

        acknowledged: str | None = self._after
        first = True
        while True:
            wanted = not self._stop and self._left != 0
            request = {
                "key": self._name,
                "args": self._args,
                "named": self._named,
                "cursor": self._options["cursor"],
                "after": acknowledged,
                "close": self._options["close"],
                "take": wanted,
                "wait": wanted and self._options["follow"] and not first,
                "sync": first,
            }
            found = remote.changes(request, self._settings)
            if isinstance(found, remote.Alone):
                return found
            first = False
            if "error" in found:
                self._fail(found["error"])
                continue
            if self._options["close"]:
                self._say_closed(found["closed"])
                return None
            document = found["delta"]
            acknowledged = None
            if document is not None:
                self._write(document)
                self._after = acknowledged = document["position"]
            elif not wanted or not self._options["follow"]:
                return None
            elif self._poll.poll(0):
                from engine.cli.output import ReaderGone

                raise ReaderGone

    def _fail(self, error: dict[str, Any]) -> None:
        """What the watch could not do ends the command; a query that fails only if nobody follows it."""
        from engine.cli.output import tell
        from engine.message import EXIT_QUERY_FAILED

        if not self._options["follow"] or error["exit_code"] != EXIT_QUERY_FAILED:
            tell(error["text"])
            raise click.exceptions.Exit(error["exit_code"])
        if error["text"] != self._error:
            self._error = error["text"]
            tell(error["text"])
        time.sleep(TURN_SECONDS)

    # -- telling -------------------------------------------------------------------------------

    def _write(self, document: dict[str, Any]) -> None:
        from engine.cli.feed import json_line, lines
        from engine.cli.output import write

        write([json_line(document)] if self._options["json_"] else lines(document), self._answers)
        self._told += 1
        if self._left is not None:
            self._left -= 1

    def _say_closed(self, was_there: bool) -> None:
        from engine.cli.output import tell
        from engine.message import escaped

        if not self._options["quiet"]:
            found = "is forgotten" if was_there else "is not there: nothing was kept for it"
            tell(f"the cursor {escaped(self._options['cursor'])} {found}")

    def _tell_failure(self, text: str, failed: BaseException) -> None:
        from engine.cli.report import report

        if text != self._error:
            self._error = text
            report(failed)
