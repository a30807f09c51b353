"""joblib.Memory: each step is a call that is looked up by its arguments.

It tracks nothing: a file goes in by its time and size, and what a resolution depends on goes in as arguments.
So every call is made at every build, and most of them are found.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Any

from benchmarks.peers import actions, job
from benchmarks.peers.peer import Script, tell

Known = tuple[tuple[str, job.Summary], ...]


def summary_of(root: str, path: str, stamp: job.Stamp) -> job.Summary:
    """The stamp says whether the call is the same."""
    return job.summary(job.content(root, path))


def resolution_of(path: str, own: job.Summary, known: Known) -> job.Resolution:
    """`known` are the summaries that it may ask for."""
    return job.resolution(path, own, dict(known).get)


def main(root: str, state: str) -> None:
    """One build."""
    joblib: Any = importlib.import_module("joblib")  # it has no types
    warnings.simplefilter("ignore")
    memory = joblib.Memory(state, verbose=0)
    summarise = memory.cache(summary_of, ignore=["root"])
    resolve = memory.cache(resolution_of)
    summaries = {path: summarise(root, path, stamp) for path, stamp in job.crawl(root).items()}
    resolutions = []
    for path, own in summaries.items():
        several = [one for one in actions.candidates(path, own) if one in summaries]
        resolutions.append(resolve(path, own, tuple((one, summaries[one]) for one in several)))
    tell(job.index_of(resolutions))


PEERS = (Script("joblib", __name__, needs="joblib", most_files=10_000),)

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
