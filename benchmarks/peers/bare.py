"""Bare: what a limit runs, as a program that imports nothing that it does not need. See limits."""

import os
import sys

PART = 200  # files that go to a process at a time


def crawl(root: str) -> list[str]:
    """Look at every Python file. Nothing is kept but the names."""
    found = []
    waiting = [root]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.name.endswith(".py"):
                    entry.stat(follow_symlinks=False)
                    found.append(entry.path)
    return found


def read(paths: list[str]) -> int:
    """Read and hash files."""
    from blake3 import blake3

    from benchmarks.peers.job import content

    return sum(blake3(content("", path)).digest()[0] for path in paths)


def parse(paths: list[str]) -> int:
    """Read, hash and summarise files. Nothing is kept, so that nothing has to be sent."""
    from blake3 import blake3

    from benchmarks.peers.job import content, summary

    count = 0
    for path in paths:
        data = content("", path)
        count += blake3(data).digest()[0] + len(summary(data).symbols)
    return count


def main(what: str, root: str) -> None:
    """One limit."""
    if what == "interpreter":
        return
    paths = crawl(root)
    if what == "read":
        read(paths)
    elif what == "parse":
        from multiprocessing import get_context

        parts = [paths[start : start + PART] for start in range(0, len(paths), PART)]
        with get_context("fork").Pool() as pool:
            sum(pool.imap_unordered(parse, parts))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
