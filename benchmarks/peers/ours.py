"""This engine: the job as three queries and a fold."""

from __future__ import annotations

import sys

from benchmarks.peers import job
from benchmarks.peers.peer import Script, tell
from engine import Engine, each, fold, query
from engine.rules.directories import glob
from engine.rules.files import FileError, read_bytes

__all__ = ["PEERS", "Tally", "index", "python_files", "resolution_of", "summary_of"]


@query
def python_files() -> tuple[str, ...]:
    """Every Python file of the repository."""
    return glob("**/*.py")


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


index = fold(each=python_files, of=resolution_of, into=Tally())


@query
def parsed() -> int:
    """How many files there are; all summaries are made, on the workers of the engine."""
    return len(each(summary_of, python_files()))


PEERS = (Script("engine", __name__),)


def main(root: str, state: str) -> None:
    """One build."""
    with Engine(state, root=root) as db:
        tell(db.get(index))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
