"""An engine with a planted bug is found out by the random timelines; if not, they are worth nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pytest

import engine.advance
import engine.collect
import engine.collection_cycles
import engine.history
import engine.keep
import engine.kept_table
import engine.look
import engine.restore
import engine.running
import engine.versions
from engine.advance import Change
from engine.collection import Collection, force_lookups
from engine.core import Core
from engine.earlier import units
from engine.earlier_rows import pack_rows
from engine.graph import ERROR, GROUP, REACH, TRANSIENT
from engine.history import History
from engine.kept import KeptRows
from engine.kept_table import KeptTable
from engine.mark import spread
from engine.restore import Trial
from engine.store import Batch, NodeRow
from engine.store.codec import fingerprint
from engine.store.sqlite import Store
from tests import table_world
from tests.test_tables_machine import FOUND, run_again
from tests.worlds import Settings, fuzz, switch_branches

STEPS = 2_000  # within which each mutant must be found
MEMORY = Settings()
STORED = Settings(stored=True)

Mutant = Callable[[ExitStack], None]
MUTANTS: dict[str, tuple[Mutant, Settings]] = {}


def mutant(settings: Settings = MEMORY) -> Callable[[Mutant], Mutant]:
    """Register a planted bug under its name, with the settings in which it must be found."""

    def register(function: Mutant) -> Mutant:
        MUTANTS[function.__name__.replace("_", " ")] = function, settings
        return function

    return register


def replace(stack: ExitStack, module: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(original)` in the place of a function of the engine."""
    stack.enter_context(mock.patch.object(module, name, make(getattr(module, name))))


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


# -- bugs that engines of this kind had -----------------------------------------------------------


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


# -- further ones --------------------------------------------------------------------------------


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


# -- histories -----------------------------------------------------------------------------------

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
                one.code = core.codes[core.graph.query[node]]
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


# -- tables --------------------------------------------------------------------------------------

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
    replace(stack, KeptTable, "_remember", lambda _: nothing)


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
            force_lookups(table.core, engine.collection_cycles.lookups_of(table.core, table))

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
    replace(stack, engine.collect, "closure", lambda _: lambda core, flags: flags & REACH)


@table_mutant()
def read_what_rests_on_a_doubtful_table(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def below(core: Core, nodes: Any, asker: Any) -> None:
            if not asker.node:
                original(core, nodes, asker)

        return below

    replace(stack, engine.collect, "below", make)


@table_mutant()
def read_directly_what_rests_on_a_doubtful_table(stack: ExitStack) -> None:
    replace(stack, engine.running, "readable", lambda _: lambda core: core.graph.tables)


@table_mutant()
def overlook_the_marked_members(stack: ExitStack) -> None:
    replace(stack, engine.collect, "gather", lambda _: spread)


@table_mutant()
def forget_the_keys_that_came_and_went_in_a_column(stack: ExitStack) -> None:
    replace(stack, engine.kept_table, "key_changed", lambda _: nothing)


@table_mutant()
def not_tell_who_asked_for_the_rows_of_a_key(stack: ExitStack) -> None:
    replace(stack, KeptTable, "came_or_went", lambda _: nothing)


@table_mutant()
def tell_no_lookup_that_the_source_keys_fail(stack: ExitStack) -> None:
    replace(stack, engine.collect, "_set_failing", lambda _: nothing)


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
            core.transients[node] = -1

        return keep

    replace(stack, engine.keep, "_keep_without_memo", make)


@table_mutant(flaky=True)
def not_take_over_what_a_member_gives_after_a_transient_failure(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def absorb(core: Core, node: int, value: Any, failure: Any, was: int, same: bool | None) -> None:
            if not was & TRANSIENT:
                original(core, node, value, failure, was, same)

        return absorb

    replace(stack, engine.collect, "absorb", make)


@table_mutant()
def take_nothing_over_from_a_member_that_had_a_memo(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def absorb(core: Core, node: int, value: Any, failure: Any, was: int, same: bool | None) -> None:
            original(core, node, value, failure, was, None if same is None else True)

        return absorb

    replace(stack, engine.collect, "absorb", make)


@contextmanager
def planted(bug: Mutant) -> Iterator[None]:
    with ExitStack() as stack:
        bug(stack)
        yield


def steps_to_find(
    settings: Any, fuzz: Callable[[int, Any], object] = fuzz, most: int = STEPS
) -> tuple[int, str]:
    """Steps until a random timeline fails, and how; raises AssertionError never."""
    for number in itertools.count():
        if number * 40 >= most:
            return most, ""
        try:
            fuzz(number, settings)
        except Exception as found:  # a bug may show by anything
            return number * 40, f"{type(found).__name__}: {found}"
    raise AssertionError


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found_within_2_000_steps(name: str) -> None:
    bug, settings = MUTANTS[name]
    with planted(bug):
        steps, found = steps_to_find(settings)
    assert found, f"an engine that would {name} was not found out in {steps} steps"


def put_a_member_back_without_its_last_row(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        def unpack_rows(core: Core, node: int, packed: bytes) -> Any:
            rows = original(core, node, packed)
            return rows and rows[:-1]

        return unpack_rows

    replace(stack, engine.restore, "unpack_rows", make)


def put_a_member_back_with_its_rows_of_now(stack: ExitStack) -> None:
    def make(original: Any) -> Any:
        return lambda core, node, packed: original(core, node, pack_rows(core, node))

    replace(stack, engine.restore, "unpack_rows", make)


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


@pytest.mark.parametrize("settings", [MEMORY, STORED], ids=["memory", "stored"])
def test_the_engine_without_planted_bugs_passes_the_same_timelines(settings: Settings) -> None:
    assert steps_to_find(settings) == (STEPS, "")
