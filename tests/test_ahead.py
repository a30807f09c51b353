"""What many members are about to need is read from the store at once: few statements, the same answers."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine import Engine, Query, ahead, each, fold, input, persist, query, table
from engine.parallel.costs import SAMPLE
from engine.running import Running
from engine.store.codec import DamagedValue, ValueCodec
from engine.tables.accumulate import Merge, Sum

MEMBERS = 300


@input
def hub() -> int:
    return 1


@input
def own(number: int) -> int:
    return number


@query
def doubled(number: int) -> int:
    return 2 * own(number)


@query
def numbers() -> tuple[int, ...]:
    return tuple(range(MEMBERS))


@query
def member(number: int) -> int:
    return hub() * doubled(number)


@query
def fails_or_not(number: int) -> int:
    if hub() == 13 and number % 3:
        raise ValueError(number)
    return hub() + doubled(number)


total = fold(each=numbers, of=member, into=Sum())


@query
def tupled(number: int) -> tuple[int, ...]:
    return (member(number),)


in_order = fold(each=numbers, of=tupled, into=Merge[tuple[int, ...]](operator.add, ()))
failing = fold(each=numbers, of=fails_or_not, into=Sum())


def expected(hub_is: int, **others: int) -> int:
    return sum(hub_is * 2 * others.get(f"n{number}", number) for number in range(MEMBERS))


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    with Engine(tmp_path / "store") as db:
        assert db.get(total) == expected(1)
    return tmp_path / "store"


READ = "packed FROM earlier"


def reads(db: Engine) -> list[str]:
    assert db.store is not None
    found: list[str] = []
    db.store.connection.set_trace_callback(found.append)
    return found


@pytest.mark.parametrize("processes", [0, 2])
def test_who_reads_a_changed_hub_is_brought_up_to_date_with_few_statements(
    stored: Path, processes: int
) -> None:
    with Engine(stored, processes=processes) as db:  # none is started: no member is worth it
        db.set(hub.key(), 3)
        before = db.counts()
        found = reads(db)
        assert db.get(total) == expected(3)
        counts = db.counts() - before
        assert counts.executed >= MEMBERS
        assert counts.loaded >= MEMBERS  # what the members read beside the hub
    pieces = (MEMBERS // ahead.AT_MOST) + ahead.AT_MOST.bit_length()
    selects = [text for text in found if text.startswith("SELECT")]
    assert len(selects) <= 6 * pieces + 20  # rows, dependencies, readers, values; what members gave before
    tried = SAMPLE if processes else 0  # run one by one, to learn what a member costs
    assert len([text for text in selects if text.startswith("SELECT value")]) <= 5 + tried


def test_many_changed_inputs_are_followed_with_few_statements(stored: Path) -> None:
    for turn in (1_000, 2_000):
        with Engine(stored) as db:
            changed = {f"n{number}": turn + number for number in range(100)}
            with db.batch():
                for number in range(100):
                    db.set(own.key(number), turn + number)
                found = reads(db)
            assert db.get(total) == expected(1, **changed)
        several = [text for text in found if "length(packed), sum FROM version WHERE part IN" in text]
        assert len(several) == (turn > 1_000)  # of the inputs; of others as they have run
        assert len([text for text in found if "FROM readers" in text]) <= 8


def test_of_nodes_that_were_never_anything_else_nobody_asks_what_they_were(stored: Path) -> None:
    """Each that ran and came to something else had cost two statements, some 60 us."""
    with Engine(stored) as db:
        with db.batch():
            for number in range(100):
                db.set(own.key(number), 1_000 + number)
        found = reads(db)
        before = db.counts()
        db.get(total)
        assert (db.counts() - before).executed > 100
        assert not [text for text in found if "packed" in text and "FROM version" in text]


def test_what_was_computed_after_a_long_rest_is_committed_at_its_end(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        now = [0]
        db._core.clock = lambda: now[0]
        db.get(hub)
        now[0] += 100 * persist.CHUNK_NS
        before = db.counts().commits
        assert db.get(total) == expected(1)
        assert db.counts().commits == before + 1


def test_no_value_is_read_ahead_for_members_that_may_be_what_they_were_before(stored: Path) -> None:
    with Engine(stored) as db:
        db.set(hub.key(), 3)
        assert db.get(total) == expected(3)
    with Engine(stored) as db:
        db.set(hub.key(), 1)
        before = db.counts()
        assert db.get(total) == expected(1)
        counts = db.counts() - before
        assert counts.restored == MEMBERS
        assert counts.loaded <= 10  # the value of no member, and of nothing that one reads


def test_an_edit_to_something_new_reads_no_earlier_memo_of_those_that_run(stored: Path) -> None:
    with Engine(stored) as db:
        for hub_is in (3, 5):
            db.set(hub.key(), hub_is)
            assert db.get(total) == expected(hub_is)
    with Engine(stored) as db:
        db.set(hub.key(), 7)
        found = reads(db)
        assert db.get(total) == expected(7)
        assert [text for text in found if text.startswith("SELECT") and READ in text] == []
        db.set(hub.key(), 3)
        assert db.get(total) == expected(3)
        assert any(READ in text for text in found)  # there are some, and now they are wanted


def test_while_a_fold_is_settled_members_read_what_rests_on_no_collection_directly(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    original = Running.fetch

    def fetch(frame: Running, info: Any, args: tuple[Any, ...]) -> Any:
        asked.append(info.name)
        return original(frame, info, args)

    with Engine(stored) as db:
        db.set(hub.key(), 3)
        assert db.get(total) == expected(3)
        monkeypatch.setattr(Running, "fetch", fetch)
        db.set(hub.key(), 5)
        assert db.get(total) == expected(5)
        assert len(asked) <= 5  # of the fold itself; the members read two keys each


def test_what_was_read_ahead_is_not_believed_after_a_commit(stored: Path) -> None:
    with Engine(stored) as db:
        db.set(hub.key(), 2)
        db.set(hub.key(), 1)  # so what was read of the members is not used: they hold
        assert db.get(total) == expected(1)
        for hub_is in (3, 5, 3, 7):
            db.set(hub.key(), hub_is)
            assert db.get(total) == expected(hub_is)
            db.set(own.key(7), 1_000)
            assert db.get(total) == expected(hub_is, n7=1_000)
            held = db.get(in_order)
            assert sum(held) == expected(hub_is, n7=1_000)
            db.set(own.key(7), 7)
            assert db.get(total) == expected(hub_is)


def test_members_that_fail_and_heal_leave_the_fold_as_from_scratch(tmp_path: Path) -> None:
    for hub_is in (1, 13, 2, 13, 13, 4):
        with Engine(tmp_path / "store") as db:
            db.set(hub.key(), hub_is)
            if hub_is == 13:
                with pytest.raises(ValueError, match="1"):
                    db.get(failing)
            else:
                assert db.get(failing) == MEMBERS * hub_is + expected(1)


@query
def seldom(number: int) -> int:
    return doubled(number) if hub() % 2 else 0


seldom_total = fold(each=numbers, of=seldom, into=Sum())


def test_a_value_that_is_read_ahead_and_cannot_be_made_concerns_nobody_who_does_not_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(seldom_total) == expected(1)
    tried: list[object] = []
    original = ValueCodec.decode

    def decode(codec: ValueCodec, data: bytes) -> Any:
        value = original(codec, data)
        if isinstance(value, int) and value:  # of what the members read; the fold comes to 0
            tried.append(value)
            raise DamagedValue("its class is not loaded")
        return value

    with Engine(tmp_path / "store") as db:
        db.set(hub.key(), 2)
        monkeypatch.setattr(ValueCodec, "decode", decode)
        assert db.get(seldom_total) == 0
    assert len(tried) > MEMBERS / 2


class Row(NamedTuple):
    number: int
    value: int


@table(each=numbers, index=("number",))
def rows(number: int) -> Iterable[Row]:
    yield Row(number, hub() * doubled(number))


@query
def in_rows() -> int:
    return sum(row.value for row in rows)


def test_what_the_members_of_a_table_gave_before_is_read_for_many_at_once(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        assert db.get(in_rows) == expected(1)
    for restarts, hub_is in enumerate((3, 5, 3)):  # to something new, and back
        with Engine(tmp_path / "store") as db:
            db.set(hub.key(), hub_is)
            found = reads(db)
            assert db.get(in_rows) == expected(hub_is)
            assert db.counts().restored == (MEMBERS + 1 if restarts == 2 else 0)  # with their reader
            selects = [text for text in found if text.startswith("SELECT")]
            assert len(selects) <= MEMBERS / 4  # what each gave before, and the lookup that each concerns
            members = [number for text in selects for number in members_read(text)]
            assert len(members) == MEMBERS, "the commit knows what is stored of them"
            db.set(own.key(7), 1_000)
            assert db.get(in_rows) == expected(hub_is, n7=1_000)
            db.set(own.key(7), 7)
            assert db.get(in_rows) == expected(hub_is)
            db.check_invariants()


def test_the_process_that_made_a_table_reads_what_its_members_gave_for_many_at_once_too(
    tmp_path: Path,
) -> None:
    with Engine(tmp_path / "store") as db:
        for hub_is in (1, 3, 5, 3):
            db.set(hub.key(), hub_is)
            found = reads(db)
            assert db.get(in_rows) == expected(hub_is)
            assert len([text for text in found if members_read(text)]) <= 2 * ahead.AT_MOST.bit_length()


def members_read(statement: str) -> list[str]:
    """Whose rows a statement reads."""
    _, found, ids = statement.partition("_member IN ")
    return re.findall(r"\d+", ids) if found else []


@input(name="ahead:which")
def which() -> int:
    return 0


@query(name="ahead:words")
def words(number: int) -> str:
    return f"{number:>50}"


@query(name="ahead:one-by-one")
def one_by_one(count: int) -> int:
    return which() + sum(len(words(number)) for number in range(count))


@query(name="ahead:at-once")
def at_once(count: int) -> int:
    return which() + sum(map(len, each(words, range(count))))


@pytest.mark.parametrize("reader", [one_by_one, at_once])
@pytest.mark.parametrize("max_memory", [100_000, 1 << 30])
@pytest.mark.parametrize("restarts", [False, True])
def test_the_values_that_a_key_needs_when_it_runs_again_come_by_the_hundred(
    tmp_path: Path, reader: Query[[int], int], max_memory: int, restarts: bool
) -> None:
    """Also where only few of them fit into memory: then as many as fit, and each of them once."""
    count = 2_000
    db = Engine(tmp_path / "store", max_memory=max_memory)
    try:
        assert db.get(reader, count) == 50 * count
        if restarts:
            db.close()
            db = Engine(tmp_path / "store", max_memory=max_memory)
        db.set(which.key(), 1)
        before = db.counts()
        found = reads(db)
        assert db.get(reader, count) == 50 * count + 1
        counts = db.counts() - before
        selects = [text for text in found if text.startswith("SELECT") and "value" in text]
        if max_memory < 1 << 30:
            assert count - 100 <= counts.loaded <= count * 1.1
            assert len(selects) <= count / 20
        else:
            assert counts.loaded == (count if restarts else 0)
            assert len(selects) <= count / 100
        assert counts.executed == 1
    finally:
        db.close()
