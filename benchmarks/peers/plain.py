"""No engine: read, parse and resolve everything, every time. `plain-2` does so on two processes."""

from __future__ import annotations

import sys
from functools import partial

from benchmarks.peers.job import Index, Summary, content, crawl, index_of, resolution, summary
from benchmarks.peers.peer import Script, tell

PART = 200  # files that go to a process at a time


def one_process(root: str) -> Index:
    """On one core."""
    return joined({path: summary(content(root, path)) for path in sorted(crawl(root))})


def many_processes(root: str, count: int) -> Index:
    """Summaries on several cores, the rest on one."""
    from multiprocessing import get_context

    paths = sorted(crawl(root))
    parts = [paths[start : start + PART] for start in range(0, len(paths), PART)]
    summaries: dict[str, Summary] = {}
    with get_context("fork").Pool(count) as pool:
        for part, found in zip(parts, pool.imap(partial(summarised, root), parts), strict=True):
            summaries.update(zip(part, found, strict=True))
    return joined(summaries)


def summarised(root: str, paths: list[str]) -> list[Summary]:
    """Some files; what a worker does."""
    return [summary(content(root, path)) for path in paths]


def joined(summaries: dict[str, Summary]) -> Index:
    """From summaries to the index."""
    return index_of(resolution(path, own, summaries.get) for path, own in summaries.items())


PEERS = (
    Script("no engine", __name__, "1"),
    Script("no engine, 2 processes", __name__, "2"),
)

if __name__ == "__main__":
    count = int(sys.argv[3])
    tell(one_process(sys.argv[1]) if count == 1 else many_processes(sys.argv[1], count))
