"""The demo: the code graph of Python's own standard library, kept current while files change.

    python3 make.py demo            (or: python examples/demo.py)

Works on a copy in `demo-work/`. Every sentence that it prints about what ran is measured and checked: the
exit code is 1 if one of them does not hold.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine import Engine, Event, What
from engine.rules.python import Summary, code_graph, facts, import_cycles, import_graph, importers
from engine.watch import Revised

WORK = Path(__file__).resolve().parent.parent / "demo-work"
TREE = WORK / "lib"
STORE = WORK / ".engine"
AGAIN = "--again"  # how the demo calls itself
# Half of the standard library is its own tests; without these the demo takes half a minute.
LEFT_OUT = {
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "idle_test",
    "lib2to3",
    "__pycache__",
}
SHOWN = 8  # keys named per line

RAN = (What.EXECUTED, What.CUT_OFF, What.FAILED)


def main() -> int:
    files = copy_the_standard_library()
    print(f"{files} files of the standard library of Python {platform.python_version()}, copied to {TREE}")
    claims = Claims()

    with Engine(STORE, root=TREE) as db:
        first = build(db, files, claims)
    restart(first, claims)
    with Engine(STORE, root=TREE) as db:
        watch = Watch(db)
        hub = most_imported(db)
        comment(watch, hub, first, claims)
        function(watch, hub, claims)
        missing_module(watch, hub, claims)
        broken_syntax(watch, hub, claims)
        live(db, hub, claims)
        from_scratch(db, claims)
    return claims.verdict()


# -- the steps -----------------------------------------------------------------------------------


def build(db: Engine, files: int, claims: Claims) -> Summary:
    headline("From nothing: every file is read, parsed, and its imports are resolved")
    started = time.perf_counter()
    with progress(db, files):
        summary = db.get(code_graph)
    seconds = time.perf_counter() - started
    print(
        f"  {summary.definitions:,} definitions, {summary.references:,} references, "
        f"{summary.cycles} import cycles; imports: {summary.internal:,} of project files, "
        f"{summary.external:,} external, {summary.unresolved} unresolved"
    )
    print(f"  {seconds:.1f} s, {db.counts().executed:,} queries ran")
    claims.check("every file is in the graph", summary.files == files)
    return summary


def restart(before: Summary, claims: Claims) -> None:
    headline("A restart: another process opens the store")
    started = time.perf_counter()
    command = [sys.executable, __file__, AGAIN]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    print(f"  {time.perf_counter() - started:.2f} s with the start of Python, {answer[0]} queries ran")
    claims.check("the answer is the same, and nothing ran", answer == ["0", before.digest])


def again() -> int:
    """What the other process does."""
    with Engine(STORE, root=TREE) as db:
        digest = db.get(code_graph).digest
        print(db.counts().executed, digest)
    return 0


def comment(watch: Watch, hub: str, before: Summary, claims: Claims) -> None:
    readers = len(watch.db.get(importers, hub))
    headline(f"A comment in the most imported file: {hub}, imported by {readers} files")
    append(hub, "# nothing but a comment\n")
    summary = watch.update()
    claims.check("its facts are equal, so no query above them ran", watch.cut == [str(facts.key(hub))])
    claims.check("no other file was concerned", watch.others(hub) == [])
    claims.check("the answer is the same", summary == before)


def function(watch: Watch, hub: str, claims: Claims) -> None:
    headline(f"A new function in {hub}: its facts change, and what is made of them")
    before = watch.db.get(code_graph)
    append(hub, "def added_by_the_demo(first, second):\n    return first + second\n")
    summary = watch.update()
    claims.check("one definition more", summary.definitions == before.definitions + 1)
    claims.check("no other file was parsed", watch.of("parse") == [hub])
    claims.check("the imports of no importer changed", watch.changed("import_targets") == [])


def missing_module(watch: Watch, hub: str, claims: Claims) -> None:
    headline("An import of a module that does not exist, and then the module")
    before = watch.db.get(code_graph)
    append(hub, "def later():\n    import json.made_by_the_demo\n")
    summary = watch.update()
    claims.check("one unresolved import more", summary.unresolved == before.unresolved + 1)
    print("  the module appears:")
    module = "json/made_by_the_demo.py"
    (TREE / module).write_text("ANSWER = 42\n", encoding="utf-8")
    summary = watch.update()
    claims.check("it is resolved", summary.unresolved == before.unresolved)
    claims.check("no other importer is concerned", set(watch.of("import_targets")) == {hub, module})


def broken_syntax(watch: Watch, hub: str, claims: Claims) -> None:
    headline(f"A syntax error in {hub}, and its repair")
    whole = watch.db.get(code_graph)
    text = (TREE / hub).read_text(encoding="utf-8")
    append(hub, "def broken(:\n")
    claims.check("one file is broken, the graph goes on", watch.update().broken == whole.broken + 1)
    print("  repaired:")
    (TREE / hub).write_text(text, encoding="utf-8")
    claims.check("the graph is what it was before", watch.update() == whole)


def live(db: Engine, hub: str, claims: Claims) -> None:
    headline(f"A live watch: {hub} is saved ten times, and nobody asks for anything")
    times, executed = [], []
    with db.watch(code_graph) as watching:
        ready = watching.wait_until_ready(60)
        events = watching.events()
        for number in range(10):
            time.sleep(0.1)  # a person would take longer
            append(hub, f"# saved {number}\n")
            event = next(event for event in events if isinstance(event, Revised))
            times.append(event.figures.latency)
            executed.append(event.figures.executed)
        append(hub, "LAST_WORDS = 1\n")
        db.sync()
        seen = "LAST_WORDS" in {found.name for found in db.get(facts, hub).definitions}
    print(f"  from the save to the committed graph: {sorted(times)[5]:.0f} ms, at most {max(times):.0f} ms")
    claims.check("the watch began with nothing to compute", ready)
    claims.check("each save ran two queries: parse and facts", executed == [2] * 10)
    claims.check("what was saved before sync() is seen after it", seen)


def from_scratch(db: Engine, claims: Claims) -> None:
    headline("The same from scratch, by an engine that knows nothing")
    started = time.perf_counter()
    with Engine(None, root=TREE) as fresh:
        equal = all(fresh.get(query) == db.get(query) for query in (import_graph, import_cycles))
        equal = equal and fresh.get(code_graph) == db.get(code_graph)
        ran = fresh.counts().executed
    print(f"  {time.perf_counter() - started:.1f} s, {ran:,} queries ran")
    print(f"  incremental equals from-scratch: {'yes' if equal else 'NO'}")
    claims.check("all facts, imports, edges and cycles are equal", equal)


# -- what they use -------------------------------------------------------------------------------


class Claims:
    """What the demo says, and whether it holds."""

    def __init__(self) -> None:
        self.held = 0
        self.failed: list[str] = []

    def check(self, claim: str, holds: bool) -> None:
        print(f"  [{'ok' if holds else 'DOES NOT HOLD'}] {claim}")
        if holds:
            self.held += 1
        else:
            self.failed.append(claim)

    def verdict(self) -> int:
        print(f"\n{self.held} claims hold, {len(self.failed)} do not.")
        return 1 if self.failed else 0


class Watch:
    """What the last `update` ran and cut off."""

    def __init__(self, db: Engine) -> None:
        self.db = db
        self.events: list[Event] = []
        db.listen(self.events.append)

    def update(self) -> Summary:
        """See what was saved, bring the code graph up to date, and print what that took."""
        self.events.clear()
        started = time.perf_counter()
        self.db.sync()
        summary = self.db.get(code_graph)
        milliseconds = (time.perf_counter() - started) * 1000
        print(f"  ran     {listed([named(event) for event in self._events(*RAN)])}")
        print(f"  cut off {listed([named(event) for event in self._events(What.CUT_OFF)])}")
        print(f"  {milliseconds:.0f} ms, of which a look at all {len(list(TREE.rglob('*.py')))} files")
        return summary

    @property
    def cut(self) -> list[str]:
        return [str(event.key) for event in self._events(What.CUT_OFF)]

    def of(self, query: str) -> list[str]:
        """The first arguments with which a query ran."""
        return [path for name, path in map(split, self._events(*RAN)) if name == query]

    def changed(self, query: str) -> list[str]:
        """Those of them that came to another value."""
        return [path for name, path in map(split, self._events(What.EXECUTED)) if name == query]

    def others(self, hub: str) -> list[str]:
        """What ran for something else than one file."""
        return [named(event) for event in self._events(*RAN) if split(event)[1] != hub]

    def _events(self, *kinds: What) -> list[Event]:
        return [event for event in self.events if event.what in kinds]


def split(event: Event) -> tuple[str, str]:
    """The plain name of the query that ran, and its first argument."""
    assert event.key is not None
    return event.key.query.name.rpartition(":")[2], str(event.key.args[0]) if event.key.args else ""


def named(event: Event) -> str:
    name, argument = split(event)
    if event.key is not None and event.key.args and not argument:
        argument = "''"  # the root directory
    return f"{name}({argument})"


def listed(names: list[str]) -> str:
    """Some names in full, the rest by query and number."""
    if len(names) <= SHOWN:
        return f"{len(names)}: {', '.join(names)}" if names else "0"
    by_query = Counter(name.partition("(")[0] for name in names)
    return f"{len(names)}: " + ", ".join(f"{number} {name}" for name, number in by_query.most_common())


def most_imported(db: Engine) -> str:
    edges = db.get(import_graph)
    return Counter(edge.target for edge in edges).most_common(1)[0][0]


def append(path: str, text: str) -> None:
    with (TREE / path).open("a", encoding="utf-8") as file:
        file.write(text)


def headline(text: str) -> None:
    print(f"\n{text}")


def copy_the_standard_library() -> int:
    """Copy the `.py` files to `TREE`; returns how many."""
    source = Path(sysconfig.get_path("stdlib"))
    shutil.rmtree(WORK, ignore_errors=True)
    copied = 0
    for file in source.rglob("*.py"):
        inside = file.relative_to(source)
        if LEFT_OUT.isdisjoint(inside.parts):
            target = TREE / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            copied += 1
    return copied


@contextmanager
def progress(db: Engine, files: int) -> Iterator[None]:
    """Show how many files have their facts: a bar on a terminal, else a line now and then."""
    with shown(files) as advance:

        def listener(event: Event) -> None:
            if event.what in RAN and event.key is not None and event.key.query is facts.__query__:
                advance()

        stop = db.listen(listener)
        try:
            yield
        finally:
            stop()


@contextmanager
def shown(files: int) -> Iterator[Callable[[], None]]:
    if not sys.stdout.isatty():
        done = 0

        def line() -> None:
            nonlocal done
            done += 1
            if done % 200 == 0 or done == files:
                print(f"  {done} of {files} files", flush=True)

        yield line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("  files"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, transient=True) as bars:
        bar = bars.add_task("files", total=files)
        yield lambda: bars.advance(bar)


if __name__ == "__main__":
    sys.exit(again() if AGAIN in sys.argv else main())
