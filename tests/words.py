"""A table of the words in files, tables and queries over it, and how to edit the files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import frozen

from engine import Engine, Transient, input, query, table
from engine.key import Key
from tests.watching import Watch

BUSY: set[str] = set()  # files that cannot be read for a moment


@frozen
class Word:
    text: str
    length: int


@input
def paths() -> tuple[str, ...]:
    return ()


@input
def content(path: str) -> str:
    return ""


@table(each=paths, index=("text", "length"))
def words(path: str) -> Iterable[Word]:
    if path in BUSY:
        raise OSError("busy")
    text = content(path)
    if "!" in text:
        raise ValueError(text)
    for word in text.split():
        yield Word(word, len(word))


@query
def uses(word: str) -> int:
    return words.count(text=word)


@query
def lengths() -> tuple[int, ...]:
    return tuple(sorted({word.length for word in words.where()}))


@query
def has(word: str) -> str:
    return "yes" if words.exists(text=word) else "no"


@query
def unrelated() -> int:
    return len(paths())


def write(db: Engine, **files: str | None) -> None:
    """One batch: contents of files, None for a file that goes."""
    known = dict.fromkeys(db.get(paths))
    for path, text in files.items():
        known = {**known, path: None} if text is not None else {p: None for p in known if p != path}
    with db.batch():
        db.set(paths.key(), tuple(known))
        for path, text in files.items():
            if text is not None:
                db.set(content.key(path), text)


def ran(watch: Watch, *asked: Key[Any]) -> list[str]:
    """What runs when keys are asked for one after the other, sorted."""
    watch.clear()
    for key in asked:
        watch.db.get(key)
    watch.db.check_invariants()
    return sorted(name.partition(":")[2] or name for name in (str(e.key) for e in watch.events if is_run(e)))


def is_run(event: Any) -> bool:
    return event.what.value in ("executed", "cut off", "failed")


@frozen
class Group:
    text: str
    size: int


@table(each=words.column("text"), index=("size",))
def groups(text: str) -> Iterable[Group]:
    yield Group(text, words.count(text=text))


@query
def singles() -> tuple[str, ...]:
    return tuple(group.text for group in groups.where(size=1))


@input
def broken() -> str:
    return ""


@query
def fragile() -> tuple[str, ...]:
    if broken() == "busy":
        raise Transient("busy")
    if broken():
        raise ValueError(broken())
    return paths()


@table(each=fragile, index=("text",))
def over_fragile(path: str) -> Iterable[Word]:
    yield Word(content(path), 1)
