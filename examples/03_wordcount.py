"""Words of a folder: the program to keep. Run it, edit a file, run it again.

    python examples/03_wordcount.py docs

The store is `.engine` in that folder, so the second run knows what the first one did.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from engine import Engine, each, query
from engine.rules.directories import glob
from engine.rules.files import read_text

PATTERN = "**/*.md"
WORD = re.compile(r"[a-z]+")


@query
def words(path: str) -> Mapping[str, int]:
    """How often each word occurs in one file."""
    return Counter(WORD.findall(read_text(path).lower()))


@query
def frequent(path: str) -> tuple[str, ...]:
    """The five longest of the words that occur at least three times. Rarely another after an edit."""
    often = [word for word, number in words(path).items() if number >= 3]
    return tuple(sorted(sorted(often), key=len, reverse=True)[:5])


@query
def report() -> str:
    paths = glob(PATTERN)
    lines = zip(paths, each(frequent, paths), strict=True)
    return "\n".join(f"{path}: {', '.join(several)}" for path, several in lines)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    with Engine(folder / ".engine", root=folder) as db:
        print(db.get(report))
        counts = db.counts()
        print(f"({counts.executed} queries ran, {counts.cut_off} of them were cut off)")


if __name__ == "__main__":
    main()
