"""Limits: the least that each scenario needs from the machine, measured in the same run.

crawl      an interpreter that starts and looks at every file with `os.scandir` and `stat`, on one core
read       the same, and reads and hashes every file
parse      the same, and makes the summaries, on all cores
commit     one row into an SQLite file in WAL mode
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.peers.launching import LAUNCHER

CORES = os.cpu_count() or 1
PART = 200  # files that go to a process at a time
LIMITS = ("interpreter", "crawl", "read", "parse", "commit")


def measured(root: str, state: str) -> dict[str, float]:
    """Seconds of each, by the clock on the wall."""
    found = {
        name: LAUNCHER.run([sys.executable, "-m", __name__, name, root]).seconds
        for name in ("interpreter", "crawl", "read", "parse")
    }
    return {**found, "commit": committed(state)}


def committed(state: str) -> float:
    """One small commit."""
    Path(state).mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(f"{state}/limit.sqlite") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("CREATE TABLE IF NOT EXISTS kept (id INTEGER PRIMARY KEY, data BLOB)")
        connection.commit()
        began = time.perf_counter()
        connection.execute("INSERT INTO kept (data) VALUES (?)", (b"x" * 60,))
        connection.commit()
        taken = time.perf_counter() - began
    connection.close()
    return taken


def read(root: str, paths: list[str]) -> int:
    """Read and hash files."""
    from blake3 import blake3

    from benchmarks.peers.job import content

    return sum(blake3(content(root, path)).digest()[0] for path in paths)


def parsed(root: str, paths: list[str]) -> int:
    """Read, hash and summarise files. Nothing is kept, so that nothing has to be sent."""
    from blake3 import blake3

    from benchmarks.peers.job import content, summary

    count = 0
    for path in paths:
        data = content(root, path)
        count += blake3(data).digest()[0] + len(summary(data).symbols)
    return count


def main(what: str, root: str) -> None:
    """One limit, as a process."""
    if what == "interpreter":
        return
    from benchmarks.peers.job import crawl

    paths = sorted(crawl(root))
    if what == "read":
        read(root, paths)
    if what == "parse":
        from multiprocessing import get_context

        parts = [paths[start : start + PART] for start in range(0, len(paths), PART)]
        with get_context("fork").Pool(CORES) as pool:
            sum(pool.imap_unordered(partial(parsed, root), parts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
