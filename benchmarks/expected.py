"""Expected: which queries an edit of a code graph may run, where that can be said beforehand.

comment, docstring, blank lines   parse, facts, spans and chunks of that file
rename function                   what is kept of that file, of what it defines, and of the directories
                                  around it; the same of files whose text has one of the names that came
                                  or went; lookups of these names, and of those in that file, whose rows
                                      have another source now; answers about the whole project
restart                           nothing
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from benchmarks.mutations import QUIET, Edit
from engine import Key

OF_TEXT = frozenset(["parse", "facts", "spans", "chunks"])
RENAME = "rename function"
RESTART = "restart"
_word = re.compile(r"\w+")


def short_name(key: Key[Any]) -> str:
    """The name of its query without that of the module."""
    return key.query.name.rpartition(":")[2]


def unexpected(edit: Edit, ran: Iterable[Key[Any]], before: Mapping[str, str]) -> list[str]:
    """The keys that ran for nothing; `before`: the texts of all files before the edit."""
    if edit.kind in QUIET:
        return [str(key) for key in ran if short_name(key) not in OF_TEXT or key.args[:1] != (edit.path,)]
    if edit.kind == RESTART:
        return list(map(str, ran))
    if edit.kind == RENAME:
        return list(_beside_names(edit, ran, before))
    return []


def _beside_names(edit: Edit, ran: Iterable[Key[Any]], before: Mapping[str, str]) -> Iterator[str]:
    names: set[str] = set()
    used: set[str] = set()
    for path, text in edit.changes:
        old, new = set(_word.findall(before.get(path, ""))), set(_word.findall(text or ""))
        names |= old ^ new
        used |= old | new
    names |= set(_word.findall(edit.detail)[:1])  # the old one: it may stay in words of the file
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(names)))})\b")
    concerned = {path for path, text in before.items() if pattern.search(text)} | set(edit.paths)
    around = {str(place) for path in edit.paths for place in PurePosixPath(path).parents} | {""}
    for key in ran:
        texts = [one for one in key.args if isinstance(one, str)]
        if not texts or any(
            one in concerned or one in around or one.rpartition(":")[0] in edit.paths or pattern.search(one)
            for one in texts
        ):
            continue
        if "." not in short_name(key) or not used.intersection(_word.findall(texts[-1])[-1:]):
            yield str(key)
