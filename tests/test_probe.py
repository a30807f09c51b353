"""What a change costs when almost nothing needs to be done: the probe and the marks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine import Engine, each, input, query
from tests.watching import Watch

MANY = 100_000


@input
def text(number: int) -> int:
    return number


@query
def facts(number: int) -> int:
    return text(number) // 10


@query
def spans(number: int) -> int:
    return text(number)


@query
def reader(number: int) -> int:
    return facts(0) + number


@query
def root(count: int) -> int:
    return sum(each(reader, range(count)))


@query
def all_spans() -> int:
    return spans(0)


@pytest.fixture(scope="module")
def large() -> Iterator[Engine]:
    with Engine(None) as db:
        db.get(root, MANY)
        yield db


def test_a_comment_under_a_fan_in_of_100_000_runs_one_key_and_visits_five(large: Engine) -> None:
    for value in (1, 2, 3):
        large.set(text.key(0), value)
        before = large.counts()
        large.get(root, MANY)
        work = large.counts() - before
        assert (work.executed, work.cut_off) == (1, 1)
        assert work.visited <= 5


def test_an_unrelated_change_visits_nothing_of_100_000(large: Engine) -> None:
    large.get(text, 7)
    large.set(text.key(7), 70)
    before = large.counts()
    large.get(root, MANY)
    assert (large.counts() - before).visited == 0


def test_a_suspect_below_another_key_is_not_run(large: Engine) -> None:
    large.get(all_spans)
    large.set(text.key(0), 5)
    watch = Watch(large)
    large.get(root, MANY)
    assert watch.ran == ["facts(0)"], "spans was run although nobody asked for it"
    assert watch.get(all_spans) == 5
    assert watch.ran == ["spans(0)", "all_spans()"]


def test_a_change_that_goes_on_marks_and_runs_its_readers() -> None:
    with Engine(None) as db:
        db.get(root, 500)
        db.set(text.key(0), 50)
        before = db.counts()
        assert db.get(root, 500) == sum(range(500)) + 5 * 500
        assert (db.counts() - before).executed == 502
        db.check_invariants()


@input
def names() -> frozenset[str]:
    return frozenset({"n0", "n1"})


@query
def is_there(name: str) -> bool:
    return name in names()


@query
def user(number: int) -> bool:
    return is_there(f"n{number % 100}")


@query
def users(count: int) -> int:
    return sum(each(user, range(count)))


def test_a_list_of_which_100_look_for_one_name_marks_from_the_name_that_came_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.mark.CHEAP_US", 10**9)  # however slow the machine is
    with Engine(None) as db:
        assert db.get(users, 10_000) == 200
        for there, executed, cut_off in (("n0 n1 other", 100, 100), ("n0 n1 n7", 100 + 100 + 1, 99)):
            db.set(names.key(), frozenset(there.split()))
            before = db.counts()
            assert db.get(users, 10_000) == 100 * sum(f"n{n}" in there.split() for n in range(100))
            work = db.counts() - before
            assert (work.executed, work.cut_off, work.verified) == (executed, cut_off, 0)
            db.check_invariants()


@query
def summary() -> int:
    return len(names())


@query
def shown() -> str:
    return str(summary())


def test_one_that_costs_much_and_waits_too_does_not_have_all_above_the_cheap_ones_walked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.mark.CHEAP_US", 10**9)  # however slow the machine is
    with Engine(None) as db:
        assert (db.get(users, 10_000), db.get(shown)) == (200, "2")
        core = db._core
        (dear,) = (node for node in range(1, len(core.graph)) if core.name_of(node).endswith(":summary()"))
        core.graph.cost[dear] = 10**10
        db.set(names.key(), frozenset({"n0", "n1", "other"}))
        before = db.counts()
        assert db.get(users, 10_000) == 200
        work = db.counts() - before
        assert (work.executed, work.cut_off, work.verified) == (100, 100, 0)
        assert db.get(shown) == "3"
        db.check_invariants()


@input
def source() -> int:
    return 0


@query
def layer(level: int, number: int) -> int:
    return number + (layer(level - 1, number) if level else source())


@query
def above_layers() -> int:
    return sum(layer(9, number) for number in range(20))


@query
def apart() -> int:
    return source() * 0


def test_a_change_that_goes_on_through_many_costs_who_needs_none_of_them_one_round_of_probes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("engine.mark.BUDGET", 1)
    monkeypatch.setattr("engine.mark.CLIMB", 1)
    monkeypatch.setattr("engine.mark.CHEAP_US", 10**9)
    monkeypatch.setattr("engine.mark.PROBE_US", 10**9 // 30)  # 20 of them may be probed, and no more
    with Engine(None) as db:
        assert (db.get(above_layers), db.get(apart)) == (1900, 0)
        db.set(source.key(), 1)
        before = db.counts()
        assert db.get(apart) == 0
        assert (db.counts() - before).executed == 20 + 1
        assert db.get(above_layers) == 1920
        db.check_invariants()


def test_strict_forbids_probes_that_may_be_wasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.mark.BUDGET", 1)
    monkeypatch.setattr("engine.mark.CLIMB", 1)

    @query
    def switch() -> int:
        return text(1)

    @query
    def costly() -> int:
        return text(2)

    @query
    def over() -> int:
        return costly() if switch() == 1 else 0

    @query
    def top() -> int:
        return over() + 1

    def executed(strict: bool) -> list[str]:
        with Engine(None, strict=strict) as db:
            watch = Watch(db)
            assert watch.get(top) == 3
            with db.batch():
                db.set(text.key(1), 9)
                db.set(text.key(2), 9)
            assert watch.get(top) == 1
            return sorted(watch.ran)

    assert executed(strict=True) == ["over()", "switch()", "top()"]
    assert set(executed(strict=False)) - {"costly()"} == {"over()", "switch()", "top()"}
