"""A bug planted in histories is found out by random timelines that go to and fro between branches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest import mock

import pytest

import engine.history
import engine.keep
import engine.restore
import engine.versions
from engine.core import Core
from engine.earlier import units
from engine.earlier_rows import pack_rows
from engine.graph import GROUP
from engine.history import History
from engine.restore import Trial
from engine.store import Batch
from engine.store.codec import fingerprint
from tests import table_world
from tests.mutants import Mutant, planted, replace, steps_to_find
from tests.timelines import switch_branches
from tests.worlds import Settings

HISTORY_MUTANTS: dict[str, tuple[Mutant, Settings]] = {}


def history_mutant(stored: bool = False) -> Callable[[Mutant], Mutant]:
    """As `mutant`, for bugs that timelines between branches must find."""

    def register(function: Mutant) -> Mutant:
        settings = Settings(history=4, stored=stored)
        HISTORY_MUTANTS[function.__name__.replace("_", " ")] = function, settings
        return function

    return register


@history_mutant()
def put_a_memo_back_whatever_its_last_dependency_is(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def compare(core: Core, node: int, trial: Trial, walk: Any) -> bool | None:
            one = trial.left[-1]
            whole = one.dependencies
            one.dependencies = whole[:-1] if len(whole) == 1 or whole[-2] < GROUP else whole
            try:
                agrees: bool | None = original(core, node, trial, walk)
                return agrees
            finally:
                one.dependencies = whole

        return compare

    replace(stack, engine.restore, "_compare", make)


@history_mutant()
def take_what_a_dependency_is_now_for_what_it_was(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def seen(history: History, core: Core, node: int) -> Any:
            several = units(core.graph.below(node))
            found = [[engine.versions.seen_now(core, one) for one in unit] for unit in several]
            if not all(map(all, found)):
                return None
            return b"".join([one[0] if len(one) == 1 else fingerprint(b"".join(one)) for one in found])

        return seen

    replace(stack, History, "_seen_by", make)


@history_mutant()
def put_memos_of_other_code_back(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def remember(history: History, core: Core, node: int, info: Any, **how: bool) -> Any:
            for one in history.of(core, node):
                one.code = core.queries.codes[core.graph.query[node]]
            return original(history, core, node, info, **how)

        return remember

    replace(stack, History, "remember", make)


@history_mutant()
def not_tell_the_readers_of_a_memo_that_was_put_back(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def keep(core: Core, node: int, info: Any, reads: Any, outcome: Any) -> None:
            if outcome.restored:
                with mock.patch.object(engine.keep, "changed"):
                    original(core, node, info, reads, outcome)
            else:
                original(core, node, info, reads, outcome)

        return keep

    replace(stack, engine.keep, "keep", make)


@history_mutant(stored=True)
def store_the_value_of_now_with_an_earlier_memo(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def into(history: History, batch: Batch) -> None:
            original(history, batch)
            batch.earlier[:] = [
                row._replace(fingerprint=new.fingerprint, value=new.value)
                for row in batch.earlier
                for new in batch.nodes
                if new.id == row.node and new.value is not None
            ]

        return into

    replace(stack, History, "into", make)


def put_a_member_back_without_its_last_row(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def unpack_for_table(core: Core, node: int, packed: bytes) -> Any:
            rows = original(core, node, packed)
            return rows and type(rows)(rows[:-1])

        return unpack_for_table

    replace(stack, engine.restore, "unpack_for_table", make)


def put_a_member_back_with_its_rows_of_now(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        return lambda core, node, packed: original(core, node, pack_rows(core, node))

    replace(stack, engine.restore, "unpack_for_table", make)


@pytest.mark.parametrize(
    "bug", [put_a_member_back_without_its_last_row, put_a_member_back_with_its_rows_of_now]
)
def test_a_bug_planted_in_histories_of_tables_is_found_within_2_000_steps(bug: Mutant) -> None:
    with planted(bug):
        steps, found = steps_to_find(table_world.Settings(history=4), table_world.switch_branches)
    assert found, f"an engine that would {bug.__name__} was not found out in {steps} steps"


@pytest.mark.parametrize("name", HISTORY_MUTANTS)
def test_a_bug_planted_in_histories_is_found_within_20_000_steps(name: str) -> None:
    bug, settings = HISTORY_MUTANTS[name]
    with planted(bug):
        steps, found = steps_to_find(settings, switch_branches, 20_000)
    assert found, f"an engine that would {name} was not found out in {steps} steps"
