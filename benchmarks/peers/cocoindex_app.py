"""cocoindex: each step is a memoized function, found by its arguments, in one component.

A file goes in by its time and size, and what a resolution depends on goes in as arguments, as with joblib:
one step can read what another one made only if it is handed over. So every call is made at every build.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers import actions, job
from benchmarks.peers.peer import Script, tell

Kept = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]  # a summary as a plain tuple
Known = tuple[tuple[str, Kept], ...]
KeptResolution = tuple[str, int, int, tuple[str, ...]]


def summary_of(root: str, path: str, stamp: tuple[int, int]) -> Kept:
    """The stamp says whether the call is the same."""
    found = job.summary(job.content(root, path))
    return found.symbols, found.imports


def resolution_of(path: str, own: Kept, known: Known) -> KeptResolution:
    """`known` are the summaries that it may ask for."""
    several = {one: job.Summary(*kept) for one, kept in known}
    found = job.resolution(path, job.Summary(*own), several.get)
    return found.path, found.defines, found.symbols, found.targets


def main(root: str, state: str) -> None:
    """One build."""
    os.environ["COCOINDEX_DISABLE_USAGE_TRACKING"] = "1"
    coco: Any = importlib.import_module("cocoindex")
    summarise = coco.fn(memo=True)(summary_of)
    resolve = coco.fn(memo=True)(resolution_of)

    def everything() -> tuple[int, ...]:
        kept = {path: summarise(root, path, stamp) for path, stamp in job.crawl(root).items()}
        resolutions = []
        for path, own in kept.items():
            several = [one for one in actions.candidates(path, job.Summary(*own)) if one in kept]
            resolutions.append(resolve(path, own, tuple((one, kept[one]) for one in several)))
        return tuple(job.index_of(job.Resolution(*one) for one in resolutions))

    environment = coco.Environment(coco.Settings(db_path=Path(state)))
    app = coco.App(coco.AppConfig(name="job", environment=environment), coco.fn(everything))
    tell(job.Index(*app.update_blocking()))


PEERS = (Script("cocoindex", __name__, needs="cocoindex", most_files=10_000),)

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
