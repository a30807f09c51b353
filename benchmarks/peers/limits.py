"""Limits: the least that each scenario needs from the machine, measured in the same run.

interpreter  one that starts and ends
crawl        the same, and looks at every file with `os.scandir` and `stat`, on one core
read         the same, and reads and hashes every file
parse        the same, and makes the summaries, on all cores
commit       one row into an SQLite file in WAL mode
"""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from benchmarks.peers.launching import LAUNCHER

PROGRAM = str(Path(__file__).parent / "bare.py")
PROCESSES = ("interpreter", "crawl", "read", "parse")


def measured(root: str, state: str) -> dict[str, float]:
    """Seconds of each, by the clock on the wall."""
    found = {}
    for name in PROCESSES:
        done = LAUNCHER.run([sys.executable, PROGRAM, name, root])
        if done.status:
            raise RuntimeError(f"{name}: {done.output}")
        found[name] = done.seconds
    return {**found, "commit": committed(state)}


def committed(state: str) -> float:
    """One small commit."""
    Path(state).mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(f"{state}/limit.sqlite")) as connection:
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
