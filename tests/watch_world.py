"""Watch world: a small tree, queries over it, what they should say, and what a watch of it told."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import Engine, Key, each, query
from engine.rules.directories import files_below, glob, listing
from engine.rules.files import FileError, exists, file_digest, kind, read_bytes, read_text
from engine.watch.events import Revised, Started, WatchEvent, Watching
from engine.watch.session import Watch
from tests.patience import PATIENCE, until

# Places that are asked for whether there is something or not: links, deep paths, what moves in and out.
PROBES = (
    "a/one.txt",
    "b",
    "b/two.txt",
    "a/deep/er/new.txt",
    "link",
    "link/one.txt",
    "moved/one.txt",
    "l.txt",
)


@query
def text(path: str) -> str:
    """The text of a file, or what is wrong with it."""
    try:
        return read_text(path)
    except FileError as error:
        return f"<{error.kind}>"


@query
def tree() -> tuple[tuple[str, str], ...]:
    """All files that are not ignored, with their texts."""
    paths = glob("**/*")
    return tuple(zip(paths, each(text, paths), strict=True))


@query
def probes() -> tuple[tuple[str, str, str, bool], ...]:
    """What is at the places that are always asked for."""
    return tuple((path, text(path), kind(path), _exists(path)) for path in PROBES)


def _exists(path: str) -> bool:
    try:
        return exists(path)
    except FileError:
        return False


@query
def digests() -> tuple[tuple[str, bytes], ...]:
    """Everything in one directory, ignored or not, by content."""
    try:
        return tuple((path, file_digest(path)) for path in files_below("a", ignore=False))
    except FileError as error:
        return ((error.kind, b""),)


@query
def names() -> tuple[str, ...]:
    """The names in the root."""
    return tuple(entry.name for entry in listing(""))


@query
def size_of(path: str) -> int:
    """The number of bytes of a file; fails where there is none."""
    return len(read_bytes(path))


WATCHED: tuple[Any, ...] = (tree, probes)
UNWATCHED: tuple[Any, ...] = (digests, names)


def answers(db: Engine) -> dict[str, Any]:
    """The values of all these queries. While a tree is known in part only, one may be an error."""
    return {query.__name__: value_of(db, query) for query in (*WATCHED, *UNWATCHED)}


def value_of(db: Engine, query: Any, *args: Any) -> Any:
    """The value of a key, or its error as a text."""
    try:
        return db.get(query, *args)
    except FileError as error:
        return f"{error.path}: {error.kind}"


def truth(root: Path) -> dict[str, Any]:
    """The same from an engine that knows nothing yet."""
    with Engine(None, root=root) as fresh:
        return answers(fresh)


def until_equal(db: Engine, root: Path) -> None:
    """Wait until the answers are right; where they never are, say how they differ."""
    right = truth(root)  # once: nobody edits while somebody waits
    found: list[Any] = [None]

    def equal() -> bool:
        found[0] = answers(db)
        return bool(found[0] == right)

    try:
        until(equal)
    finally:
        assert found[0] == right


class Told:
    """Everything that a watch told from now on."""

    def __init__(self, watch: Watch) -> None:
        self.mailbox = watch.events()
        self.events: list[WatchEvent] = []

    def now(self) -> list[WatchEvent]:
        """All events up to now."""
        while self.mailbox.waiting():
            event = self.mailbox.get(0)
            if event is not None:
                self.events.append(event)
        return self.events

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.now() if isinstance(event, kind)]

    def revised(self) -> list[Revised]:
        return self.of(Revised)

    def reasons(self) -> list[str]:
        """Why the watch went from state to state."""
        return [event.reason for event in self.of(Watching)]

    def names(self) -> set[str]:
        """The short names of all keys that were told to have changed, inputs too."""
        return {short(one.key) for event in self.revised() for one in (*event.inputs, *event.changed)}

    def clear(self) -> None:
        self.now()
        self.events.clear()


def short(name: str) -> str:
    """A key without the module of its query."""
    query, _, arguments = name.partition("(")
    return f"{query.rpartition(':')[2].rpartition('.')[2]}({arguments}"


@contextmanager
def watching(
    root: Path, *queries: Any, store: Path | None = None, **options: Any
) -> Generator[tuple[Engine, Watch, Told]]:
    """An engine with a watch that is ready."""
    with Engine(store, root=root) as db, db.watch(*(queries or WATCHED), **options) as watch:
        told = Told(watch)
        assert watch.wait_until_ready(PATIENCE)
        until(lambda: told.of(Started), "Started")
        yield db, watch, told


def planted(root: Path) -> Path:
    """A tree to begin with."""
    for directory in ("a/deep", "b", "ignored"):
        (root / directory).mkdir(parents=True)
    for path in ("a/one.txt", "a/deep/two.txt", "b/two.txt", "top.txt", "ignored/x.txt"):
        (root / path).write_text(f"{path} at first")
    (root / ".gitignore").write_text("*.log\nignored/\n")
    return root


def save(path: Path, content: str) -> None:
    """Put a content at a place of a tree that is called "root", all at once.

    `write_text` empties a file first, and a watch may well see that as a change of its own. The new file is
    made outside of the tree: no listing has its name, for a moment, and nothing else happens in the tree.
    """
    root = next(directory for directory in path.parents if directory.name == "root")
    made = root.with_name(f"saved by {threading.get_ident()}")
    made.write_text(content)
    made.replace(path)


def key(query: Any, *args: Any) -> Key[Any]:
    """A key, for `Engine.watch`."""
    made: Key[Any] = query.key(*args)
    return made
