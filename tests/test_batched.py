"""Queries with `batch=`: many keys in one call, one memo each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Sum, each, fold, input, query
from engine.errors import BadQuery, TimedOut, WorkerLost, WrongCount
from tests.workers import Rules, graph_of, let_hang, make

Make = Callable[[str], Rules]
__all__ = ["make"]
calls: list[list[str]] = []


@input(name="batched:names")
def names() -> tuple[str, ...]:
    return ()


@query(name="batched:length", batch=True, version=1, code="version")  # `calls` would be a part of its code
def length(texts: list[str]) -> Sequence[int]:
    calls.append(texts)
    if "bad" in texts:
        raise ValueError("bad")
    return [len(text) for text in texts]


@query(name="batched:lengths")
def lengths() -> tuple[int, ...]:
    return each(length, names())


@query(name="batched:one_by_one")
def one_by_one() -> int:
    return sum(length(name) for name in names())


total = fold(name="batched:total", each=names, of=length, into=Sum())


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


def test_keys_asked_for_together_are_one_call_and_each_has_a_memo(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as db:
        db.set(names.key(), ("a", "bb", "ccc"))
        assert db.get(lengths) == (1, 2, 3)
        assert calls == [["a", "bb", "ccc"]]
        assert db.counts().executed == 4
        db.check_invariants()
        db.set(names.key(), ("bb", "dddd", "a", "ee"))
        assert db.get(lengths) == (2, 4, 1, 2)
        assert calls[1:] == [["dddd", "ee"]]  # the others have their memos
    with Engine(tmp_path / "store") as db:
        assert db.get(lengths) == (2, 4, 1, 2)
        assert db.get(length, "ccc") == 3
        assert calls[2:] == []


def test_a_key_that_is_asked_for_alone_is_a_call_of_its_own() -> None:
    with Engine(None) as db:
        db.set(names.key(), ("a", "bb"))
        assert db.get(one_by_one) == 3
        assert calls == [["a"], ["bb"]]
    assert length("four") == 4  # without an engine too
    assert each(length, ["a", "bb"]) == (1, 2)
    assert calls[2:] == [["four"], ["a", "bb"]]


def test_a_key_that_fails_fails_alone() -> None:
    with Engine(None) as db:
        db.set(names.key(), ("a", "bad", "bb"))
        with pytest.raises(ValueError, match="bad"):
            db.get(lengths)
        assert calls == [["a", "bad", "bb"], ["a"], ["bad"], ["bb"]]
        assert db.get(length, "bb") == 2
        db.set(names.key(), ("a", "bb"))
        assert db.get(lengths) == (1, 2)
        assert len(calls) == 4


def test_members_of_a_fold_are_one_call() -> None:
    with Engine(None) as db:
        db.set(names.key(), ("a", "bb", "ccc"))
        assert db.get(total) == 6
        assert calls == [["a", "bb", "ccc"]]


def test_a_number_says_how_many_keys_a_call_takes_at_most() -> None:
    sizes: list[int] = []

    @query(name="batched:doubled", batch=4)
    def doubled(numbers: list[int]) -> list[int]:
        sizes.append(len(numbers))
        return [2 * number for number in numbers]

    @query(name="batched:all_doubled")
    def all_doubled() -> tuple[int, ...]:
        return each(doubled, range(10))

    with Engine(None) as db:
        assert db.get(all_doubled) == tuple(range(0, 20, 2))
        assert sizes == [4, 4, 2]


def test_a_value_for_each_key_and_nothing_read() -> None:
    @query(name="batched:short", batch=True)
    def short(numbers: list[int]) -> list[int]:
        return numbers[1:]

    @query(name="batched:nothing", batch=True)
    def nothing(numbers: list[int]) -> list[int]:
        returned: Any = None
        return returned  # type: ignore[no-any-return]  # that is what is tested

    @query(name="batched:reading", batch=True)
    def reading(numbers: list[int]) -> list[int]:
        return [number + len(names()) for number in numbers]

    with Engine(None) as db:
        with pytest.raises(WrongCount, match=r"keys: +1"):
            db.get(short, 1)
        with pytest.raises(WrongCount, match=r"returned: None"):
            db.get(nothing, 1)
        with pytest.raises(BadQuery, match="a query with batch= read batched:names"):
            db.get(reading, 1)


def test_a_value_of_the_wrong_type_is_the_failure_of_its_key() -> None:
    @query(name="batched:halves", batch=True)
    def halves(numbers: list[int]) -> list[int]:
        return [number / 2 if number == 3 else number // 2 for number in numbers]  # type: ignore[misc]  # on purpose

    @query(name="batched:some_halves")
    def some_halves() -> tuple[str, ...]:
        try:
            each(halves, (2, 3, 4))
        except Exception as error:  # whatever it is: the test names it
            return (type(error).__name__,)
        return ()

    with Engine(None) as db:
        assert db.get(some_halves) == ("WrongValue",)
        assert db.get(halves, 4) == 2


def test_two_threads_that_need_the_same_keys_run_each_once() -> None:
    meeting = threading.Barrier(2, timeout=600)
    seen: list[int] = []

    @query(name="batched:slow", batch=True)
    def slow(numbers: list[int]) -> list[int]:
        meeting.wait()
        seen.extend(numbers)
        return numbers

    @query(name="batched:some")
    def some(start: int) -> tuple[int, ...]:
        return each(slow, range(start, start + 10))

    with Engine(None) as db:
        threads = [threading.Thread(target=db.get, args=(some, start)) for start in (0, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == list(range(15))
        db.check_invariants()


@pytest.mark.parametrize("bad", [-1, "many"])
def test_what_is_no_number_of_keys_is_refused(bad: Any) -> None:
    with pytest.raises(BadQuery, match="batch="):

        @query(name="batched:bad", batch=bad)
        def none(numbers: list[int]) -> list[int]:
            return numbers


def test_a_function_of_two_arguments_cannot_take_many_keys() -> None:
    with pytest.raises(BadQuery, match="does not take one argument"):

        @query(name="batched:two", batch=True)  # type: ignore[arg-type]  # on purpose
        def two(numbers: list[int], further: int) -> list[int]:
            return numbers


# -- with worker processes -----------------------------------------------------------------------

TEXT = """
@query(workers="process", batch=True{options})
def square(numbers: list[int]) -> list[int]:
    note(f"call of {{len(numbers)}}")
    for n in numbers:
        {deed}
    return [n * n for n in numbers]

@query
def squares() -> int:
    return sum(each(square, range(40)))

@query
def survey() -> list[str]:
    found = []
    for n in range(40):
        try:
            found.append(str(square(n)))
        except Exception as error:
            found.append(type(error).__name__)
    return found
"""
WANTED = [str(n * n) if n != 5 else "" for n in range(40)]


def test_workers_get_fair_shares_and_what_is_stored_is_the_same(make: Make, tmp_path: Path) -> None:
    rules = make(TEXT.format(options="", deed="pass"))
    with Engine(tmp_path / "here") as db:
        assert db.get(rules.squares) == sum(n * n for n in range(40))
        here = graph_of(db)
        assert rules.noted()[0] == {"call of 40": 1}
    with Engine(tmp_path / "there", processes=2) as db:
        assert db.get(rules.squares) == sum(n * n for n in range(40))
        assert graph_of(db) == here
        assert rules.noted()[0] == {"call of 20": 2}
        assert db.counts().executed == 41


@pytest.mark.parametrize(
    ("deed", "options", "name"),
    [
        ("if n == 5: os.kill(os.getpid(), signal.SIGKILL)", "", "WorkerLost"),
        ("if n == 5: note('hangs'); time.sleep(3600)", ", timeout=600", "TimedOut"),
        ("if n == 5: raise ValueError(n)", "", "ValueError"),
        ("if n == 5: sys.exit(1)", ", name='batched:exits'", ""),
    ],
)
def test_of_a_call_that_does_not_end_well_only_the_key_that_caused_it_fails(
    make: Make, monkeypatch: pytest.MonkeyPatch, deed: str, options: str, name: str
) -> None:
    rules = make(TEXT.format(options=options, deed=deed))
    let_hang(monkeypatch, rules, "square(5)", "hangs")
    with Engine(None, processes=2) as db:
        if not name:
            with pytest.raises(SystemExit):
                db.get(rules.squares)
            assert db.get(rules.square, 6) == 36
            return
        with pytest.raises((WorkerLost, TimedOut, ValueError)) as caught:
            db.get(rules.squares)
        assert type(caught.value).__name__ == name
        if name == "ValueError":
            assert db.get(rules.survey) == [text or name for text in WANTED]
        else:
            assert [db.get(rules.square, n) for n in (4, 6, 39)] == [16, 36, 1521]
