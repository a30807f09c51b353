"""What `affected` says against what really runs: `python -m benchmarks.affected NAME... [--with PACKAGE]`.

Each NAME is a project of PyPI, by its sdist, or a directory with one unpacked. Its tests run once in an
environment of their own, under coverage.py. Then, for every function and class of the package that a test
entered, the tests that entered it are looked for among those that a change of it is said to affect:

    files         files of tests that `affected` names for the file of the definition: these are to be run
    likely        functions of tests that `affected` names for that file: these are to be run first
    definitions   functions of tests that `affected_by` names for the definition alone

Recall is the share of the pairs (definition, test) that really happened and were said; `complete` counts the
definitions all of whose tests were said. Selectivity is the share that is said of all pairs there are, beside
the share that ran. Misses are listed with their cause, as far as the graph itself can tell it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from attrs import define, field

from benchmarks import executed
from benchmarks.executed import Executed
from benchmarks.real import fetched
from engine import Engine
from engine.rules import python

SEED = 1  # of the sample: the same definitions in every run


@define
class Rate:
    """How often a claim held."""

    name: str
    ran: int = 0  # pairs that really happened
    said: int = 0  # pairs that are said
    both: int = 0
    pairs: int = 0  # that there are
    complete: int = 0
    asked: int = 0
    missed: dict[str, list[str]] = field(factory=lambda: defaultdict(list))  # definition: tests

    def add(self, symbol: str, ran: set[str], said: set[str], whole: int) -> None:
        self.ran += len(ran)
        self.said += len(said)
        self.both += len(ran & said)
        self.pairs += whole
        self.asked += 1
        self.complete += ran <= said
        if ran - said:
            self.missed[symbol] = sorted(ran - said)

    def line(self) -> str:
        return (
            f"  {self.name:<12} recall {self.both:,} of {self.ran:,} ({_percent(self.both, self.ran)}), "
            f"complete {self.complete} of {self.asked} ({_percent(self.complete, self.asked)}), "
            f"said {_percent(self.said, self.pairs)} of all, ran {_percent(self.ran, self.pairs)}"
        )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def compare(db: Engine, ran: Executed, sample: int) -> tuple[Rate, Rate, Rate]:
    """The three claims, over the definitions that tests entered, or so many of them."""
    files, likely, definitions = Rate("files"), Rate("likely"), Rate("definitions")
    all_files = {test.file for test in ran.tests}
    all_tests = {test.symbol for test in ran.tests if test.symbol}
    symbols = sorted(symbol for symbol in ran.by if ran.by[symbol])
    if sample and len(symbols) > sample:
        symbols = sorted(random.Random(SEED).sample(symbols, sample))
    for symbol in symbols:
        path = symbol.partition(":")[0]
        told = db.get(python.affected, (path,))
        alone = db.get(python.affected_by, (symbol,))
        tests = {test.symbol for test in ran.by[symbol] if test.symbol}
        files.add(
            symbol,
            {test.file for test in ran.by[symbol]},
            {one.symbol for one in told.tests} & all_files,
            len(all_files),
        )
        likely.add(symbol, tests, {one.symbol for one in told.likely} & all_tests, len(all_tests))
        definitions.add(symbol, tests, {one.symbol for one in alone.likely} & all_tests, len(all_tests))
    return files, likely, definitions


def cause(db: Engine, symbol: str) -> str:
    """Why a test that entered a definition may not be known to: the weakest place on the way there."""
    _, _, qualified = symbol.rpartition(":")
    name = qualified.rpartition(".")[2]
    if name.startswith("__") and name.endswith("__"):
        return "a special method: Python itself calls it"
    if db.get(python.references.exists, member=name):
        return "an attribute of that name is used on something unknown"
    if db.get(python.references.exists, target=symbol):
        return "farther up the way: what refers to it is itself reached in one of the other ways"
    return "nothing refers to it by name"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="benchmarks.affected", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="+")
    parser.add_argument("--with", dest="more", metavar="PACKAGE", action="append", default=[])
    parser.add_argument("--tests", metavar="PATH", action="append", default=[], help="what pytest is given")
    parser.add_argument("--sample", type=int, default=0, help="how many definitions; 0: all")
    parser.add_argument("--show", type=int, default=20, help="how many misses of each claim are printed")
    options = parser.parse_args()
    for name in options.names:
        with tempfile.TemporaryDirectory(prefix="engine-affected-") as place:
            (Path(place) / "sdist").mkdir()
            root = fetched(name, Path(place) / "sdist").resolve()
            program = executed.environment(Path(place) / "environment", root, options.more)
            package = measured(root)
            ran = executed.run(program, root, package, options.tests)
            with Engine(None, root=root) as db:
                started = time.process_time()
                rates = compare(db, ran, options.sample)
                took = time.process_time() - started
                print(f"\n{root.name}: {len(ran.tests)} tests of {package}, asked in {took:.1f} s")
                for rate in rates:
                    show(db, rate, options.show)
        sys.stdout.flush()


def measured(root: Path) -> str:
    """The directory of the package, by the name of the project."""
    wanted = root.name.rpartition("-")[0].replace("-", "_").lower()
    for place in (f"src/{wanted}", wanted, "src"):
        if (root / place).is_dir():
            return place
    raise SystemExit(
        f"{root} has no directory {wanted}, neither in src nor beside it: what is its package called?"
    )


def show(db: Engine, rate: Rate, count: int) -> None:
    """One claim and its misses, by cause."""
    print(rate.line())
    causes: Counter[str] = Counter()
    examples: dict[str, list[str]] = defaultdict(list)
    for symbol, tests in rate.missed.items():
        why = cause(db, symbol)
        causes[why] += len(tests)
        examples[why].append(f"{symbol}: {len(tests)}, as {tests[0]}")
    for why, number in causes.most_common():
        print(f"    {number:,} missed, {len(examples[why])} definitions: {why}")
        _list(examples[why], count)


def _list(lines: Iterable[str], count: int) -> None:
    for number, line in enumerate(lines):
        if number == count:
            print("        ...")
            return
        print("       ", line)


if __name__ == "__main__":
    main()
