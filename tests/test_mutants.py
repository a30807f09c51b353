"""An engine with a planted bug is found out by the random timelines; if not, they are worth nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

import engine.advance
import engine.keep
import engine.look
from engine.advance import Change
from engine.core import Core
from engine.graph import ERROR
from engine.store import Batch, NodeRow
from engine.store.sqlite import Store
from tests.mutants import STEPS, Mutant, planted, replace, steps_to_find
from tests.worlds import Settings

MEMORY = Settings()
STORED = Settings(stored=True)
MUTANTS: dict[str, tuple[Mutant, Settings]] = {}


def mutant(settings: Settings = MEMORY) -> Callable[[Mutant], Mutant]:
    """Register a planted bug under its name, with the settings in which it must be found."""

    def register(function: Mutant) -> Mutant:
        MUTANTS[function.__name__.replace("_", " ")] = function, settings
        return function

    return register


def remember_equal(stack: ExitStack) -> dict[int, bool]:
    """Node -> whether its newest value was equal to the one before."""
    equal: dict[int, bool] = {}

    def make(original: Any) -> Any:
        def compare(core: Core, node: int, *rest: Any) -> bool:
            equal[node] = original(core, node, *rest)
            return equal[node]

        return compare

    replace(stack, engine.keep, "_equal", make)
    return equal


# -- bugs that engines of this kind had ------------------------------------------------------------


@mutant()
def keep_the_old_edges_when_the_value_is_equal(stack: ExitStack) -> None:
    equal = remember_equal(stack)

    def make(original: Any) -> Any:
        return lambda core, node, reads: None if equal.pop(node, False) else original(core, node, reads)

    replace(stack, engine.keep, "replace_dependencies", make)


@mutant()
def keep_the_durability_when_the_value_is_equal(stack: ExitStack) -> None:
    equal = remember_equal(stack)

    def make(original: Any) -> Any:
        def rests_on(core: Core, node: int, *rest: Any) -> tuple[int, int]:
            durability, reach = original(core, node, *rest)
            return core.graph.durability[node] if equal.pop(node, False) else durability, reach

        return rests_on

    replace(stack, engine.keep, "_rests_on", make)


@mutant()
def ignore_the_last_edge(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        return lambda core, node, reads: original(core, node, dict(list(reads.items())[:-1]))

    replace(stack, engine.keep, "replace_dependencies", make)


@mutant()
def check_edges_out_of_order(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        return lambda core, node, reads: original(core, node, dict(reversed(reads.items())))

    replace(stack, engine.keep, "replace_dependencies", make)


@mutant(STORED)
def commit_verified_at_before_the_value(stack: ExitStack) -> None:
    """A commit writes the new stamp with the value before; the value follows with the next commit."""
    written: dict[tuple[Store, int], NodeRow] = {}
    late: dict[tuple[Store, int], NodeRow] = {}

    def make(original: Any) -> Any:
        def write(store: Store, batch: Batch) -> None:
            rows = list(batch.nodes)
            early = {row.id for row in rows}
            follow = [late.pop(key) for key in list(late) if key[0] is store and key[1] not in early]
            for at, new in enumerate(rows):
                old, written[store, new.id] = written.get((store, new.id)), new
                if (store, new.id) in late:
                    held = late.pop((store, new.id))
                    rows[at] = new._replace(value=held.value if new.value is None else new.value)
                elif old is not None and new.value is not None and old.fingerprint != new.fingerprint:
                    late[store, new.id] = new
                    rows[at] = new._replace(
                        changed_at=old.changed_at, fingerprint=old.fingerprint, flags=old.flags, value=None
                    )
            batch.nodes = rows + follow
            original(store, batch)

        return write

    replace(stack, Store, "write", make)


@mutant()
def ignore_that_an_input_is_gone(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def apply(core: Core, changes: Sequence[Change], note: str) -> int:
            kept = [change for change in changes if change.failure is None]
            return int(original(core, kept, note))

        return apply

    replace(stack, engine.look, "apply", make)


# -- further ones ----------------------------------------------------------------------------------


@mutant()
def never_backdate(stack: ExitStack) -> None:
    replace(stack, engine.keep, "_equal", lambda _: lambda *_: False)


@mutant()
def cut_off_whatever_the_fingerprints_say(stack: ExitStack) -> None:
    replace(stack, engine.keep, "_equal", lambda _: lambda *_: True)


@mutant()
def skip_the_readers_of_errors(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def changed(core: Core, node: int, *rest: Any) -> None:
            if not core.graph.flags[node] & ERROR:
                original(core, node, *rest)

        return changed

    replace(stack, engine.keep, "changed", make)


@mutant(STORED)
def forget_to_store_the_suspects(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def write(store: Store, batch: Batch) -> None:
            if batch.state is not None:
                batch.state = batch.state._replace(suspects=b"")
            original(store, batch)

        return write

    replace(stack, Store, "write", make)


@mutant()
def believe_that_nothing_durable_changed(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def start(core: Core, note: str, **options: Any) -> None:
            before = core.last_changed[1:]
            original(core, note, **options)
            core.last_changed[1:] = before

        return start

    replace(stack, engine.advance, "start_revision", make)
    replace(
        stack, engine.advance, "_put", lambda original: lambda core, change: _put_low(original, core, change)
    )


def _put_low(original: Any, core: Core, change: Change) -> None:
    before = core.last_changed[1:]
    original(core, change)
    core.last_changed[1:] = before


# -- whether they are found ------------------------------------------------------------------------


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found_within_2_000_steps(name: str) -> None:
    bug, settings = MUTANTS[name]
    with planted(bug):
        steps, found = steps_to_find(settings)
    assert found, f"an engine that would {name} was not found out in {steps} steps"


@pytest.mark.parametrize("settings", [MEMORY, STORED], ids=["memory", "stored"])
def test_the_engine_without_planted_bugs_passes_the_same_timelines(settings: Settings) -> None:
    assert steps_to_find(settings) == (STEPS, "")
