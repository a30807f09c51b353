"""A script by hand: dicts of what each file gave, kept with the times of the files.

What a careful programmer writes in an afternoon, and no less: only files with another stamp are read; what
did not change is not unpickled; only those are resolved again that asked for a summary that differs; the
index is changed by what came and went. What depends on what was written down by hand.
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any

from benchmarks.peers import job
from benchmarks.peers.peer import Script, tell

Kept = tuple[dict[str, job.Summary], dict[str, tuple[job.Resolution, frozenset[str]]]]


def bring_up_to_date(root: str, state: str) -> job.Index:
    """The answer, by what is kept."""
    os.makedirs(state, exist_ok=True)
    known: dict[str, job.Stamp]
    index: job.Index
    known, index = load(f"{state}/stamps", ({}, job.EMPTY))
    stamps = job.crawl(root)
    if stamps == known:
        return index
    kept: Kept = load(f"{state}/kept", ({}, {}))
    summaries, resolutions = kept
    different = set()  # paths whose summary is another one, is new, or is gone
    for path in known.keys() - stamps.keys():
        del summaries[path]
        different.add(path)
        index = job.without(index, resolutions.pop(path)[0])
    for path, stamp in stamps.items():
        if known.get(path) != stamp:
            found = job.summary(job.content(root, path))
            if found != summaries.get(path):
                summaries[path] = found
                different.add(path)
    if different:
        whom = different & summaries.keys()
        whom |= {path for path, (_, asked) in resolutions.items() if not asked.isdisjoint(different)}
        for path in whom:
            if path in resolutions:
                index = job.without(index, resolutions[path][0])
            resolutions[path] = resolved(path, summaries)
            index = job.plus(index, resolutions[path][0])
        save(f"{state}/kept", kept)
    save(f"{state}/stamps", (stamps, index))
    return index


def resolved(path: str, summaries: dict[str, job.Summary]) -> tuple[job.Resolution, frozenset[str]]:
    """The resolution of a file, and the paths it asked for."""
    asked = set()

    def summary_of(other: str) -> job.Summary | None:
        asked.add(other)
        return summaries.get(other)

    return job.resolution(path, summaries[path], summary_of), frozenset(asked)


def load(file: str, otherwise: Any) -> Any:
    """What was saved; `otherwise` the first time."""
    try:
        with open(file, "rb") as opened:
            return pickle.load(opened)
    except FileNotFoundError:
        return otherwise


def save(file: str, what: object) -> None:
    """Keep it: the old or the new is there, never half of it."""
    with open(f"{file}.new", "wb") as opened:
        pickle.dump(what, opened, pickle.HIGHEST_PROTOCOL)
    os.replace(f"{file}.new", file)


PEERS = (Script("dict with mtimes", __name__),)

if __name__ == "__main__":
    tell(bring_up_to_date(sys.argv[1], sys.argv[2]))
