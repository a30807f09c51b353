"""An error is the value of a query: kept, cut off, repaired by an edit. So is a cycle."""

from __future__ import annotations

import pytest

from engine import CycleError, Engine, Transient, each, input, query
from engine.core import Core
from engine.mark import suspect
from tests.watching import Watch


@input
def number(name: str) -> int:
    return 0


def test_an_error_is_kept_and_repaired(db: Engine, watch: Watch) -> None:
    @query
    def inverse() -> int:
        return 10 // number("a")

    @query
    def top() -> int:
        return inverse() + 1

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            db.get(top)
    assert db.counts().executed == 2, "a failure is a value: it is not computed again"
    db.set(number.key("other"), 1)
    with pytest.raises(ZeroDivisionError):
        db.get(top)
    assert db.counts().executed == 2
    db.set(number.key("a"), 5)
    assert watch.get(top) == 3
    db.set(number.key("a"), 0)
    with pytest.raises(ZeroDivisionError):
        db.get(top)


def test_an_equal_error_is_cut_off(db: Engine, watch: Watch) -> None:
    @query
    def check() -> int:
        if number("a") >= 0:
            raise ValueError("too large")
        return 1

    @query
    def top() -> str:
        try:
            return str(check())
        except ValueError as error:
            return f"failed: {error}"

    assert watch.get(top) == "failed: too large"
    db.set(number.key("a"), 1)
    assert watch.get(top) == "failed: too large"
    assert watch.ran == ["check()"]


def test_a_transient_failure_is_not_kept(db: Engine) -> None:
    attempts = []

    @query
    def fetch() -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise Transient("not yet")
        return 7

    @query
    def top() -> int:
        return fetch() + 1

    for _ in range(2):
        with pytest.raises(Transient):
            db.get(top)
    assert db.get(top) == 8
    assert len(attempts) == 3
    assert db.get(top) == 8
    assert len(attempts) == 3


def test_failures_that_nobody_asks_for_are_left_alone(db: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    forced: list[int] = []

    def counted(core: Core, node: int, why: int) -> None:
        forced.append(node)
        suspect(core, node, why)

    monkeypatch.setattr("engine.advance.suspect", counted)

    @input
    def away() -> bool:
        return True

    @query
    def fetch(n: int) -> int:
        if away():
            raise Transient("not yet")
        return n

    @query
    def top() -> int:
        return sum(each(fetch, range(50)))

    @input
    def other() -> int:
        return 0

    for n in range(50):
        with pytest.raises(Transient):
            db.get(fetch, n)
    assert len(forced) == 49  # each when the next one was asked for; the last one waits
    for n in range(3):
        db.set(other.key(), n + 1)
        assert db.get(other) == n + 1
    assert len(forced) == 50
    db.set(away.key(), False)
    assert db.get(top) == sum(range(50))


def test_a_failure_that_is_not_kept_is_told_with_the_keys_that_led_to_it_too(db: Engine) -> None:
    @query
    def vector(text: str) -> int:
        if text == "b":
            raise Transient("503")
        return 1

    @query(batch=True)
    def vectors(texts: list[str]) -> list[int]:
        return [1 // (text != "b") for text in texts]

    @query
    def index() -> int:
        return sum(each(vector, "abc"))

    @query
    def many() -> int:
        return sum(each(vectors, "abc"))

    for top, member in ((index, vector), (many, vectors)):
        with pytest.raises((Transient, ZeroDivisionError)) as caught:
            db.get(top)
        names = [top.key(), member.key("b")]
        assert caught.value.__notes__ == ["while computing " + " -> ".join(map(str, names))]


def test_what_caught_a_transient_failure_is_not_kept_either(db: Engine) -> None:
    broken = [True]

    @query
    def fetch() -> int:
        if broken[0]:
            raise OSError("disk is away")
        return 7

    @query
    def top() -> str:
        try:
            return str(fetch())
        except OSError:
            return "away"

    @query
    def over() -> str:
        return top() + "!"

    assert db.get(over) == "away!"
    broken[0] = False
    assert db.get(over) == "7!"


def test_a_cycle_appears_and_vanishes(db: Engine, watch: Watch) -> None:
    @query
    def ping() -> int:
        return pong() + 1 if number("loop") else 1

    @query
    def pong() -> int:
        return ping() + 1

    assert watch.get(pong) == 2
    db.set(number.key("loop"), 1)
    for entry in (pong, ping):
        with pytest.raises(CycleError) as caught:
            db.get(entry)
        names = [name.rpartition(".")[2] for name in caught.value.path]
        assert names == ["ping()", "pong()", "ping()"], "the same path from whatever key it is entered"
    db.set(number.key("loop"), 0)
    assert watch.get(pong) == 2
    assert watch.get(ping) == 1


def test_a_key_that_needs_itself_is_a_cycle(db: Engine) -> None:
    @query
    def selfish(n: int) -> int:
        return selfish(n)

    with pytest.raises(CycleError, match=r"selfish\(3\) -> .*selfish\(3\)"):
        db.get(selfish, 3)


def test_catching_a_cycle_does_not_hide_it(db: Engine) -> None:
    @query
    def a() -> int:
        try:
            return b()
        except CycleError:
            return 0

    @query
    def b() -> int:
        return a()

    @query
    def outside() -> str:
        try:
            return str(a())
        except CycleError:
            return "a cycle"

    for entry in (a, b):
        with pytest.raises(CycleError):
            db.get(entry)
    assert db.get(outside) == "a cycle"


def test_a_probe_does_not_miss_a_new_cycle(db: Engine) -> None:
    @query
    def base() -> int:
        return top() if number("loop") else number("a")

    @query
    def top() -> int:
        return base() + 1

    assert db.get(top) == 1
    db.set(number.key("loop"), 1)
    with pytest.raises(CycleError):
        db.get(top)
    db.set(number.key("loop"), 0)
    assert db.get(top) == 1


def test_an_input_may_fail_and_be_repaired(db: Engine) -> None:
    world: dict[str, int] = {}

    @input(observed=True)
    def entry(name: str) -> int:
        return world[name]

    @query
    def top() -> str:
        try:
            return str(entry("x"))
        except KeyError:
            return "absent"

    assert db.get(top) == "absent"
    world["x"] = 1
    assert db.get(top) == "absent", "the world is looked at on sync only"
    assert db.sync() == 1
    assert db.get(top) == "1"
    before = db.revision
    assert db.sync() == 0
    assert db.revision == before
    del world["x"]
    db.sync()
    assert db.get(top) == "absent"


def test_a_value_that_contradicts_its_annotation_is_an_error(db: Engine) -> None:
    from engine import WrongValue

    @query
    def wrong() -> int:
        return "three"  # type: ignore[return-value]  # what the test is about

    with pytest.raises(WrongValue, match="wrong"):
        db.get(wrong)


def test_an_input_whose_stamp_fails_has_that_failure_as_its_value(db: Engine) -> None:
    broken = [True]

    def stamp(name: str) -> bytes:
        if broken[0]:
            raise ValueError("no stamp")
        return b"fine"

    @input(stamp=stamp)
    def entry(name: str) -> int:
        return 3

    with pytest.raises(ValueError, match="no stamp"):
        db.get(entry, "x")
    db.sync()
    broken[0] = False
    db.sync()
    assert db.get(entry, "x") == 3


def test_a_failure_that_is_not_stored_is_equal_when_it_is_computed_again() -> None:
    @query(name="unstored:fails", persist=False)
    def fails() -> int:
        raise ValueError("always")

    @query(name="unstored:reads")
    def reads(n: int) -> int:
        try:
            return fails()
        except ValueError:
            return n

    with Engine(None) as db:
        for n in range(6):  # each commit lets go of values that are not stored
            assert db.get(reads, n) == n
        assert (db.revision, db.notes()) == (1, ())
