"""Mixed programs in threads and processes: answers are from scratch, and nothing runs that need not.

Steps: batches, states of all inputs that come again, files, code that is loaded anew, forget, close and open,
crash, gc, verify, workers that die, snapshots held over edits, change feeds, threads that ask together while
inputs change. Where every value is kept, an engine without threads and processes takes the same steps: it has
to run the same keys. `MIXED_PROGRAMS=300` makes more of them.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import engine.parallel.held as held
import engine.parallel.shared as shared
from engine import Durability, Engine, Event, Key, SnapshotLost, View
from engine.parallel import dispatch, exchange, stored
from engine.parallel.dispatch import Dispatch
from engine.parallel.processes import Processes
from engine.parallel.units import Setup, encode
from tests.expressions import Outcome, outcome_of
from tests.mixed_programs import ARGUMENTS, FILES, Inputs, Program, edited, random_inputs, write_files
from tests.threads import run_all
from tests.trial import RAN
from tests.workers import Rules, let_go

PROGRAMS = int(os.environ.get("MIXED_PROGRAMS", "3"))  # of each group
LOOKUPS = (".where(", ".first(", ".starting(", ".of(", ".failures(")  # nobody keeps what they answer


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of all programs."""
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def executor(root: Path) -> Iterator[Processes]:
    """Two workers for all programs: starting them takes longer than a program."""
    made = Processes(2)
    made.open(encode(Setup(str(root).encode(), 1_000, ("few",))))
    yield made
    made.close()


class Trial:
    """One program, the engine under test, and where it is exact a twin without threads and processes."""

    def __init__(self, seed: int, place: Path, root: Path, executor: Processes) -> None:
        self.chance = chance = random.Random(seed)
        self.place, self.root, self.executor = place, root, executor
        cyclic, plain, self.processes = chance.random() < 0.3, chance.random() < 0.5, chance.random() < 0.85
        self.deadly = root / "die"
        self.program = Program(chance, self.deadly, cyclic=cyclic, plain=plain)
        self.told: list[str] = [f"seed {seed}, cyclic {cyclic}, plain {plain}, processes {self.processes}"]
        self.store = place / f"store{seed}" if chance.random() < 0.7 else None
        self.options: dict[str, Any] = {
            "history": chance.choice([0, 0, 1, 64]),
            "max_memory": chance.choice([None, 1, 300]) if self.store else None,
            "strict": chance.random() < 0.7,
            "limits": {"few": chance.choice([1, 2])},
            "depth_limit": 1_000,
        }
        self.workers = chance.choice([1, 1, 2, 3])
        self.rules = Rules(place, self.program.text().replace("{", "{{").replace("}", "}}"), head="")
        self.load()
        self.inputs: Inputs = {}, {}, dict.fromkeys(range(FILES), 0)
        self.states = [random_inputs(chance) for _ in range(2)]
        write_files(root, self.inputs)
        self.views: list[tuple[View, ExitStack, Inputs]] = []
        self.mirrors: dict[str, Counter[Any]] = {}
        self.ran: list[str] = []
        self.twin_ran: list[str] = []
        self.db = self.opened()
        # A worker knows no history: it may run what an earlier memo would spare. And probes are by cost.
        spared = (self.processes and self.options["history"]) or not self.options["strict"]
        exact = plain and not cyclic and not spared
        self.twin = self.opened_twin() if exact else None

    def load(self) -> None:
        """Import what the program is now."""
        self.rules.file.write_text(self.program.text())
        self.rules.load()

    def opened(self) -> Engine:
        db = Engine(self.store, root=self.root, workers=self.workers, processes=0, **self.options)
        if self.processes:
            db._core.dispatch = Dispatch(db._core, lambda: self.executor)
            talk = db._core.dispatch.exchange
            talk.close = partial(let_go, talk)  # type: ignore[method-assign]  # they serve others too
        db.listen(partial(self.hear, self.ran))
        assert not db.notes()
        return db

    def opened_twin(self) -> Engine:
        store = None if self.store is None else self.store.with_name(f"{self.store.name}twin")
        db = Engine(store, root=self.root, processes=0, **self.options)
        db.listen(partial(self.hear, self.twin_ran))
        return db

    def hear(self, ran: list[str], event: Event) -> None:
        if event.what in RAN and event.key is not None and not any(one in str(event.key) for one in LOOKUPS):
            ran.append(str(event.key))

    def run(self) -> None:
        for _ in range(self.chance.randint(4, 12)):
            self.step()
            self.check()
            for db in self.engines():
                db.check_invariants()
        self.release()
        for at, kind in enumerate(self.program.kinds):
            if (
                kind in ("table", "fold")
                and outcome_of(partial(self.db.get, self.keys_of(at)[0]))[0] == "value"
            ):
                assert not self.db.audit(getattr(self.rules, f"d{at}")).differences
        for db in self.engines():
            if db.store is not None:
                db.store.check_invariants()
            db.close()

    def engines(self) -> list[Engine]:
        return [self.db, *([] if self.twin is None else [self.twin])]

    # -- steps ---------------------------------------------------------------------------------

    def step(self) -> None:
        steps: dict[Callable[[], None], int] = {
            self.edit: 22, self.switch: 10, self.forget: 4, self.restart: 6, self.recode: 8, self.view: 10,
            self.die: 4, self.ask_together: 8, self.follow: 6, self.gc: 3, self.verify: 3, self.release: 10,
        }  # fmt: skip
        (made,) = self.chance.choices(list(steps), list(steps.values()))
        self.told.append(made.__name__)
        made()

    def edit(self) -> None:
        self.change(edited(self.chance, self.inputs))

    def switch(self) -> None:
        self.change(self.chance.choice(self.states))

    def change(self, inputs: Inputs) -> None:
        self.told.append(f"    {inputs}")
        write_files(self.root, inputs)
        durability = self.chance.choice([None, None, None, *Durability])
        for db in self.engines():
            self.put(db, inputs, durability)
            db.sync()
        self.inputs = {**self.inputs[0], **inputs[0]}, {**self.inputs[1], **inputs[1]}, inputs[2]

    def put(self, db: Engine, inputs: Inputs, durability: Durability | None = None) -> None:
        with db.batch():
            for n, value in inputs[0].items():
                db.set(self.rules.cell.key(n), value, durability=durability)
            for n, numbers in inputs[1].items():
                db.set(self.rules.listed.key(n), numbers)

    def forget(self) -> None:
        pattern = self.chance.choice([f"*:d{self.chance.randrange(3)}(*", "*content(*", "*tripled(*", "*"])
        for db in self.engines():
            db.forget(pattern)

    def restart(self) -> None:
        self.release()
        if self.store is None:
            return
        for db in self.engines():
            if db is self.db and self.twin is None and self.chance.random() < 0.5:  # go on as after a kill
                left = self.store.with_name(f"{self.store.name}x")
                shutil.copytree(self.store, left, ignore=shutil.ignore_patterns("*-shm"))
                self.store = left
            db.close()
        self.mirrors.clear()  # what they had not acknowledged comes again
        self.db = self.opened()
        self.twin = self.twin and self.opened_twin()

    def recode(self) -> None:
        """Live, in all engines."""
        self.release()
        self.program.edit()
        self.load()
        self.mirrors.clear()

    def view(self) -> None:
        if self.chance.random() < 0.4 or not self.views:
            stack = ExitStack()
            self.views.append((stack.enter_context(self.db.snapshot()), stack, self.inputs))
            return
        view, _, inputs = self.chance.choice(self.views)
        for key in self.some_keys():
            try:
                found = outcome_of(partial(view.get, key))
            except SnapshotLost:
                continue
            assert found == self.from_scratch(key, inputs), f"{key} in R{view.revision}"

    def release(self) -> None:
        while self.views:
            self.views.pop()[1].close()

    def die(self) -> None:
        """The next worker that reads a file, or triples, dies."""
        self.deadly.touch()
        self.edit()
        self.check()
        self.deadly.unlink(missing_ok=True)

    def ask_together(self) -> None:
        self.drop_twin()
        asked, before = [self.some_keys() for _ in range(2)], self.inputs
        cells, lists, _ = edited(self.chance, self.inputs)
        after: Inputs = cells, lists, before[2]

        def ask(keys: list[Key[Any]]) -> list[tuple[Key[Any], Outcome]]:
            return [(key, outcome_of(partial(self.db.get, key))) for key in keys]

        *found, failed = run_all(*(partial(ask, keys) for keys in asked), partial(self.put, self.db, after))
        assert failed is None
        for several in found:
            assert isinstance(several, list), several
            for key, answer in several:
                assert answer in [self.from_scratch(key, inputs) for inputs in (before, after)], key
        self.inputs = after

    def follow(self) -> None:
        if self.program.cyclic:
            return
        self.drop_twin()
        at = self.chance.choice([at for at, kind in enumerate(self.program.kinds) if kind == "table"])
        table = getattr(self.rules, f"d{at}")
        wanted = self.from_scratch(table.where.key(), self.inputs)
        if wanted[0] == "error":
            return
        if f"d{at}" not in self.mirrors:
            self.db.changes(table, since=f"d{at}").close()
        mirror = self.mirrors.setdefault(f"d{at}", Counter())  # two members may give the same row
        for delta in self.db.changes(table, since=f"d{at}"):
            if delta.reset:
                mirror.clear()
            mirror.subtract([*delta.removed, *(old for old, _ in delta.changed)])
            mirror.update([*delta.added, *(new for _, new in delta.changed)])
        assert mirror == Counter(wanted[1])

    def gc(self) -> None:
        self.release()
        for db in self.engines() if self.store is not None else ():
            db.gc()

    def verify(self) -> None:
        for db in self.engines():
            assert not db.verify().differences

    def drop_twin(self) -> None:
        """What comes cannot be done to it in the same way."""
        if self.twin is not None:
            self.twin.close()
        self.twin = None

    # -- checks --------------------------------------------------------------------------------

    def keys_of(self, at: int) -> list[Key[Any]]:
        made = getattr(self.rules, f"d{at}")
        match self.program.kinds[at]:
            case "query":
                return [made.key(n) for n in range(ARGUMENTS)]
            case "table":
                found = [made.where.key(), made.where.key(a=1), made.count.key(b="1"), made.of.key(1)]
                return found if self.program.cyclic else [*found, made.failures.key()]
            case _:
                return [made.key()]

    def some_keys(self) -> list[Key[Any]]:
        keys = [key for at in range(len(self.program.kinds)) for key in self.keys_of(at)]
        keys += [self.rules.everything.key(), self.rules.collections.key()] * 2
        return self.chance.choices(keys, k=self.chance.randint(1, 4))

    def check(self) -> None:
        for key in self.some_keys():
            self.told.append(f"    get {key}")
            self.ran.clear()
            self.twin_ran.clear()
            found, wanted = outcome_of(partial(self.db.get, key)), self.from_scratch(key, self.inputs)
            assert found == wanted, key
            if self.twin is not None:
                assert outcome_of(partial(self.twin.get, key)) == wanted, key
                assert Counter(self.ran) == Counter(self.twin_ran), key
            if self.program.plain and not self.program.cyclic and found[0] == "value":
                self.ran.clear()
                assert (outcome_of(partial(self.db.get, key)), self.ran) == (found, []), key

    def from_scratch(self, key: Key[Any], inputs: Inputs) -> Outcome:
        place = self.place / "scratch"
        place.mkdir(exist_ok=True)
        write_files(place, inputs)
        with Engine(None, root=place, processes=0, **{**self.options, "max_memory": None}) as fresh:
            self.put(fresh, inputs)
            return outcome_of(partial(fresh.get, key))


@pytest.mark.parametrize("group", range(4))
def test_mixed_programs_answer_as_from_scratch_wherever_they_run(
    group: int, tmp_path: Path, root: Path, executor: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("engine.code.fingerprint.STARTED_NS", 1 << 62)  # an edit is one of what it changes
    monkeypatch.setattr(held, "ASK_US", (0, 500, 500, 10**9)[group])
    if group in (1, 2):  # workers look into tables of the store by themselves
        monkeypatch.setattr(stored, "MANY", 1)
    if group % 2:  # members are looked at one or two at a time while others are out
        monkeypatch.setattr(dispatch, "PIECE", 1)
        monkeypatch.setattr(exchange, "FEW", 1)
        monkeypatch.setattr(exchange, "COMMIT_ROWS", 2)
    if group > 1:  # whatever can be given is given
        for name, value in (("GIVE_US", 0), ("LOAD_US", 0), ("AGAIN", -1.0)):
            monkeypatch.setattr(shared, name, value)
    for seed in range(group * PROGRAMS, (group + 1) * PROGRAMS):
        trial = Trial(seed, tmp_path, root, executor)
        try:
            trial.run()
        except BaseException as failure:
            failure.add_note("\n".join([trial.program.text(), *trial.told]))
            raise
        finally:
            sys.modules.pop(trial.rules.name, None)
