"""This engine: the job as queries, a table of the files, and a fold over them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.peers import job
from benchmarks.peers.peer import Script
from engine import each, fold, query, table
from engine.rules.directories import visible
from engine.rules.files import FileError, read_bytes

__all__ = ["PEERS", "Tally", "index", "resolution_of", "sources", "summary_of"]


@query
def directories(above: str = "") -> tuple[str, ...]:
    """A directory and all below it."""
    below = (join(above, one.name) for one in visible(above) if one.kind == "directory")
    return (above, *(directory for several in each(directories, below) for directory in several))


class Source(NamedTuple):
    """A Python file of the repository."""

    path: str


@query
def all_directories() -> tuple[str, ...]:
    """All directories of the repository."""
    return directories("")


@table(each=all_directories, index=("path",), identity=("path",))
def sources(directory: str) -> Iterable[Source]:
    """The Python files, one directory at a time: one that comes or goes concerns no other directory."""
    for one in visible(directory):
        if one.kind == "file" and one.name.endswith(".py"):
            yield Source(join(directory, one.name))


def join(directory: str, name: str) -> str:
    """The path of an entry; the root directory is ""."""
    return f"{directory}/{name}" if directory else name


@query
def summary_of(path: str) -> job.Summary | None:
    """What others can see of a file; None where there is none."""
    try:
        return job.summary(read_bytes(path))
    except FileError:
        return None


@query
def resolution_of(path: str) -> job.Resolution:
    """What the imports of a file mean."""
    return job.resolution(path, summary_of(path) or job.Summary((), ()), summary_of)


class Tally:
    """Resolutions into an index, and out of it again."""

    def zero(self) -> job.Index:
        return job.EMPTY

    def add(self, state: job.Index, value: job.Resolution, /) -> job.Index:
        return job.plus(state, value)

    def remove(self, state: job.Index, value: job.Resolution, /) -> job.Index:
        return job.without(state, value)

    def result(self, state: job.Index, /) -> job.Index:
        return state


index = fold(each=sources.column("path"), of=resolution_of, into=Tally())


PEERS = (
    Script("engine", "benchmarks.peers.build"),
    Script("engine, 2 processes", "benchmarks.peers.build", "2"),
)
