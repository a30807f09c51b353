"""Run the cases, print the table, keep the raw numbers in benchmarks/results/."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

if __package__ in (None, ""):  # started as `python benchmarks/run.py`
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import (
    chain,
    clean,
    crawl,
    execution,
    fan_in,
    hits,
    memory,
    opening,
    parallel,
    start,
    store_size,
    tables,
    watching,
)
from benchmarks.harness import Figure, Scale, machine

CASES: dict[str, Callable[[Scale], Iterator[Figure]]] = {
    "hit": hits.measure,
    "execute": execution.measure,
    "clean": clean.measure,
    "fan-in": fan_in.measure,
    "chain": chain.measure,
    "tables": tables.measure,
    "parallel": parallel.measure,
    "crawl": crawl.measure,
    "size": store_size.measure,
    "open": opening.measure,
    "start": start.measure,
    "memory": memory.measure,
    "watch": watching.measure,
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="NAME", action="append", choices=CASES, help=", ".join(CASES))
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes: to see that it runs")
    options = parser.parse_args()
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores, {about['python']}, SQLite {about['sqlite']}")
    figures: dict[str, list[Figure]] = {}
    for case in options.only or CASES:
        started = time.perf_counter()
        print(f"\n{case}", flush=True)
        figures[case] = []
        for figure in CASES[case](Scale(options.quick)):
            figures[case].append(figure)
            print(line(figure), flush=True)
        print(f"  ({time.perf_counter() - started:.0f} s)")
    print(f"\nraw numbers: {keep(about, options.quick, figures)}")


def line(figure: Figure) -> str:
    """One row of the printed table."""
    is_count = figure.value >= 1000 or figure.unit == "nodes"
    value = f"{figure.value:,.0f}" if is_count else f"{figure.value:.3g}"
    ratio = f"{figure.ratio:.1f} x {figure.limit}" if figure.ratio is not None else ""
    goal = ""
    if figure.goal is not None:
        goal = f"<= {figure.goal:g}{' x' if figure.goal_is_ratio else ''} {figure.verdict}"
    text = f"  {figure.name:<58} {value:>9} {figure.unit:<6} {ratio:<34} {goal}"
    return text.rstrip() + (f"  [{figure.note}]" if 0 < len(figure.note) < 80 else "")


def keep(about: dict[str, object], quick: bool, figures: dict[str, list[Figure]]) -> str:
    """Write the raw numbers; return the file's path from the project's directory."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{time.strftime('%Y-%m-%dT%H-%M-%S', time.gmtime())}{'-quick' if quick else ''}.json"
    cases = {case: [figure.record() for figure in found] for case, found in figures.items()}
    file.write_text(json.dumps({"machine": about, "quick": quick, "cases": cases}, indent=1))
    return str(file.relative_to(RESULTS.parent.parent))


if __name__ == "__main__":
    main()
