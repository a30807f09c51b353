"""What workers are told of what is known here: nothing that does not hold, and what runs here runs once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine
from engine.core import Core
from engine.errors import TimedOut
from engine.locate import locate
from engine.parallel.lost import Lost
from engine.parallel.order import Order
from engine.parallel.pending import Pending
from engine.parallel.questions import reply
from engine.parallel.slot import Slot
from engine.parallel.units import REFUSED, Ask, Reply
from tests.executors import Threads
from tests.patience import PATIENCE, until
from tests.workers import SQUARES, Rules, graph_of, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]
HERE = os.getpid()


def test_a_value_that_may_be_another_one_by_now_is_not_given_along(make: Make) -> None:
    """A key goes out for what it read first, and what it read after that is not up to date."""
    rules = make("""
@input
def first() -> int:
    return 1

@input
def second() -> int:
    return 1

@query
def below(n: int) -> int:
    time.sleep(0.001)  # it costs enough to be given
    return second() + n

@query(workers="process")
def member(n: int) -> int:
    note("member")
    return first() * 0 + below(n)

@query
def members() -> tuple[int, ...]:
    return each(member, range(8))
""")
    with Engine(None, processes=2) as db:
        assert db.get(rules.members) == tuple(range(1, 9))
        rules.noted()
        with db.batch():
            db.set(rules.first.key(), 2)
            db.set(rules.second.key(), 101)
        assert db.get(rules.members) == tuple(range(101, 109))
        assert HERE not in rules.noted()[1]
        db.check_invariants()


def test_what_runs_here_is_waited_for_by_workers_and_not_run_once_more(make: Make) -> None:
    rules = make("""
@query(workers="inline")
def hub() -> int:
    note("hub")
    while "member" not in LOG.read_text():
        time.sleep(0.01)
    return 7

@query(workers="process")
def member(n: int) -> int:
    note("member")
    return hub() + n

@query
def members() -> int:
    return sum(each(member, range(4)))
""")
    with Engine(None, processes=2) as db:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(db.get(rules.hub)))
        thread.start()
        until(rules.log.exists)
        assert db.get(rules.members) == 4 * 7 + 6
        thread.join(PATIENCE)
        assert found == [7]
        assert rules.noted()[0] == {"hub": 1, "member": 4}


def test_what_the_host_set_before_a_restart_is_asked_for(make: Make, tmp_path: Path) -> None:
    rules = make("""
@input
def cell() -> int:
    return 1

@query(workers="process")
def member(n: int) -> int:
    note("member")
    return cell() + n

@query
def members() -> int:
    return sum(each(member, range(8)))
""")
    with Engine(tmp_path / "store") as db:
        db.set(rules.cell.key(), 100)
    with Engine(tmp_path / "store", processes=2) as db:
        assert db.get(rules.members) == 828
        counts, pids = rules.noted()
        assert counts == {"member": 8}
        assert HERE not in pids


def test_what_rests_on_a_failure_for_a_moment_is_told_to_no_worker(make: Make, tmp_path: Path) -> None:
    rules = make("""
@query(workers="inline")
def shaky() -> int:
    time.sleep(0.01)  # expensive enough to be asked for
    raise OSError("for a moment")

@query(workers="inline")
def caught() -> int:
    try:
        return shaky()
    except OSError:
        return -1

@query(workers="process")
def member(n: int) -> int:
    return caught() + n

@query
def members() -> int:
    return caught() + sum(each(member, range(4)))
""")
    found = []
    for place, processes in (("here", 0), ("there", 2)):
        with Engine(tmp_path / place, processes=processes) as db:
            assert db.get(rules.members) == -5 + 6
            found.append(graph_of(db))
    assert found[0] == found[1]


SHAKY = """
@input
def cell() -> int:
    return 1

@query(workers="inline")
def shaky() -> int:
    if LOG.with_name("down").exists() and os.getpid() in {pids}:
        raise OSError("for a moment")
    return cell() * 0

@query({limit}workers="inline")
def caught() -> int:
    try:
        return shaky()
    except OSError:
        return -1

@query(workers="process")
def member(n: int) -> int:
    note(n)
    return cell() * 0 + caught() + n

@query
def members() -> int:
    return caught() + sum(each(member, range(4)))
"""


@pytest.mark.parametrize(
    ("pids", "limit"),
    [("[os.getpid()]", 'limit="one", '), (f"[{HERE}]", "")],
    ids=["it is asked for", "it does not fail there"],
)
def test_a_failure_for_a_moment_after_a_value_is_one_in_all_members(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pids: str, limit: str
) -> None:
    """Its memo is still that of the value, and is the one to compare with later."""
    monkeypatch.setattr("engine.parallel.held.ASK_US", 10**9)  # for nothing else
    rules = make(SHAKY.format(pids=pids, limit=limit))
    with Engine(None, root=tmp_path, processes=2, limits={"one": 1}) as db:
        assert db.get(rules.members) == 6
        (tmp_path / "down").touch()
        db.set(rules.cell.key(), 2)
        assert db.get(rules.members) == 6 - 5
        (tmp_path / "down").unlink()
        db.sync()
        assert db.get(rules.members) == 6
        db.check_invariants()


def test_what_a_worker_asks_for_and_has_to_run_runs_there(make: Make) -> None:
    rules = make("""
@input
def cell() -> int:
    return 1

@query
def known() -> int:
    note("known")
    time.sleep(0.01)  # it costs enough to be asked for
    return cell()

@query(workers="process")
def member(n: int) -> int:
    return cell() * 0 + known() + n

@query
def members() -> int:
    return sum(each(member, range(4)))
""")
    with Engine(None, processes=1) as db:
        db.get(rules.known)
        assert db.get(rules.members) == 4 + 6
        assert rules.noted()[1] == {HERE}
        db.set(rules.cell.key(), 2)
        assert db.get(rules.members) == 8 + 6
        counts, pids = rules.noted()
        assert counts == {"known": 1}
        assert HERE not in pids


def test_a_key_that_was_given_up_fails_in_its_revision_only_and_not_if_it_has_a_value(make: Make) -> None:
    rules = make(SQUARES + "@input\ndef cell() -> int:\n    return 1\n")
    with Engine(None) as db:
        core = db._core
        lost = Lost(core)
        lost.start()
        assert db.get(rules.square, 2) == 4
        with core.lock:
            known, new = (locate(core, rules.square.key(0).query, (n,)) for n in (2, 3))
            for node in (known, new):
                lost.give_up(node, TimedOut())
        assert known not in lost
        assert new in lost
        db.set(rules.cell.key(), 2)
        assert db.get(rules.square, 3) == 9


def test_a_key_of_a_batch_that_lost_its_worker_travels_alone(make: Make) -> None:
    rules = make("""
@query(batch=True, workers="process")
def many(keys: list[int]) -> list[int]:
    return keys
""")
    with Engine(None) as db, db._core.lock:
        nodes = [locate(db._core, rules.many.key(0).query, (n,)) for n in range(4)]
        pending = Pending(db._core)
        pending.add(nodes)
        pending.retried.add(nodes[0])
        assert pending.next_batch(1, 1, ahead=False) == nodes[:1]
        assert pending.next_batch(1, 1, ahead=False) == nodes[1:]


def test_no_worker_asks_for_the_key_that_it_was_sent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.parallel.held.ASK_US", 0)  # whatever has a memo is asked for
    rules = make(SQUARES)
    with Engine(None, executor=(executor := Threads())) as db:
        for _ in range(2):
            db.get(rules.squares)
            db.forget("*:square(*")
        assert not [said for said in executor.told if isinstance(said, Ask)]
        assert rules.noted()[0] == {str(n): 2 for n in range(40)}


def test_a_unit_that_was_refused_a_key_is_not_told_it_later(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a place or a table is free again meanwhile: a query may have caught the refusal."""
    monkeypatch.setattr("engine.parallel.held.ASK_US", 0)  # whatever has a memo is asked for
    told: list[str] = []

    def refuse_once(core: Core, slot: Slot, ask: Ask, order: Order, limited: bool) -> Reply:
        told.append(ask.query)
        return Reply(REFUSED) if len(told) == 1 else reply(core, slot, ask, order, limited)

    monkeypatch.setattr("engine.parallel.exchange.reply", refuse_once)
    rules = make("""
@query(workers="inline")
def known() -> int:
    return 7

@query
def caught() -> int:
    try:
        return known()
    except BaseException:
        return -1

@query(workers="process")
def member(n: int) -> int:
    time.sleep(0.01)
    return caught() * known() + n

@query
def members() -> int:
    return sum(each(member, range(4)))
""")
    with Engine(None, executor=Threads()) as db:
        db.get(rules.known)
        assert db.get(rules.members) == 4 * 7 * 7 + 6
        assert told
