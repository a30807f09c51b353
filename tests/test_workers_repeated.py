"""What workers compute that is known here: counted once, and judged by all that their query did there."""

from __future__ import annotations

from engine.parallel.repeated import ENOUGH_US, Again, Repeated
from engine.parallel.units import Record

BATCH = ENOUGH_US + 1  # microseconds of work after which a query is judged


def record(node: int, cost: int, *reads: int) -> Record:
    return Record(node, "test:query", b"", False, cost, b"f", reads, b"v", None)


def test_what_was_computed_twice_counts_once_though_its_readers_took_as_long() -> None:
    """A cost is that of a run with all that ran below it: of a chain of classes each has that of all."""
    again = Again()
    for node in range(1, 100):
        again.add(record(node, 10 * node, *((node - 1,) if node > 1 else ())))
    assert again.microseconds == 990


def test_what_nobody_reads_there_counts_each() -> None:
    again = Again()
    again.add(record(1, 30))
    again.add(record(2, 20))
    again.add(record(3, 40, 7, 2))
    assert again.microseconds == 70


def test_a_query_that_only_repeats_is_too_much_as_soon_as_it_is_judged() -> None:
    work = Repeated()
    assert not work.is_too_much("a", BATCH // 2, BATCH // 2)
    assert work.is_too_much("a", BATCH // 2, BATCH - BATCH // 2)


def test_one_bad_stretch_after_good_ones_decides_nothing() -> None:
    """The first to need the bases of a whole project compute them at the same time: that is once."""
    work = Repeated()
    assert [work.is_too_much("a", BATCH // 20, BATCH) for _ in range(5)] == [False] * 5
    assert not work.is_too_much("a", BATCH, BATCH)
    assert [work.is_too_much("a", BATCH // 20, BATCH) for _ in range(5)] == [False] * 5


def test_bad_stretches_that_go_on_decide() -> None:
    work = Repeated()
    for _ in range(5):
        work.is_too_much("a", 0, BATCH)
    judged = [work.is_too_much("a", BATCH, BATCH) for _ in range(3)]
    assert (judged[0], judged[-1]) == (False, True)


def test_what_one_query_repeats_is_nothing_to_another() -> None:
    work = Repeated()
    assert work.is_too_much("a", BATCH, BATCH)
    assert not work.is_too_much("b", 0, BATCH)
