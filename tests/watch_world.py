"""Watch world: queries over a small tree, what they should say, and all that can happen to the tree."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import Engine, Key, each, query
from engine.rules.directories import files_below, glob, listing
from engine.rules.files import FileError, exists, file_digest, kind, read_bytes, read_text
from engine.watch.events import Revised, Started, WatchEvent, Watching
from engine.watch.session import Watch

PATIENCE = 60.0  # seconds until a test gives up waiting: the machine may be busy

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
NAMES = ("one.txt", "two.txt", "three.txt", "skip.log", "new.txt", ".gitignore")
DIRECTORIES = ("", "a", "a/deep", "a/deep/er", "b", "moved", "ignored")


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


def until(condition: Callable[..., Any], what: str = "", *arguments: Any) -> Any:
    """Wait until something holds of some arguments, and return it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition(*arguments)
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what or condition}"
        time.sleep(0.005)


def until_equal(db: Engine, root: Path) -> None:
    """Wait until the answers are right; where they never are, say how they differ."""
    deadline = time.monotonic() + PATIENCE
    while True:
        right, found = truth(root), answers(db)
        if right == found:
            return
        if time.monotonic() > deadline:
            assert found == right
        time.sleep(0.01)


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


class Edits:
    """Random edits of a tree. Each is one thing that people, editors and programs do."""

    def __init__(self, root: Path, seed: int, outside: Path) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.outside = outside
        self.number = 0
        self.done: list[str] = []

    def edit(self, count: int = 1) -> None:
        kinds = [name for name in dir(self) if name.startswith("do_")]
        for _ in range(count):
            name = self.random.choice(kinds)
            self.done.append(name)
            try:
                getattr(self, name)()
            except (OSError, shutil.Error):
                self.done[-1] += " (not possible now)"

    # -- places --------------------------------------------------------------------------------

    def fresh(self) -> str:
        self.number += 1
        return f"text {self.number:06}"

    def directory(self) -> Path:
        return self.root / self.random.choice(DIRECTORIES)

    def subdirectory(self) -> Path:
        return self.root / self.random.choice(DIRECTORIES[1:])

    def place(self) -> Path:
        return self.directory() / self.random.choice(NAMES[:5])

    def file(self) -> Path:
        """A file that is there, if there is one at all."""
        found = [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]
        return self.random.choice(found) if found else self.place()

    # -- edits ---------------------------------------------------------------------------------

    def do_write(self) -> None:
        self.place().write_text(self.fresh())

    def do_rewrite(self) -> None:
        self.file().write_text(self.fresh())

    def do_rewrite_the_same(self) -> None:
        path = self.file()
        path.write_bytes(path.read_bytes())

    def do_same_size(self) -> None:
        path = self.file()
        before = path.read_bytes()
        path.write_bytes(bytes(self.random.randrange(97, 122) for _ in before))

    def do_append(self) -> None:
        with self.file().open("a") as file:
            file.write(self.fresh())

    def do_truncate(self) -> None:
        os.truncate(self.file(), self.random.randrange(5))

    def do_delete(self) -> None:
        self.file().unlink()

    def do_rename(self) -> None:
        self.file().rename(self.place())

    def do_rename_directory(self) -> None:
        self.subdirectory().rename(self.subdirectory())

    def do_move_out_and_in(self) -> None:
        away = self.outside / self.fresh()
        self.subdirectory().rename(away)
        if self.random.random() < 0.5:
            (away / self.random.choice(NAMES[:5])).write_text(self.fresh())
        away.rename(self.subdirectory())

    def do_move_in(self) -> None:
        made = self.outside / self.fresh() / "deep"
        made.mkdir(parents=True)
        (made / "new.txt").write_text(self.fresh())
        (made.parent / "one.txt").write_text(self.fresh())
        made.parent.rename(self.subdirectory())

    def do_make_deep(self) -> None:
        directory = self.directory() / "deep" / "er"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "new.txt").write_text(self.fresh())

    def do_remove_tree(self) -> None:
        shutil.rmtree(self.subdirectory())

    def do_replace_by_directory(self) -> None:
        path = self.file()
        path.unlink()
        path.mkdir()
        (path / "one.txt").write_text(self.fresh())

    def do_link(self) -> None:
        self._link(self.root / "l.txt", self.file())

    def do_link_directory(self) -> None:
        self._link(self.root / "link", self.directory())

    def do_replace_by_link(self) -> None:
        directory = self.subdirectory()
        shutil.rmtree(directory)
        self._link(directory, self.directory())

    def do_dangling(self) -> None:
        self._link(self.root / "l.txt", self.root / "nowhere.txt")

    def do_link_loop(self) -> None:
        self._link(self.root / "link", self.root / "link")

    def do_link_outside(self) -> None:
        self._link(self.root / "link", self.outside)

    def _link(self, at: Path, target: Path) -> None:
        if at.is_symlink() or at.is_file():
            at.unlink()
        elif at.is_dir():
            shutil.rmtree(at)
        relative = self.random.random() < 0.5
        at.symlink_to(os.path.relpath(target, at.parent) if relative else target)

    def do_write_through_link(self) -> None:
        (self.root / "link" / "one.txt").write_text(self.fresh())

    def do_chmod(self) -> None:
        self.file().chmod(self.random.choice((0o600, 0o644, 0o755)))

    def do_touch_back(self) -> None:
        path = self.file()
        path.write_text(self.fresh())
        os.utime(path, (1_000_000_000, 1_000_000_000))

    def do_save_by_rename(self) -> None:
        path = self.file()
        swap = path.with_name(f".{path.name}.swp")
        swap.write_text(self.fresh())
        swap.replace(path)

    def do_save_with_backup(self) -> None:
        path = self.file()
        backup = path.with_name(path.name + "~")
        path.rename(backup)
        path.write_text(self.fresh())
        backup.unlink()

    def do_ignore(self) -> None:
        lines = self.random.sample(["*.log", "ignored/", "deep", "/b", "!one.txt", "two.*"], 3)
        self.directory().joinpath(".gitignore").write_text("\n".join(lines))


def key(query: Any, *args: Any) -> Key[Any]:
    """A key, for `Engine.watch`."""
    made: Key[Any] = query.key(*args)
    return made
