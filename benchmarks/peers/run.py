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
from benchmarks.peers import known, scenarios, tables

RESULTS = Path(__file__).parent.parent / "results"
SIZE = 10_000
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
    several.add_argument("--only", metavar="PEER", action="append", help="leave out the other peers")
    several.add_argument("--quick", action="store_true", help=f"{QUICK_SIZE} files, one turn")
    options = parser.parse_args()
    about = {**machine(), "versions": versions()}
    print(json.dumps(about))
    if options.command == "scenarios":
        run_scenarios(options, about)


def run_scenarios(options: argparse.Namespace, about: dict[str, Any]) -> None:
    """`scenarios`."""
    files, turns = (QUICK_SIZE, 1) if options.quick else (options.files, options.turns)
    chosen = [peer for peer in known.PEERS if not options.only or peer.name in (known.OURS, *options.only)]
    with scratch() as place:
        found = scenarios.measure(place, files, chosen, turns)
    print("\n".join(["", *tables.lines(found, known.OURS)]))
    keep("peers", about, {"scenarios": [found.record()]})


def keep(name: str, about: dict[str, Any], what: dict[str, Any]) -> None:
    """Write the raw numbers."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}-{time.strftime('%Y-%m-%dT%H-%M-%S', time.gmtime())}.json"
    file.write_text(json.dumps({"machine": about, **what}, indent=1))
    print(f"\nraw numbers: {file.relative_to(RESULTS.parent.parent)}")


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
