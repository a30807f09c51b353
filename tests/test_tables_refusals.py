"""Rows, lookups and tables that cannot be, and the types of those that can: one claim a test."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import make_dataclass
from functools import partial
from types import ModuleType
from typing import Any, assert_type

import pytest
from attrs import frozen

from engine import Engine, EngineError, Set, Sum, fold, query, table
from engine.errors import BadFold, BadLookup, BadTable, UnfoldableValue, WrongValue
from engine.tables.lookup import MemberFailure
from tests.words import Word, paths, words


@frozen
class Loose:
    value: Any


def test_a_row_of_another_type_or_without_bytes_is_the_error_of_its_member_alone(db: Engine) -> None:
    @query
    def names() -> tuple[str, ...]:
        return ("fine", "wrong type", "wrong field", "no bytes", "not iterable")

    @table(each=names, index=("value",))
    def loose(name: str) -> Iterable[Loose]:
        if name == "not iterable":
            return 5  # type: ignore[return-value]  # the claim
        odd: dict[str, Any] = {"wrong type": Word("x", 1), "no bytes": Loose(object())}
        return [odd.get(name, Loose(1))]

    @table(each=names, index=("length",))
    def strict(name: str) -> Iterable[Word]:
        yield Word(name, "long" if name == "wrong field" else 4)  # type: ignore[arg-type]  # the claim

    assert db.get(loose.where) == (Loose(1), Loose(1))
    assert [(one.source, one.error.partition(":")[0]) for one in db.get(loose.failures)] == [
        ("'no bytes'", "UnstorableValue"), ("'not iterable'", "TypeError"), ("'wrong type'", "WrongValue"),
    ]  # fmt: skip
    assert db.get(strict.count, length=4) == 4
    with pytest.raises(WrongValue, match="wrong field") as error:
        db.get(strict.of, "wrong field")
    assert "length" in str(error.value)
    db.check_invariants()


@pytest.mark.parametrize(
    ("mode", "columns", "error", "says"),
    [
        ("where", {"size": 1}, BadLookup, "no such column"),
        ("where", {"text": 1}, WrongValue, "column"),
        ("where", {"length": "x"}, WrongValue, "length"),
        ("where", {"length": True}, WrongValue, "length"),
        ("starting", {}, BadLookup, "one column"),
        ("starting", {"length": 1}, BadLookup, "beginning"),
        ("starting", {"text": 1}, BadLookup, "beginning"),
        ("starting", {"text": "a", "length": 1}, BadLookup, "one column"),
    ],
)
def test_a_lookup_that_cannot_be_is_refused_with_its_reason(
    db: Engine, mode: str, columns: dict[str, Any], error: type[Exception], says: str
) -> None:
    lookup: Any = getattr(words, mode)
    for ask in (partial(db.get, lookup), lookup):
        with pytest.raises(error, match=says) as raised:
            ask(**columns)
        assert "words" in str(raised.value)


def test_a_column_without_index_is_refused_with_what_to_do() -> None:
    @table(each=paths, index=("text",))
    def half_indexed(path: str) -> Iterable[Word]:
        return ()

    with pytest.raises(BadLookup, match="not indexed") as error:
        half_indexed.count(length=1)
    assert 'index=(…, "length")' in str(error.value)
    with pytest.raises(BadLookup, match="not indexed"):
        half_indexed.column("length")


def test_what_cannot_be_a_table_is_refused_when_it_is_made() -> None:
    @frozen
    class Alike:
        name: str
        Name: str

    @frozen
    class Private:
        _hidden: int

    @query
    def with_arguments(at: int) -> tuple[str, ...]:
        return ()

    def two(a: str, b: str) -> Iterable[Word]:
        return ()

    def rows(path: str) -> Iterable[Word]:
        return ()

    def alike(path: str) -> Iterable[Alike]:
        return ()

    def private(path: str) -> Iterable[Private]:
        return ()

    def numbers(path: str) -> Iterable[int]:
        return ()

    def wide(path: str) -> Iterable[Any]:
        return ()

    async def later(path: str) -> Iterable[Word]:
        return ()

    async def one_by_one(path: str) -> AsyncIterator[Word]:
        yield Word(path, 1)

    rows_of: dict[str, tuple[Any, dict[str, Any]]] = {
        "not a function of one argument": (two, {}),
        "takes arguments": (rows, {"each": with_arguments}),
        "and no query": (rows, {"each": lambda: ("a",)}),
        "is async": (later, {}),
        "it is async": (one_by_one, {}),
        "no such column": (rows, {"index": ("size",)}),
        "two columns alike": (alike, {}),
        "_hidden": (private, {}),
        "attrs class": (numbers, {}),
        "1501 columns": (wide, {}),
    }
    classes = {"alike": Alike, "private": Private, "numbers": int}
    classes["wide"] = make_dataclass("Wide", [f"c{at}" for at in range(1_501)])
    for says, (function, options) in rows_of.items():
        row: Any = classes.get(function.__name__, Word)
        function.__annotations__ = {"return": Iterable[row]}  # classes in here are not found by their names
        with pytest.raises(BadTable, match=says):
            table(**{"each": paths, "index": (), **options})(function).where()


def test_a_table_of_a_script_is_refused_by_the_name_that_it_is_known_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def numbers(path: str) -> Iterable[int]:
        return ()

    script = ModuleType("__main__")
    script.__file__ = "/somewhere/lint.py"
    monkeypatch.setitem(sys.modules, "__main__", script)
    monkeypatch.setattr(numbers, "__module__", "__main__")
    wrong: Any = numbers
    with pytest.raises(BadTable) as error:
        table(each=paths)(wrong)
    assert error.value.fields["table"].startswith("lint:")


def test_lookups_have_the_types_of_their_rows(db: Engine) -> None:
    assert_type(words.where(text="x"), tuple[Word, ...])
    assert_type(words.first(), Word | None)
    assert_type(words.count(), int)
    assert_type(words.exists(), bool)
    assert_type(words.of("a"), tuple[Word, ...])
    assert_type(words("a"), tuple[Word, ...])
    assert_type(words.failures(), tuple[MemberFailure, ...])
    assert_type(db.get(words.where, text="x"), tuple[Word, ...])
    assert_type(db.get(words.first), Word | None)
    assert_type(db.get(words.key("a")), tuple[Word, ...])
    assert_type(list(words), list[Word])


@query
def lengths(key: str) -> int:
    return len(key)


def plain(key: str) -> int:
    return len(key)


TABLE: Any = table
FOLD: Any = fold


@pytest.mark.parametrize(
    ("mistake", "kind", "hint"),
    [
        (lambda: TABLE(plain), BadTable, "Say @table(each=keys"),
        (lambda: FOLD(paths, lengths, Sum()), BadTable, "Say fold(each=keys, of=length, into=Sum())"),
        (lambda: FOLD(each=paths, of=plain, into=Sum()), BadFold, "give `of=` that"),
        (lambda: TABLE(each=plain)(plain), BadTable, "give `each=` that"),
    ],
)
def test_what_is_given_in_another_form_is_told_with_the_form_that_is_taken(
    mistake: Callable[[], object], kind: type[EngineError], hint: str
) -> None:
    with pytest.raises(kind) as error:
        mistake()
    assert hint in error.value.hint


@pytest.mark.parametrize("into", [Sum(), Set(flatten=True)])
def test_a_value_that_cannot_be_folded_is_told_with_its_member(db: Engine, into: Any) -> None:
    @query
    def keys() -> tuple[str, ...]:
        return ("c", "b")

    @query
    def odd(key: str) -> Any:
        return Loose(key) if key == "b" else 1 if isinstance(into, Sum) else ()

    folded = fold(each=keys, of=odd, into=into, name="refusals:folded")
    for _ in range(2):
        with pytest.raises(UnfoldableValue) as error:
            db.get(folded)
        assert error.value.fields["member"].endswith("odd('b')")
    assert not db.audit(folded).differences
    assert not db.verify().differences
