"""Graph: the code graph of a project as one answer.

Demanding `code_graph` brings all facts, import targets and cycles up to date. It is made of sums per
directory, so that an edit reaches it through its own file and directory only, or not at all.

Invariants
    G1  The same tree gives the same summary, digest included, on every machine and after any history.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from attrs import evolve, frozen
from blake3 import blake3

from engine import each, query
from engine.rules.python.cycles import import_cycles
from engine.rules.python.facts import facts
from engine.rules.python.imports import import_targets
from engine.rules.python.meanings import EXTERNAL, INTERNAL, UNRESOLVED
from engine.rules.python.tree import MAX_DEPTH, contents, files_in, join, python_directories


@frozen
class Summary:
    """A project, a directory or a file in numbers.

    `definitions` and `references` count what facts list; `internal`, `external` and `unresolved` count names
    of import statements; `cycles` counts groups of files that import each other (in a project only).
    `digest` is a blake3 hash over all facts and import targets: equal digests, equal graphs.
    """

    files: int
    broken: int
    definitions: int
    references: int
    internal: int
    external: int
    unresolved: int
    cycles: int
    digest: str


@query
def code_graph() -> Summary:
    """The code graph of the whole project, in numbers."""
    return evolve(tree_summary(""), cycles=len(import_cycles()))


@query
def tree_summary(directory: str) -> Summary:
    """The same for the files in one directory and below it. A change adds up what lies on its path."""
    found = contents(directory)
    own = (directory_summary(directory),) if found.files else ()
    if directory.count("/") >= MAX_DEPTH:
        return _total(own)
    return _total((*own, *each(tree_summary, [join(directory, name) for name in found.directories])))


@query
def directory_summary(directory: str) -> Summary:
    """The same for the files in one directory, not below it."""
    return _total(each(file_summary, files_in(directory)))


@query
def file_summary(path: str) -> Summary:
    """The same for one file."""
    found, targets = facts(path), import_targets(path)
    outcomes = [target.outcome for target in targets]
    name = path.encode("utf-8", "surrogateescape")  # a path need not be text
    encoded = msgspec.msgpack.encode((name, found, targets))
    return Summary(
        files=1,
        broken=int(found.broken is not None),
        definitions=len(found.definitions),
        references=len(found.references),
        internal=outcomes.count(INTERNAL),
        external=outcomes.count(EXTERNAL),
        unresolved=outcomes.count(UNRESOLVED),
        cycles=0,
        digest=blake3(encoded).hexdigest(),
    )


@query
def broken_files() -> tuple[str, ...]:
    """The files that cannot be read as a whole, sorted. `parse_error` says why."""
    several = each(_broken_in, python_directories())
    return tuple(sorted(path for paths in several for path in paths))


@query
def _broken_in(directory: str) -> tuple[str, ...]:
    files = files_in(directory)
    summaries = zip(files, each(file_summary, files), strict=True)
    return tuple(path for path, summary in summaries if summary.broken)


def _total(parts: Iterable[Summary]) -> Summary:
    parts = tuple(parts)
    digest = blake3()
    for part in parts:
        if (
            part.files
        ):  # a directory that is left behind without any says nothing: git does not know it either
            digest.update(bytes.fromhex(part.digest))
    return Summary(
        files=sum(part.files for part in parts),
        broken=sum(part.broken for part in parts),
        definitions=sum(part.definitions for part in parts),
        references=sum(part.references for part in parts),
        internal=sum(part.internal for part in parts),
        external=sum(part.external for part in parts),
        unresolved=sum(part.unresolved for part in parts),
        cycles=0,
        digest=digest.hexdigest(),
    )
