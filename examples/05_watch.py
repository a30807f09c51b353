"""Live queries: an index of all TODO lines that is right some milliseconds after every save.

    python examples/05_watch.py [DIRECTORY]

Edit files below the directory while it runs; Ctrl-C ends it. The same from the command line:

    engine watch examples/05_watch.py:todos --print
"""

from __future__ import annotations

import contextlib
import sys

from engine import Engine, each, query
from engine.rules.directories import glob
from engine.rules.files import FileError, read_text
from engine.watch import Revised, Started


@query
def todos_in(path: str) -> tuple[str, ...]:
    """The TODO lines of one file, with their numbers."""
    try:
        lines = read_text(path).splitlines()
    except FileError:  # not a text
        return ()
    return tuple(f"{path}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if "TODO" in line)


@query
def todos() -> tuple[str, ...]:
    """All TODO lines of the project."""
    return tuple(line for lines in each(todos_in, glob("**/*.py")) for line in lines)


def main(directory: str) -> None:
    with Engine(None, root=directory) as db, db.watch(todos) as watch:
        for event in watch:
            if isinstance(event, Started):
                print(f"{len(db.get(todos))} lines, {event.files} inputs watched, {event.seconds:.2f} s")
            elif isinstance(event, Revised):
                changed = [one.key for one in event.changed]
                print(f"{len(db.get(todos))} lines, {event.figures.latency:.0f} ms after the save: {changed}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(sys.argv[1] if len(sys.argv) > 1 else ".")
