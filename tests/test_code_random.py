"""Random edits of code: whatever a name stands for becomes another thing, answers are those from scratch.

At once, by loading modules anew, and between starts. `CODE_PROGRAMS=300` makes more programs.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import engine.code.names
import engine.code.walk
import engine.redefined
from engine import Engine
from engine.code.walk import Walk
from tests.code_programs import CELLS, Program
from tests.expressions import outcome_of

PROGRAMS = int(os.environ.get("CODE_PROGRAMS", "4"))  # of each group
STEPS = 7


@pytest.fixture(autouse=True)
def _of_now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(
        "engine.code.fingerprint.STARTED_NS", 1 << 62
    )  # so that an edit is one of what it changes alone
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


class Trial:
    """One program, edited again and again, and the engine under test."""

    def __init__(self, seed: int, place: Path) -> None:
        self.chance = random.Random(seed)
        self.place = place
        place.mkdir(exist_ok=True)
        sys.path[0] = str(place)
        self.program = Program(self.chance, f"edited_{seed}")
        self.told: list[str] = [f"seed {seed}"]
        self.store = place / f"store{seed}" if self.chance.random() < 0.7 else None
        self.history = self.chance.choice([0, 4])
        self.cells: dict[int, int] = {}

    def run(self) -> None:
        db = self.opened()
        try:
            good = None
            for _ in range(STEPS):
                if not self.load():  # a class that cannot be derived from, say
                    if good is None:
                        return
                    self.program.go_back(good)
                    assert self.load()
                good = self.program.state()
                self.ask(db)
                self.program.edit()
                if self.store is not None and self.chance.random() < 0.5:
                    self.told.append("# opened again")
                    db.close()
                    db = self.opened()
        finally:
            db.close()
            for name in self.program.texts():
                sys.modules.pop(name, None)

    def opened(self) -> Engine:
        return Engine(self.store, root=self.place, history=self.history, processes=0)

    def load(self) -> bool:
        for name, text in self.program.texts().items():
            file = self.place / f"{name}.py"
            file.write_text(text)
            spec = importlib.util.spec_from_file_location(name, file)
            assert spec is not None
            assert spec.loader is not None
            module: Any = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            self.told.append(text)
            try:
                spec.loader.exec_module(module)
            except Exception as error:  # of the program
                self.told.append(f"# not loaded: {error!r}")
                return False
            self.rules = module
        return True

    def ask(self, db: Engine) -> None:
        if self.chance.random() < 0.3:
            cell, value = self.chance.randrange(CELLS), self.chance.randint(0, 5)
            self.told.append(f"# cell {cell} = {value}")
            self.cells[cell] = value
            db.set(self.rules.cell.key(cell), value)
        for at in range(self.chance.randint(1, CELLS)):
            key = getattr(self.rules, f"asked{at}").key(self.chance.randrange(3))
            self.told.append(f"# {key}")
            found = outcome_of(partial(db.get, key))  # first: what is imported lazily is not there yet
            with Engine(None, root=self.place, processes=0) as fresh:
                for cell, value in self.cells.items():
                    fresh.set(self.rules.cell.key(cell), value)
                wanted = outcome_of(partial(fresh.get, key))
            assert found == wanted, key
        db.check_invariants()
        if self.chance.random() < 0.15:
            assert not db.verify().differences


def run(seeds: range, place: Path) -> None:
    for seed in seeds:
        trial = Trial(seed, place)
        try:
            trial.run()
        except BaseException as failure:
            failure.add_note("\n".join(trial.told))
            raise


@pytest.mark.parametrize("group", range(3))
def test_after_any_edit_of_code_the_answers_are_those_from_scratch(group: int, tmp_path: Path) -> None:
    run(range(group * PROGRAMS, (group + 1) * PROGRAMS), tmp_path)


BUGS: dict[str, tuple[object, str, Callable[..., Any], int]] = {  # the last: of which programs one finds it
    "what parameters a query has says nothing": (Walk, "parameter", lambda *_: b"", 44),
    "what a function was made with says nothing": (Walk, "cell", lambda *_, **__: b"", 8),
    "what annotations name says nothing": (Walk, "annotated", lambda *_, **__: [], 0),
    "of which classes values are says nothing": (engine.code.walk, "classes_given", lambda *_: (), 0),
    "values in memory stay of the classes of then": (engine.redefined, "_renew_values", lambda *_: None, 8),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_planted_in_what_counts_as_code_is_found(
    bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name, planted, first = BUGS[bug]
    run(range(first, first + 3), tmp_path / "right")
    monkeypatch.setattr(module, name, planted)
    with pytest.raises(AssertionError, match="edited_"):
        run(range(first, first + 3), tmp_path / "wrong")
