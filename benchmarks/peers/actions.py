"""Actions: the job as steps from files to files, for the peers that know nothing else.

    STATE/sum/PATH    the summary of a file
    STATE/res/PATH    the resolution of a file; beside it in Make's syntax which summaries it read, `.d`
    STATE/asked/PATH  the same, one a line, "+" before what was there, "-" before what was not
    STATE/files       the Python files, one a line; written only when they are others
    STATE/index       the answer

Invariants
    A1  A file whose content would be the same is not written, so that builds can stop there.
    A2  A step reads what it says, and nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from marshal import dumps, loads

from benchmarks.peers.job import (
    Index,
    Resolution,
    Summary,
    content,
    crawl,
    index_of,
    place_of,
    resolution,
    summary,
)


def list_files(root: str, state: str) -> list[str]:
    """Write `STATE/files`; the paths."""
    paths = sorted(crawl(root))
    write(f"{state}/files", "\n".join(paths).encode())
    return paths


def summarise(root: str, state: str, path: str) -> None:
    """From a file to its summary."""
    write(f"{state}/sum/{path}", dumps(tuple(summary(content(root, path)))))


def resolve(state: str, path: str) -> dict[str, bool]:
    """From summaries to the resolution of a file; the summaries it asked for, and whether they exist."""
    asked = {path: True}

    def summary_of(other: str) -> Summary | None:
        found = summary_from(state, other)
        asked[other] = found is not None
        return found

    own = summary_from(state, path)
    assert own is not None
    found = resolution(path, own, summary_of)
    write(f"{state}/res/{path}", dumps(tuple(found)))
    return asked


def resolve_with_list(state: str, path: str) -> None:
    """The same, with what it read beside it."""
    asked = resolve(state, path)
    there = " ".join(f"{state}/sum/{other}" for other, found in asked.items() if found)
    write(f"{state}/res/{path}.d", f"{state}/res/{path}: {there}\n".encode())
    told = "".join(f"{'+' if found else '-'}{other}\n" for other, found in asked.items())
    write(f"{state}/asked/{path}", told.encode())


def make_index(state: str, paths: Iterable[str]) -> Index:
    """From all resolutions to the answer."""
    found = index_of(resolution_from(state, path) for path in paths)
    write(f"{state}/index", json.dumps(found).encode())
    return found


def answer_of(state: str) -> Index:
    """The answer that is there."""
    with open(f"{state}/index", encoding="utf-8") as file:
        return Index(*json.load(file))


def listed(state: str) -> list[str]:
    """The paths in `STATE/files`."""
    with open(f"{state}/files", encoding="utf-8") as file:
        return file.read().split("\n")


def candidates(path: str, own: Summary) -> list[str]:
    """All paths whose summaries the resolution of a file may ask for; most do not exist."""
    found: dict[str, None] = {}
    for module, name in own.imports:
        place = place_of(path, module)
        inside = (f"{place}/{name}" if place else name) if name and name != "*" else None
        for one in (place, inside):
            if one:
                found[f"{one}.py"] = None
            if one is not None:
                found[f"{one}/__init__.py" if one else "__init__.py"] = None
    return list(found)


def summary_from(state: str, path: str) -> Summary | None:
    """A summary that was written; None where there is none."""
    try:
        data = content(f"{state}/sum", path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Summary(*loads(data))


def resolution_from(state: str, path: str) -> Resolution:
    """A resolution that was written."""
    return Resolution(*loads(content(f"{state}/res", path)))


def forget(state: str, gone: Iterable[str]) -> None:
    """Delete what was made of files that are not there any more."""
    for path in gone:
        for made in (f"sum/{path}", f"res/{path}", f"res/{path}.d", f"asked/{path}"):
            if os.path.exists(f"{state}/{made}"):
                os.unlink(f"{state}/{made}")


def write(file: str, data: bytes) -> None:
    """Put data into a file, unless it is there (A1)."""
    try:
        with open(file, "rb") as opened:
            if opened.read() == data:
                return
    except FileNotFoundError:
        os.makedirs(os.path.dirname(file), exist_ok=True)
    with open(file, "wb") as opened:
        opened.write(data)
