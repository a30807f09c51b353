"""A bug planted in tables is found out by random timelines with tables."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

import engine.keep
import engine.running
import engine.tables.collect
import engine.tables.cycles
import engine.tables.kept_table
from engine.core import Core
from engine.graph import REACH, TRANSIENT
from engine.mark import spread
from engine.store import Batch
from engine.store.sqlite import Store
from engine.tables.collection import Collection, force_lookups
from engine.tables.kept import KeptRows
from engine.tables.kept_table import KeptTable
from tests import table_world
from tests.mutants import Mutant, planted, replace, steps_to_find
from tests.table_timelines import FOUND, run_again

TABLE_MUTANTS: dict[str, tuple[Mutant, table_world.Settings]] = {}


def table_mutant(**settings: bool) -> Callable[[Mutant], Mutant]:
    """As `mutant`, for bugs that random timelines with tables must find."""

    def register(function: Mutant) -> Mutant:
        name = function.__name__.replace("_", " ")
        TABLE_MUTANTS[name] = function, table_world.Settings(**settings)
        return function

    return register


def nothing(*_: Any) -> None:
    """In the place of a function that something needs."""


@table_mutant()
def keep_the_rows_of_a_member_that_left(stack: ExitStack) -> None:
    replace(stack, KeptTable, "drop", lambda _: nothing)


@table_mutant()
def forget_what_was_looked_up(stack: ExitStack) -> None:
    replace(stack, KeptTable, "looked_up", lambda _: nothing)


@table_mutant(stored=True)
def forget_what_was_looked_up_in_an_earlier_process(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def restored(core: Core, row: Any) -> Collection:
            found: Collection = original(core, row)
            found.patterns = {}
            return found

        return restored

    replace(stack, KeptTable, "restored", make)


@table_mutant()
def force_every_lookup_whatever_the_row(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def concerned(table: Any, changed: Any) -> None:
            original(table, changed)
            force_lookups(table.core, engine.tables.cycles.lookups_of(table.core, table))

        return concerned

    replace(stack, KeptTable, "_concerned", make)


@table_mutant()
def not_note_the_tables_that_a_query_rests_on(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        return lambda core, node, *rest: (original(core, node, *rest)[0], core.graph.flags[node] & REACH)

    replace(stack, engine.keep, "_rests_on", make)


@table_mutant()
def not_tell_readers_of_a_further_table(stack: ExitStack) -> None:
    replace(stack, engine.keep, "raise_reach", lambda _: nothing)


@table_mutant()
def settle_the_tables_below_but_not_those_below_them(stack: ExitStack) -> None:
    replace(stack, engine.tables.collect, "closure", lambda _: lambda core, flags: flags & REACH)


@table_mutant()
def read_what_rests_on_a_doubtful_table(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def below(core: Core, nodes: Any, asker: Any) -> None:
            if not asker.node:
                original(core, nodes, asker)

        return below

    replace(stack, engine.tables.collect, "below", make)


@table_mutant()
def read_directly_what_rests_on_a_doubtful_table(stack: ExitStack) -> None:
    replace(stack, engine.running, "readable", lambda _: lambda core: core.graph.tables)


@table_mutant()
def overlook_the_marked_members(stack: ExitStack) -> None:
    replace(stack, engine.tables.collect, "gather", lambda _: spread)


@table_mutant()
def forget_the_keys_that_came_and_went_in_a_column(stack: ExitStack) -> None:
    replace(stack, engine.tables.kept_table, "key_changed", lambda _: nothing)


@table_mutant()
def not_tell_who_asked_for_the_rows_of_a_key(stack: ExitStack) -> None:
    replace(stack, KeptTable, "came_or_went", lambda _: nothing)


@table_mutant()
def tell_no_lookup_that_the_source_keys_fail(stack: ExitStack) -> None:
    replace(stack, engine.tables.collect, "_set_failing", lambda _: nothing)


@table_mutant(stored=True)
def not_store_the_members(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def write(store: Store, batch: Batch) -> None:
            batch.members.clear()
            original(store, batch)

        return write

    replace(stack, Store, "write", make)


@table_mutant(stored=True)
def not_store_the_rows_that_changed(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def into(kept: Any, batch: Batch) -> None:
            original(kept, batch)
            batch.rows[:] = [row for row in batch.rows if row.fresh]

        return into

    replace(stack, KeptRows, "into", make)


@table_mutant(flaky=True)
def let_a_member_heal_without_a_revision(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def keep(core: Core, node: int, *rest: Any) -> None:
            original(core, node, *rest)
            core.care.transients[node] = -1

        return keep

    replace(stack, engine.keep, "_keep_without_memo", make)


@table_mutant(flaky=True)
def not_take_over_what_a_member_gives_after_a_transient_failure(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def absorb(core: Core, node: int, value: Any, failure: Any, was: int, same: bool | None) -> None:
            if not was & TRANSIENT:
                original(core, node, value, failure, was, same)

        return absorb

    replace(stack, engine.tables.collect, "absorb", make)


@table_mutant()
def take_nothing_over_from_a_member_that_had_a_memo(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def absorb(core: Core, node: int, value: Any, failure: Any, was: int, same: bool | None) -> None:
            original(core, node, value, failure, was, None if same is None else True)

        return absorb

    replace(stack, engine.tables.collect, "absorb", make)


def table_timelines(number: int, settings: table_world.Settings) -> None:
    """Those that are written down, then random ones."""
    written = list(FOUND)
    if number < len(written):
        run_again(written[number], settings)
    else:
        table_world.fuzz(number - len(written), settings)


@pytest.mark.parametrize("name", TABLE_MUTANTS)
def test_a_bug_planted_in_tables_is_found_within_10_000_steps(name: str) -> None:
    bug, settings = TABLE_MUTANTS[name]
    with planted(bug):
        steps, found = steps_to_find(settings, table_timelines, 10_000)
    assert found, f"an engine that would {name} was not found out in {steps} steps"
