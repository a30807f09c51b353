"""A table that needs itself is a cycle, reported by its path, and heals."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from attrs import frozen

from engine import CycleError, Engine, Sum, Table, fold, input, query, table
from engine.core import Core
from engine.tables import cycles, kinds


@input
def closed() -> tuple[str, ...]:
    """How the loop is closed, if it is."""
    return ()


@input
def numbers() -> tuple[int, ...]:
    return (1, 2)


@frozen
class Row:
    n: int


@table(each=numbers, index=("n",))
def low(n: int) -> Iterable[Row]:
    how = closed()
    if "directly" in how:
        low.count()
    if "query" in how:
        through_a_query()
    if "table" in how:
        high.exists(n=1)
    yield Row(n)


@query
def through_a_query() -> int:
    return low.count(n=2)


@table(each=numbers, index=("n",))
def high(n: int) -> Iterable[Row]:
    yield Row(low.count(n=n))


@query
def top() -> int:
    return high.count(n=1)


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ("directly", ["low", "low.count()"]),
        ("query", ["low", "through_a_query()", "low.count(n=2)"]),
        ("table", ["low", "high", "high.exists(n=1)"]),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_table_that_needs_itself_is_a_cycle_with_its_path_also_by_an_edit_and_heals(
    db: Engine, how: str, path: list[str], first: bool
) -> None:
    if not first:
        assert db.get(top) == 2
        db.get(through_a_query)
    for _ in range(2):
        db.set(closed.key(), (how,))
        for key in (top.key(), low.where.key(), low.count.key(n=1)):
            with pytest.raises(CycleError) as error:
                db.get(key)
            names = {name.rpartition(":")[2] for name in error.value.path}
            assert set(path) <= names
            assert any(name.startswith("low(") for name in names)
        db.check_invariants()
        db.set(closed.key(), ())
        assert db.get(top) == 2
        assert len(db.get(low.where)) == 2
        assert db.get(through_a_query) == 1
        db.check_invariants()


def test_in_a_snapshot_the_cycle_of_a_table_is_its_value_for_each_key_and_for_none(db: Engine) -> None:
    """`of` had looked at the one member in a snapshot, and found nothing wrong with it."""

    @table(each=numbers, index=("n",))
    def half(n: int) -> Iterable[Row]:
        yield Row(half.count() if n == 2 and closed() else n)

    keys = [half.of.key(n) for n in (1, 2, 9)]
    assert [db.get(key) for key in keys] == [(Row(1),), (Row(2),), ()]
    with db.snapshot() as open_ring:
        db.set(closed.key(), ("directly",))
        with db.snapshot() as unknown:
            for key in keys:
                with pytest.raises(CycleError):
                    db.get(key)
            with db.snapshot() as known:
                db.set(closed.key(), ())
                for view in (unknown, known):
                    for key in keys:
                        with pytest.raises(CycleError):
                            view.get(key)
        assert [open_ring.get(key) for key in keys] == [(Row(1),), (Row(2),), ()]


def test_a_member_that_catches_the_cycle_of_its_table_is_on_it_also_in_a_snapshot(db: Engine) -> None:
    """There, nobody was asked behind the first member that is a cycle. So it was with members of a fold."""

    @table(each=numbers, index=("n",))
    def pair(n: int) -> Iterable[Row]:
        try:
            yield Row(pair.count())
        except CycleError:
            if n == 1:
                raise
            yield Row(n)

    @query
    def caught(n: int) -> int:
        try:
            return sum_of_caught()
        except CycleError:
            if n == 1:
                raise
            return 5

    sum_of_caught = fold(each=numbers, of=caught, into=Sum(), name="sum of caught")

    for key in (pair.key(2), caught.key(2)):
        with db.snapshot() as view:
            for asked in (view, db):
                with pytest.raises(CycleError):
                    asked.get(key)


# -- loops of many ---------------------------------------------------------------------------------


@input
def ring_closed() -> bool:
    """Whether the last table of a ring looks into the first one."""
    return False


def ring_of(size: int) -> list[Table[int, Row]]:
    """Tables each of which looks into the next one, and the last one into the first if it is closed."""
    made: list[Table[int, Row]] = []

    def link(at: int) -> Table[int, Row]:
        def rows(n: int) -> Iterable[Row]:
            if at + 1 < size or ring_closed():
                yield Row(made[(at + 1) % size].count(n=n))
            yield Row(n)

        rows.__annotations__ = {"n": int, "return": Iterable[Row]}
        return table(each=numbers, index=("n",), name=f"ring{size}:r{at}")(rows)

    made += [link(at) for at in range(size)]
    return made


@pytest.mark.parametrize("asked", ["first", "last", "all"])
@pytest.mark.parametrize("known", [True, False])
def test_a_ring_of_tables_is_a_cycle_that_names_each_of_them_in_order_and_heals(
    db: Engine, asked: str, known: bool
) -> None:
    close_and_open(db, ring_of(4), asked, known)


@pytest.mark.parametrize("known", [True, False])
def test_a_ring_of_tables_that_share_bits_is_a_cycle_as_well(
    db: Engine, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    for module in (kinds, cycles):
        monkeypatch.setattr(module, "REACH_BITS", 2)
    close_and_open(db, ring_of(5), "last", known)


def test_what_a_ring_of_tables_rests_on_is_walked_through_once_for_all_of_them(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had been once for each, at every read: 2.4 s for a ring of 40."""
    looked: list[int] = []
    real = cycles.reads_with

    def reads_with(core: Core, node: int, bits: int) -> list[int]:
        looked.append(node)
        return real(core, node, bits)

    monkeypatch.setattr(cycles, "reads_with", reads_with)
    size = 16
    close_and_open(db, ring_of(size), "last", known=True)
    assert 0 < len(looked) <= 80 * size**2


def close_and_open(db: Engine, ring: list[Table[int, Row]], asked: str, known: bool) -> None:
    """Close a ring, ask some of its tables, and open it again, twice."""
    size = len(ring)
    with Engine(None) as other:
        wanted = [other.get(one.where) for one in ring]
    some = {"first": ring[:1], "last": ring[-1:], "all": ring}[asked]
    if known:
        for one in ring:
            db.get(one.where)
    for _ in range(2):
        db.set(ring_closed.key(), True)
        for one in some:
            with pytest.raises(CycleError) as error:
                db.get(one.where)
            names = [name.partition(":")[2] for name in error.value.path]
            tables = [name for name in names if name.partition("(")[0] in {f"r{at}" for at in range(size)}]
            order = list(dict.fromkeys(int(name[1:].partition("(")[0]) for name in tables))
            assert sorted(order) == list(range(size)), names
            assert order == [(order[0] + at) % size for at in range(size)], (
                "each is followed by what it reads"
            )
        db.check_invariants()
        db.set(ring_closed.key(), False)
        assert [db.get(one.where) for one in ring] == wanted
        db.check_invariants()


@input
def loops() -> bool:
    return False


@query
def keys_of_lower() -> tuple[int, ...]:
    if loops():
        return (upper.count(),)
    raise ValueError("no keys")


@table(each=keys_of_lower, index=("n",))
def lower(n: int) -> Iterable[Row]:
    yield Row(n)


@table(each=lower.column("n"), index=("n",))
def upper(n: int) -> Iterable[Row]:
    yield Row(n)


@pytest.mark.parametrize("known", [True, False])
def test_source_keys_that_come_to_need_a_table_over_them_are_a_cycle_also_where_that_failed(
    db: Engine, known: bool
) -> None:
    """What the table over them had failed with was taken for what it is, inside of the ring."""
    with pytest.raises(ValueError, match="no keys"):
        db.get(upper.exists, n=1)
    for _ in range(2):
        if known:
            with pytest.raises(ValueError, match="no keys"):
                db.get(upper.count)
        db.set(loops, True)
        for key in (lower.where.key(), upper.count.key(), keys_of_lower.key()):
            with pytest.raises(CycleError):
                db.get(key)
        db.check_invariants()
        db.set(loops, False)
        with pytest.raises(ValueError, match="no keys"):
            db.get(lower.where)
        db.check_invariants()
