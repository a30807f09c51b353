"""`engine search`: full-text search over the definitions and docstrings of a Python project.

The table `documents` is brought up to date, the index is brought up to date by its change feed, and asked.

Invariants
    Q1  An answer is of everything that was saved before the command began.
    Q2  Where a definition stands is looked up when it is printed: moved lines change nothing in the index.
    Q3  A watch may come or go at any time: the cursor is in the store, so the other one goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from engine.cli.session import as_json, places

if TYPE_CHECKING:
    from engine import Engine
    from engine.cli.remote import Alone
    from engine.rules.python.documents import Document
    from engine.settings import Settings
    from engine.sinks import Sink
    from engine.store.fulltext import Hit
    from engine.tables.changes import Delta

T = TypeVar("T")
EPILOG: Final = """\b
Examples:
  engine search "parse config"          definitions with both words in their names or docstrings
  engine search 'conf* NOT test'        the beginning of a word; without another one
  engine search 'name:load OR "as JSON"'  a word in one column; a phrase
  engine search '"os.path"' --json      what is not a word stands in double quotes
"""
TABLE: Final = "engine.rules.python.documents:documents"
SPANS: Final = "engine.rules.python.spans:spans"
CURSOR: Final = "engine search"
FILE: Final = "search.db"  # in the store's directory
INDEXED: Final = {"name": 10.0, "words": 5.0, "qualified": 3.0, "text": 1.0}  # how much a match counts
KEPT: Final = ("path", "kind", "ordinal")
PATIENCE_SECONDS: Final = 5.0  # for another command to give up the store
BUSY: Final = "Wait for it to end."
CAMEL: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@click.command("search", epilog=EPILOG, short_help="Find definitions by words of names and docstrings.")
@click.argument("text")
@click.option("--limit", type=click.IntRange(min=1), default=20, metavar="N", help="At most N (20).")
@click.option("--index", metavar="FILE", help="Where the index lies (default: search.db in the store).")
@as_json
@click.option("-q", "--quiet", is_flag=True, help="No notes where nothing is found.")
@places
def command(text: str, limit: int, index: str | None, json_: bool, quiet: bool, **options: Any) -> None:
    """Find definitions of the Python project by words of their names and docstrings, the best first.

    TEXT is in the syntax of SQLite's FTS5: words (all of them), "a phrase", beg*, AND, OR, NOT, and name:,
    qualified: or text: before a word. Words are found in other forms too, and inside of names.
    """
    from engine.cli.output import tell, write, write_json
    from engine.cli.session import settings_of
    from engine.message import escaped
    from engine.sinks import FullTextSink
    from engine.store.fulltext import FullText

    settings = settings_of(options)
    file = Path(index) if index is not None else settings.store / FILE
    with ExitStack() as stack:
        project = _Project(settings, stack)  # before the index, which lies in its store
        found = stack.enter_context(FullText(file, INDEXED, KEPT))
        if found.set_aside:
            tell(f"note: the index was damaged, and is made anew: {escaped(found.set_aside)}")
        found.check_search(text)  # before the work: that of a first search may take a minute
        project.bring_up(FullTextSink(found, _texts), quiet)
        hits = [_document(hit, project) for hit in found.search(text, limit)]
    if json_:
        write_json({"text": text, "found": hits})
        return
    write(line for one in hits for line in _lines(one))
    if not hits and not quiet:
        tell("nothing was found")


def _texts(row: Document) -> tuple[str, ...]:
    words = " ".join(CAMEL.findall(row.name))
    return row.name, words, row.qualified, row.text, row.path, row.kind, str(row.ordinal)


def _document(hit: Hit, project: _Project) -> dict[str, Any]:
    """A hit for JSON, with the place where it stands now (Q2)."""
    values = hit.values
    which = {"qualified": values["qualified"], "kind": values["kind"], "ordinal": int(values["ordinal"])}
    spans = project.spans(values["path"])
    line = next((one["line"] for one in spans if all(one[name] == which[name] for name in which)), 1)
    found = {"path": values["path"], "line": line, "name": values["name"], **which}
    return {**found, "snippet": hit.snippet, "score": round(-hit.score, 3)}


def _lines(one: dict[str, Any]) -> Iterator[str]:
    from engine.message import escaped

    yield escaped(f"{one['path']}:{one['line']}  {one['kind']} {one['qualified'] or one['name']}")
    if one["snippet"]:
        yield f"    {escaped(one['snippet'])}"


# -- the project, by the watch or by ourselves ---------------------------------------------------


class _Answered(NamedTuple):
    """What a watch answered, be it None."""

    value: Any


class _Unanswered(Exception):
    """The watch does not answer, or no more."""

    def __init__(self, alone: Alone) -> None:
        super().__init__()
        self.alone = alone


class _Project:
    """Who computes: the watch that has the store as long as it answers, else an engine of our own (Q3)."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        from engine.cli.remote import Alone, may_be_watched

        self._settings = settings
        self._stack = stack
        self._db: Engine | None = None
        self._spans: dict[str, list[dict[str, Any]]] = {}
        if not may_be_watched(settings):  # and the directory of the store is to be made
            self._open(Alone(), lambda: None if may_be_watched(settings) else Alone())

    def bring_up(self, sink: Sink[Document], quiet: bool) -> None:
        """Apply all that changed to a sink, with progress on a terminal; ends with the first signal."""
        from engine.sinks import pour

        self._by_either(lambda: pour(self._deltas, sink), lambda db: self._drain(db, sink, quiet))

    def spans(self, path: str) -> list[dict[str, Any]]:
        """Where the definitions of a file are: asked once, however many of them were found."""
        from engine.cli.output import plain
        from engine.rules.python.spans import spans

        if path not in self._spans:
            self._spans[path] = self._by_either(
                lambda: self._value(SPANS, path), lambda db: plain(db.get(spans, path))
            )
        return self._spans[path]

    def _by_either(self, far: Callable[[], Any], near: Callable[[Engine], Any]) -> Any:
        from engine.cli.remote import Alone

        def ask() -> _Answered | Alone:
            try:
                return _Answered(far())
            except _Unanswered as gone:
                return gone.alone

        if self._db is None:
            found: _Answered | Alone | None = ask()
            if isinstance(found, Alone):
                found = self._open(found, ask)
            if found is not None:
                return found.value
        assert self._db is not None
        return near(self._db)

    def _open(self, alone: Alone, ask: Callable[[], T | Alone]) -> T | None:
        """Open an engine; None: that was done. Else what a watch answered that has just begun."""
        from engine import Engine
        from engine.cli.remote import engine_unless_watched

        found = engine_unless_watched(
            self._settings, self._stack, alone, ask, hint=BUSY, patience=PATIENCE_SECONDS
        )
        if not isinstance(found, Engine):
            return found
        self._db = found
        return None

    def _drain(self, db: Engine, sink: Sink[Document], quiet: bool) -> None:
        from engine.cli.progress import Progress
        from engine.rules.python.documents import documents
        from engine.signals import Interrupted, stopping
        from engine.sinks import drain

        with stopping(db.stop) as state:
            try:
                with Progress(db, "bringing the index up to date", quiet=quiet):
                    drain(db, documents, sink, CURSOR)
            except KeyboardInterrupt:
                state.unwound()
                db.close()
                raise Interrupted(state.number or SIGINT, "what was computed is kept") from None
            state.unwound()

    def _deltas(self, after: str | None) -> Iterator[Delta[Document]]:
        import msgspec

        from engine.rules.python.documents import Document
        from engine.tables.changes import Delta

        if after is None:
            self._ask(None, close=True)
        first = True
        while (found := self._ask(after, sync=first)) is not None:
            rows = {name: msgspec.convert(found[name], list[Document]) for name in ("added", "removed")}
            pairs = [(one["before"], one["after"]) for one in found["changed"]]
            changed = tuple(msgspec.convert(pairs, list[tuple[Document, Document]]))
            after, first = found["position"], False
            yield Delta(
                found["revision"], found["position"], tuple(rows["added"]), tuple(rows["removed"]), changed,
                found["reset"],
            )  # fmt: skip

    def _ask(self, after: str | None, *, close: bool = False, sync: bool = False) -> dict[str, Any] | None:
        from engine.cli import remote
        from engine.cli.output import tell
        from engine.errors import BadCursor

        request = {"key": TABLE, "cursor": CURSOR, "after": after, "close": close, "sync": sync}
        found = remote.changes(request, self._settings)
        if isinstance(found, remote.Alone):
            raise _Unanswered(found)
        if "error" in found:
            if found["error"].get("kind") == BadCursor.__name__:
                raise BadCursor(cause=found["error"]["text"])
            tell(found["error"]["text"])
            raise click.exceptions.Exit(found["error"]["exit_code"])
        delta: dict[str, Any] | None = found["delta"]
        return delta

    def _value(self, query: str, argument: str) -> Any:
        from engine.cli import remote

        found = remote.value(query, (argument,), self._settings, quiet=True)
        if isinstance(found, remote.Alone):
            raise _Unanswered(found)
        return found[0]
