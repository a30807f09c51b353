"""The same job by this engine and by its peers, in one run.

python -m benchmarks.peers scenarios --files 10000     every peer, every edit, in new processes
python -m benchmarks.peers scenarios --quick           tiny: to see that all answers are equal
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import machine, scratch
from benchmarks.peers import graph, growth, known, million, scenarios, tables, watching
from benchmarks.peers.peer import Peer

RESULTS = Path(__file__).parent.parent / "results"
SIZE = 10_000
SIZES = (1_000, 10_000, 100_000)
QUICK_SIZE = 120
LIBRARIES = ("joblib", "doit", "SCons", "ninja", "cocoindex", "mypy")
PROGRAMS = {"ninja": "--version", "tup": "--version", "ghc": "--numeric-version", "cc": "--version"}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    several = commands.add_parser("scenarios", help="every peer, every edit, in new processes")
    several.add_argument("--files", type=int, default=SIZE)
    several.add_argument("--turns", type=int, default=3)
    several.add_argument(
        "--only", metavar="PEER", action="append", help="these alone, however long they take"
    )
    several.add_argument("--last", metavar="EDIT", help="end each turn after this edit: comment, body, ...")
    several.add_argument("--quick", action="store_true", help=f"{QUICK_SIZE} files, one turn")
    watch = commands.add_parser("watch", help="every edit, seen by a running watch of this engine")
    watch.add_argument("--files", type=int, default=SIZE)
    watch.add_argument("--rounds", type=int, default=20)
    watch.add_argument("--quick", action="store_true", help=f"{QUICK_SIZE} files, one round")
    grown = commands.add_parser("growth", help="scenarios at several sizes, and a picture of them")
    grown.add_argument("--files", type=int, nargs="+", default=list(SIZES))
    grown.add_argument("--turns", type=int, default=3)
    grown.add_argument("--only", metavar="PEER", action="append", help="leave out the other peers")
    grown.add_argument("--draw", metavar="JSON", nargs="+", type=Path, help="raw numbers of earlier runs")
    most = commands.add_parser("million", help="a million nodes, in memory and stored")
    most.add_argument("--quick", action="store_true", help="a hundredth of that")
    real = commands.add_parser("graph", help="the code graph of real projects, beside code-review-graph")
    real.add_argument("projects", nargs="+", help="names on PyPI, or directories")
    real.add_argument("--beside", metavar="PYTHON", help="an interpreter that has code-review-graph")
    options = parser.parse_args()
    about = {**machine(), "versions": versions()}
    print(json.dumps(about))
    COMMANDS[options.command](options, about)


def run_scenarios(options: argparse.Namespace, about: dict[str, Any]) -> None:
    """`scenarios`."""
    files, turns = (QUICK_SIZE, 1) if options.quick else (options.files, options.turns)
    with scratch() as place:
        found = scenarios.measure(
            place, files, chosen(options.only), turns, last=options.last, patient=bool(options.only)
        )
    print("\n".join(["", *tables.lines(found, known.OURS)]))
    keep("peers", about, {"scenarios": [found.record()]})


def run_watch(options: argparse.Namespace, about: dict[str, Any]) -> None:
    """`watch`."""
    files, rounds = (QUICK_SIZE, 1) if options.quick else (options.files, options.rounds)
    with scratch() as place:
        found = watching.measure(place, files, rounds)
    print("\n".join(["", *watching.lines(found)]))
    keep("peers-watch", about, {"watch": [found.record()]})


def run_growth(options: argparse.Namespace, about: dict[str, Any]) -> None:
    """`growth`."""
    records = []
    for file in options.draw or ():
        records += json.loads(file.read_text())["scenarios"]
    for files in () if options.draw else options.files:
        with scratch() as place:
            found = scenarios.measure(place, files, chosen(options.only), options.turns)
        print("\n".join(["", *tables.lines(found, known.OURS)]))
        records.append(found.record())
    if not options.draw:
        keep("peers-growth", about, {"scenarios": records})
    picture = RESULTS / "growth.png"
    growth.draw(records, picture, known.OURS)
    print(f"picture: {picture.relative_to(RESULTS.parent.parent)}")


def run_million(options: argparse.Namespace, about: dict[str, Any]) -> None:
    """`million`."""
    count = million.NODES // 100 if options.quick else million.NODES
    found = million.measure(count)
    print("\n".join(["", *million.lines(found, count)]))
    keep("peers-million", about, {"nodes": count, "million": found})


def run_graph(options: argparse.Namespace, about: dict[str, Any]) -> None:
    """`graph`."""
    with scratch() as place:
        found = graph.measure(place, options.projects, options.beside)
    print("\n".join(["", *graph.lines(found)]))
    keep("peers-graph", about, {"graph": found})


def chosen(only: list[str] | None) -> list[Peer]:
    """The peers that take part; ours always does."""
    unknown = set(only or ()) - {peer.name for peer in known.PEERS}
    if unknown:
        raise SystemExit(f"no such peer: {', '.join(sorted(unknown))}")
    return [peer for peer in known.PEERS if not only or peer.name in (known.OURS, *only)]


def keep(name: str, about: dict[str, Any], what: dict[str, Any]) -> None:
    """Write the raw numbers."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}-{time.strftime('%Y-%m-%dT%H-%M-%S', time.gmtime())}.json"
    file.write_text(json.dumps({"machine": about, **what}, indent=1))
    print(f"\nraw numbers: {file.relative_to(RESULTS.parent.parent)}")


COMMANDS = {
    "scenarios": run_scenarios,
    "watch": run_watch,
    "growth": run_growth,
    "million": run_million,
    "graph": run_graph,
}


def versions() -> dict[str, str]:
    """Of the peers that are here."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name, option in PROGRAMS.items():
        if shutil.which(name):
            told = subprocess.run([name, option], capture_output=True, text=True, check=False).stdout
            found[f"{name} (program)"] = told.splitlines()[0] if told else "?"
    return found
