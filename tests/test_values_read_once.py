"""A value that can be read only once is no value: who reads it second would find nothing in it."""

from __future__ import annotations

import io
from collections import OrderedDict, UserDict, UserList
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from attrs import frozen

from engine import Engine, UnstorableValue, input, query
from tests.values import self_containing


async def async_numbers() -> AsyncIterator[int]:
    yield 1


MADE: dict[str, Callable[[], object]] = {
    "generator": lambda: (number for number in (1, 2)),
    "map": lambda: map(int, "12"),
    "zip": lambda: zip("ab", "cd", strict=True),
    "list_iterator": lambda: iter([1, 2]),
    "StringIO": lambda: io.StringIO("a\nb\n"),
    "async_generator": lambda: async_numbers(),
}


@input
def made() -> str:
    return "tuple"


def once() -> Any:
    return MADE.get(made(), lambda: (1, 2))()


@pytest.fixture(params=[Any, None, object, Iterable[int], Iterator[int], Generator[int, None, None]])
def lines(request: pytest.FixtureRequest) -> Any:
    once.__annotations__["return"] = request.param
    return query(name="test_values_read_once:lines", persist=False)(once)


@pytest.mark.parametrize("kind", MADE)
def test_a_value_that_can_be_read_only_once_is_an_error_that_says_what_to_return(
    lines: Any, kind: str
) -> None:
    if once.__annotations__["return"] is None:
        del once.__annotations__["return"]

    @query
    def reader(number: int) -> int:
        return len(tuple(lines())) + number

    with Engine(None) as db:
        db.set(made.key(), kind)
        with db.snapshot() as view:
            for ask in (db, view):
                for number in (1, 2):  # the second one used to find nothing
                    with pytest.raises(UnstorableValue, match="it can be read only once") as caught:
                        ask.get(reader, number)
                    assert caught.value.fields["type"] == kind
                    assert "Return what is in it" in str(caught.value)


@frozen
class Holder:
    lines: Iterable[Any]


@pytest.mark.parametrize("said", [False, True])
@pytest.mark.parametrize(
    ("around", "annotation"),
    [
        (lambda one: (one,), tuple[Iterator[int], ...]),
        (lambda one: {"a": [one]}, dict[str, list[Iterable[int]]]),
        (Holder, Holder),
        (lambda one: [len, one], Any),
        (lambda one: {"f": len, "a": one}, Any),
        (lambda one: Holder((len, one)), Any),
        (lambda one: {one: 1}, Any),
        (lambda one: [len, {one: 1}], Any),
    ],
    ids=[
        "tuple",
        "dict",
        "record",
        "beside",
        "beside in dict",
        "beside in record",
        "key",
        "beside a key",
    ],
)
def test_it_is_one_too_inside_of_a_value(
    around: Callable[[object], object], annotation: Any, said: bool
) -> None:
    def holder() -> Any:
        return around(map(int, "12"))

    holder.__annotations__["return"] = annotation if said else Any
    holder = query(name="test_values_read_once:holder")(holder)

    with Engine(None) as db, db.snapshot() as view:
        for ask in (db, view):
            with pytest.raises(UnstorableValue, match="it can be read only once") as caught:
                ask.get(holder)
            assert caught.value.fields["inside"] in (
                "[0]",
                "['a'][0]",
                ".lines",
                "[1]",
                "['a']",
                ".lines[1]",
            ) or caught.value.fields["inside"].startswith(("[<map object", "[1][<map object"))


@pytest.mark.parametrize(
    ("made", "annotation"),
    [
        (lambda one: OrderedDict(a=one), Mapping[str, Iterable[int]]),
        (lambda one: UserDict(a=one), dict[str, Any]),
        (lambda one: UserList([one]), Sequence[Any]),
    ],
)
def test_it_is_one_too_inside_of_what_the_annotation_takes_for_a_list_or_a_dict(
    made: Callable[[object], object], annotation: Any
) -> None:
    def holder() -> Any:
        return made(map(int, "12"))

    holder.__annotations__["return"] = annotation
    holder = query(name="test_values_read_once:taken", persist=False)(holder)
    with Engine(None) as db, pytest.raises(UnstorableValue, match="it can be read only once") as caught:
        db.get(holder)
    assert "Return what is in it" in str(caught.value)


def test_a_coroutine_is_none_either() -> None:
    async def answer() -> int:
        return 1

    coroutine = answer()

    @query(persist=False)
    def asked() -> Any:
        return coroutine

    with Engine(None) as db, pytest.raises(UnstorableValue, match="it can be read only once") as caught:
        db.get(asked)
    coroutine.close()
    assert "Return what comes of it" in str(caught.value)


def test_what_contains_itself_is_gone_through_once() -> None:
    value = self_containing()

    @query(persist=False)
    def asked() -> Any:
        return value

    with Engine(None) as db:
        assert db.get(asked) is value


def test_it_heals_when_it_is_a_tuple(lines: Any) -> None:
    once.__annotations__["return"] = Any
    with Engine(None) as db:
        db.set(made.key(), "map")
        with pytest.raises(UnstorableValue):
            db.get(lines)
        db.set(made.key(), "tuple")
        assert db.get(lines) == (1, 2)
