"""What type checkers see of the face: what works is no error, and values have the types that they have.

The claims are mypy's and pyright's to check (`make.py check`); that the same lines run is checked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import assert_type

from attrs import frozen

from engine import Count, Engine, Fold, NewValue, Set, Sum, Table, fold, input, query, table


@input
def sources() -> tuple[str, ...]:
    return ("a b", "b c")


@query
def words(source: str, separator: str = " ") -> tuple[str, ...]:
    return tuple(source.split(separator))


@query
def length(word: str) -> int:
    return len(word)


@frozen
class Word:
    text: str
    size: int


all_words = fold(each=sources, of=words, into=Set(flatten=True))


@table(each=all_words, index=("text",))  # the values of a fold
def sized(word: str) -> Iterable[Word]:
    yield Word(word, length(word))


size = fold(each=all_words, of=length, into=Sum())
of_a_table = fold(each=all_words, of=sized, into=Count(), name="of_a_table")
of_a_lookup = fold(each=all_words, of=sized.of, into=Count(), name="of_a_lookup")


def test_folds_take_the_queries_of_one_key_that_there_are_and_tables_the_values_of_a_fold() -> None:
    assert_type(all_words, Fold[frozenset[str]])
    assert_type(sized, Table[str, Word])
    assert_type(size, Fold[int])
    with Engine(None) as db:
        assert db.get(sized) == (Word("a", 1), Word("b", 1), Word("c", 1))
        assert [db.get(size), db.get(of_a_table), db.get(of_a_lookup)] == [3, 3, 3]


def test_who_subscribes_may_return_something_and_is_told_values_of_the_type_of_what_is_followed() -> None:
    told: dict[str, object] = {}

    def kept(name: str) -> Callable[[object], object]:
        return lambda value: told.setdefault(name, value)

    def text(digest: str) -> object:
        return told.setdefault("table", digest)

    def number(value: int) -> bool:
        return told.setdefault("fold", value) == value

    with Engine(None) as db:
        db.subscribe(size, number)
        db.subscribe(sized, text)
        db.subscribe(sized.where, lambda rows: told.setdefault("lookup", len(rows)))
        db.subscribe(sources, lambda several: told.setdefault("input", several.count("a")))
        db.subscribe(length.key("a"), kept("key"))
        db.listen(lambda event: event.what)
        db.set(sources, ("abcd",))
        assert type(told.pop("table")) is str
        assert told == {"fold": 4, "lookup": 1, "input": 0}


def test_changes_of_values_have_the_type_of_the_value() -> None:
    with Engine(None) as db:
        for new in db.changes(size, since="me"):
            assert_type(new, NewValue[int])
        for rows in db.changes(sized.where, since="me"):
            assert_type(rows, NewValue[tuple[Word, ...]])
        for one in db.changes(words.key("a"), since="me"):
            assert_type(one, NewValue[tuple[str, ...]])


def test_a_watch_is_subscribed_to_as_an_engine_is() -> None:
    with Engine(None) as db, db.watch() as watch:
        watch.subscribe(size, lambda value: value + 1)
        watch.subscribe(sized, lambda digest: digest.upper())
        watch.subscribe(sized.where, len)
        assert len(watch.watched) == 3
