"""What a watch of the code graph takes in memory, after a cold start and after a warm one.

    python -m benchmarks.watch_memory 20000

The files are those of `repository`; the watch is `engine watch` in a process of its own, with the settings
that it has where nobody says anything. It is measured when nothing has happened for a minute.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from benchmarks.harness import scratch
from benchmarks.repository import files, plant
from benchmarks.watching import READY_SECONDS, Watched, watched

QUIET_SECONDS = 60.0


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.watch_memory", description=__doc__)
    parser.add_argument("files", type=int, help="how many")
    count: int = parser.parse_args().files
    with scratch() as place:
        root = place / "repository"
        root.mkdir()
        plant(root, files(count))
        for start in ("cold", "warm"):
            with watched(root) as watch:
                seconds = until_live(watch)
                time.sleep(QUIET_SECONDS)
                now, peak = resident(watch)
            print(f"{count:,} files, {start}: {now} MiB, {peak} MiB at most; live after {seconds:.1f} s")


def until_live(watch: Watched) -> float:
    """Wait until everything watched is right; the seconds that it says it took."""
    while True:
        started = watch.event("started", seconds=READY_SECONDS)
        if started["revision"] and started["watched"]:
            return float(started["seconds"])


def resident(watch: Watched) -> tuple[int, int]:
    """MiB of it in memory, now and at most."""
    status = Path(f"/proc/{watch.process.pid}/status").read_text()
    now, peak = (int(status.partition(f"{name}:")[2].split()[0]) >> 10 for name in ("VmRSS", "VmHWM"))
    return now, peak


if __name__ == "__main__":
    main()
