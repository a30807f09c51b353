"""After an edit exactly the queries run that must: one claim a test."""

from __future__ import annotations

from collections.abc import Callable

from engine import Durability, Engine, each, input, query
from tests.watching import Watch, number


def test_an_equal_value_stops_a_change_after_one_level_of_two(db: Engine, watch: Watch) -> None:
    @query
    def half() -> int:
        return number("a") // 2

    @query
    def text() -> str:
        return f"half is {half()}"

    @query
    def top() -> str:
        return text().upper()

    assert watch.get(top) == "HALF IS 0"
    assert watch.ran == ["half()", "text()", "top()"]
    db.set(number.key("a"), 1)
    assert watch.get(top) == "HALF IS 0"
    assert (watch.ran, watch.cut) == (["half()"], ["half()"])
    db.set(number.key("a"), 2)
    assert watch.get(top) == "HALF IS 1"
    assert (watch.ran, watch.cut) == (["half()", "text()", "top()"], [])


def test_a_change_is_cut_off_at_the_second_level(db: Engine, watch: Watch) -> None:
    @query
    def exact() -> int:
        return number("a")

    @query
    def sign() -> bool:
        return exact() > 0

    @query
    def top() -> str:
        return "positive" if sign() else "not positive"

    db.set(number.key("a"), 1)
    watch.get(top)
    db.set(number.key("a"), 5)
    assert watch.get(top) == "positive"
    assert (watch.ran, watch.cut) == (["exact()", "sign()"], ["sign()"])


def test_the_foot_of_a_diamond_runs_once(db: Engine, watch: Watch) -> None:
    @query
    def foot() -> int:
        return number("a") + 1

    @query
    def left() -> int:
        return foot() * 2

    @query
    def right() -> int:
        return foot() * 3

    @query
    def top() -> int:
        return left() + right()

    assert watch.get(top) == 5
    assert sorted(watch.ran) == ["foot()", "left()", "right()", "top()"]
    db.set(number.key("a"), 1)
    assert watch.get(top) == 10
    assert watch.ran == ["foot()", "left()", "right()", "top()"]


def test_a_branch_no_longer_taken_is_neither_run_nor_verified(db: Engine, watch: Watch) -> None:
    @query
    def costly() -> int:
        assert number("switch") == 1, "asked for although the switch is off"
        return 10 // number("a")

    @query
    def top() -> int:
        return costly() if number("switch") else -1

    with db.batch():
        db.set(number.key("switch"), 1)
        db.set(number.key("a"), 5)
    assert watch.get(top) == 2
    with db.batch():
        db.set(number.key("switch"), 0)
        db.set(number.key("a"), 0)  # would divide by zero
    assert watch.get(top) == -1
    assert watch.ran == ["top()"]
    db.set(number.key("a"), 3)
    assert watch.get(top) == -1
    assert watch.ran == []


def test_a_dependency_chosen_by_a_value_is_followed(db: Engine, watch: Watch) -> None:
    @query
    def chosen() -> int:
        return number(f"n{number('which')}")

    db.set(number.key("n0"), 10)
    db.set(number.key("n1"), 11)
    assert watch.get(chosen) == 10
    db.set(number.key("n1"), 21)
    assert watch.get(chosen) == 10
    assert watch.ran == []
    db.set(number.key("which"), 1)
    assert watch.get(chosen) == 21
    db.set(number.key("n0"), 0)
    assert watch.get(chosen) == 21
    assert watch.ran == [], "the dependency that was dropped still counts"


def test_an_equal_value_with_other_dependencies_replaces_them(db: Engine, watch: Watch) -> None:
    @query
    def pick() -> int:
        return number("a") if number("switch") == 0 else number("b")

    @query
    def top() -> int:
        return pick() + 100

    assert watch.get(top) == 100
    db.set(number.key("switch"), 1)
    assert watch.get(top) == 100
    assert (watch.ran, watch.cut) == (["pick()"], ["pick()"])
    db.set(number.key("b"), 7)
    assert watch.get(top) == 107, "the new dependency was not recorded"
    db.set(number.key("a"), 9)
    assert watch.get(top) == 107
    assert watch.ran == []


def test_durability_lowered_with_an_equal_value_reaches_the_readers(db: Engine, watch: Watch) -> None:
    @query
    def pick() -> int:
        return number("stable") + (number("edited") if number("switch") else 0)

    @query
    def top() -> int:
        return pick() + 1

    for name in ("stable", "switch"):
        db.set(number.key(name), 1, durability=Durability.HIGH)
        db.set(number.key(name), 0, durability=Durability.HIGH)
    assert watch.get(top) == 1
    db.set(number.key("switch"), 1, durability=Durability.HIGH)
    assert watch.get(top) == 1
    assert (watch.ran, watch.cut) == (["pick()"], ["pick()"])
    db.set(number.key("edited"), 5)
    assert watch.get(top) == 6, "the reader still trusts its old durability"


def test_added_and_removed_members_of_a_group_run_alone(db: Engine, watch: Watch) -> None:
    @input
    def names() -> tuple[str, ...]:
        return ("a", "b")

    @query
    def double(name: str) -> int:
        return number(name) * 2

    @query
    def total() -> int:
        return sum(each(double, names()))

    db.set(number.key("c"), 3)
    watch.get(total)
    db.set(names.key(), ("a", "b", "c"))
    assert watch.get(total) == 6
    assert sorted(watch.ran) == ["double('c')", "total()"]
    db.set(names.key(), ("c",))
    assert watch.get(total) == 6
    assert (watch.ran, watch.cut) == (["total()"], ["total()"])
    db.set(number.key("a"), 9)
    assert watch.get(total) == 6
    assert watch.ran == []


def test_an_unrelated_change_visits_nothing(db: Engine, watch: Watch) -> None:
    @query
    def top() -> int:
        return number("a")

    watch.get(top)
    db.get(number, "b")
    db.set(number.key("b"), 5)
    before = db.counts()
    assert db.get(top) == 0
    assert (db.counts() - before).visited == 0


def test_only_the_asked_key_is_brought_up_to_date(db: Engine, watch: Watch) -> None:
    @query
    def one() -> int:
        return number("a") + 1

    @query
    def two() -> int:
        return number("a") + 2

    db.get(one)
    db.get(two)
    db.set(number.key("a"), 1)
    assert watch.get(one) == 2
    assert watch.ran == ["one()"]
    assert watch.get(two) == 3
    assert watch.ran == ["two()"]


def test_eq_decides_what_counts_as_equal(db: Engine, watch: Watch) -> None:
    def close(old: float, new: float) -> bool:
        return abs(old - new) < 1

    @query(eq=close)
    def reading() -> float:
        return number("a") / 10

    @query
    def shown() -> str:
        return f"{reading():.1f}"

    assert watch.get(shown) == "0.0"
    db.set(number.key("a"), 5)
    assert watch.get(shown) == "0.0"
    assert watch.cut == ["reading()"]
    assert watch.get(reading) == 0.0, "readers of one revision see one value"
    db.set(number.key("a"), 15)
    assert watch.get(shown) == "1.5"


def test_an_untracked_query_runs_in_every_revision(db: Engine, watch: Watch) -> None:
    outside = [1]

    @query(untracked=True)
    def peek() -> int:
        return outside[0]

    @query
    def top() -> int:
        return peek() * 10

    assert watch.get(top) == 10
    outside[0] = 2
    assert watch.get(top) == 10, "within one revision it stays"
    db.set(number.key("a"), 1)
    assert watch.get(top) == 20
    db.set(number.key("a"), 2)
    assert watch.get(top) == 20
    assert (watch.ran, watch.cut) == (["peek()"], ["peek()"])


def test_changed_code_runs_its_own_query_only(db: Engine, watch: Watch) -> None:
    def define(body: Callable[[], int]) -> None:
        query(name="low")(body)

    def first() -> int:
        return number("a") + 1

    def same_value() -> int:
        return 1 + number("a")

    def other_value() -> int:
        return number("a") + 2

    low_first = query(name="low")(first)

    def high() -> int:
        return low_first() * 10

    top = query(name="high")(high)
    assert watch.get(top) == 10
    low = query(name="low")(same_value)

    def high_again() -> int:
        return low() * 10

    top = query(name="high", code="none")(high_again)
    db.get(top)
    assert "low()" in watch.ran
    assert "low()" in watch.cut
