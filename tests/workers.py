"""Rules in files of their own, which workers can import, and what is compared of two engines."""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from engine import Engine
from engine.graph import GROUP, RUNNING, TOLD, UNSTORED
from engine.parallel.exchange import Exchange
from engine.parallel.held import bytes_of
from engine.parallel.order import Order
from engine.request import load_all

numbers = itertools.count()
OTHERS: dict[int, str] = {}  # processes that were there before a test
HEAD = """\
from __future__ import annotations
import os, signal, sys, time
from pathlib import Path
from typing import NamedTuple
from engine import each, fold, input, query, table, Sum
from engine.rules.env import variable as env
from engine.rules.files import read_text

LOG = Path({log!r})

def note(what: object) -> None:
    descriptor = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{{what}} {{os.getpid()}}\\n".encode())
    os.close(descriptor)

"""

SQUARES = """
@query(workers="process")
def square(n: int) -> int:
    note(n)
    return n * n

@query
def squares() -> int:
    return sum(each(square, range(40)))
"""


class Rules:
    """A module of queries, and what they noted of their runs."""

    def __init__(self, place: Path, text: str, head: str = HEAD) -> None:
        self.log = place / "log"
        self.name = f"worker_rules_{os.getpid()}_{next(numbers)}"
        self.file = place / f"{self.name}.py"
        self.file.write_text(head.format(log=str(self.log)) + text)
        self.module = self.load()

    def load(self) -> ModuleType:
        """Import it, again if need be."""
        spec = importlib.util.spec_from_file_location(self.name, self.file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module
        spec.loader.exec_module(module)
        self.module = module
        return module

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    def noted(self) -> tuple[Counter[str], set[int]]:
        """What was noted since the last time and how often, and by which processes."""
        lines = self.log.read_text().split("\n")[:-1] if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return Counter(line.rpartition(" ")[0] for line in lines), {int(line.split()[-1]) for line in lines}


def let_go(whole: Exchange) -> None:
    """Instead of ending all workers, which serve further engines: those that still work for this one."""
    for number in [number for number, slot in whole._slots.items() if slot.units]:
        whole._drop(number)


def let_hang(monkeypatch: pytest.MonkeyPatch, rules: Rules, key: str, note: str) -> None:
    """No time passes for timeouts until a key, which noted something, is all that is under way."""
    now = [1.0]
    end_late_ones = Exchange._end_late_ones

    def late(whole: Exchange, order: Order) -> None:
        at_work = [slot for slot in whole._slots.values() if slot.units]
        alone = at_work[0].units if len(at_work) == 1 and not whole._pending else ()
        runs = rules.log.exists() and f"\n{note} " in f"\n{rules.log.read_text()}"
        if runs and any(whole._core.name_of(node).endswith(key) for node in alone):
            now[0] += 3600
        end_late_ones(whole, order)

    monkeypatch.setattr(Exchange, "_end_late_ones", late)
    monkeypatch.setattr("engine.parallel.exchange.time", SimpleNamespace(monotonic=lambda: now[0]))


def graph_of(db: Engine) -> dict[str, tuple[Any, ...]]:
    """All that is known of all keys, by name; node numbers are translated."""
    core = db._core
    with core.lock:
        load_all(core)
        graph = core.graph

        def name(entry: int) -> str:
            return f"group of {entry & ~GROUP}" if entry & GROUP else core.name_of(entry)

        return {
            core.name_of(node): (
                # Why it ran last, and when; what is not stored may have run once more for a reader.
                graph.flags[node] & ~(TOLD if graph.flags[node] & UNSTORED else 0),
                graph.status[node] & ~(3 | RUNNING),
                graph.changed_at[node],
                graph.flags[node] & UNSTORED or graph.verified_at[node],
                graph.durability[node],
                graph.fingerprint[node],
                tuple(name(entry) for entry in graph.below(node)),
                sorted(map(name, graph.above(node))),
                graph.flags[node] & UNSTORED or bytes_of(core, node),
                core.observed.get(node) is not None,
            )
            for node in range(1, len(graph))
            if graph.verified_at[node] and core.info_of(node) is not None
        }


@pytest.fixture(autouse=True)
def others() -> None:
    """The processes that other tests left behind are none of ours: `multiprocessing` keeps some for good."""
    OTHERS.clear()
    OTHERS.update(children())


def children() -> dict[int, str]:
    """The processes that this one started in this test and that still live, with their command lines."""
    found = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_bytes().rpartition(b")")[2].split()
            if int(fields[1]) == os.getpid() and fields[0] != b"Z":
                found[int(place.parent.name)] = os.fsdecode(place.with_name("cmdline").read_bytes())
        except OSError:
            continue
    return {number: line for number, line in found.items() if number not in OTHERS}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rules]]:
    """Makes rules of a text."""
    # Python takes cached bytecode for that of a source of the same size and second, as edits of tests have.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    made: list[Rules] = []

    def make(text: str) -> Rules:
        made.append(Rules(tmp_path, text))
        return made[-1]

    yield make
    for rules in made:
        sys.modules.pop(rules.name, None)
