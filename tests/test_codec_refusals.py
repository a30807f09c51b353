"""What has no bytes, or is not what its annotation says, is refused with its place: one claim a test."""

from __future__ import annotations

import array
import ast
import collections
import math
import random
import threading
import typing
from collections import abc
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import attrs
import pytest

from engine.errors import UnstorableValue, WrongValue
from engine.store import codec as module
from engine.store.codec import ValueCodec
from tests.values import (
    B,
    Closer,
    Color,
    Data,
    Entry,
    Hidden,
    HoldsTree,
    Limited,
    Longer,
    Loose,
    Mess,
    MutableStruct,
    Options,
    Other,
    Pair,
    Plain,
    Struct,
    Tree,
    UserId,
    Word,
    chain,
    deep,
    self_containing,
    stable,
    stray,
)


def made(cls: Any, *fields: Any) -> Any:
    """An instance that a type checker would refuse."""
    return cls(*fields)


WRONG: list[tuple[Any, Any, str]] = [
    *(
        (int, "x", ""),
        (int, True, ""),
        (int, 1.0, ""),
        (int, None, ""),
        (str, 1, ""),
        (str, b"a", ""),
        (bool, 1, ""),
    ),
    *(
        (float, "1", ""),
        (float, True, ""),
        (float, 10**400, ""),
        (None, 0, ""),
        (bytes, "a", ""),
        (str | None, 1, ""),
    ),
    *(
        (tuple[str, ...], ("a", 1), "[1]"),
        (tuple[int, ...], (1, True), "[1]"),
        (tuple[int, ...], [1], ""),
        (list[int], (1,), ""),
    ),
    *(
        (tuple[int, str], (1,), ""),
        (tuple[int, str], (1, 2), "[1]"),
        (tuple[str, ...], "ab", ""),
        (abc.Sequence[str], "ab", ""),
    ),
    *(
        (set[int], [1], ""),
        (frozenset[int], frozenset({"a"}), "{}"),
        (dict[str, int], {"a": "b"}, "['a']"),
        (dict[str, int], [], ""),
    ),
    *(
        (dict[int, int], {"a": 1}, "['a']"),
        (Entry, Other("a"), ""),
        (Entry, {"name": "a"}, ""),
        (Entry, None, ""),
    ),
    *(
        (Entry, made(Entry, 1), ".name"),
        (Entry, made(Entry, "a", False, ("b", 3)), ".tags[1]"),
        (list[Entry], [Entry("a"), 3], "[1]"),
    ),
    *(
        (Entry | Other, "x", ""),
        (Entry | Other, Struct(1), ""),
        (Entry | Other, made(Entry, 3), ".name"),
        (Data, made(Data, "x"), ".x"),
    ),
    *(
        (Mess, made(Mess, Struct(1)), ".either"),
        (Mess, made(Mess, None, (Entry("a"), 1)), ".nested[1]"),
        (Tree[int], made(Tree, 1, (Tree("a"),)), ".children[0].item"),
    ),
    *(
        (Pair, made(Pair, "a"), ".x"),
        (Pair, (1,), ""),
        (Color, "red", ""),
        (Color, Word.A, ""),
        (Word, "b", ""),
        (Literal[1], True, ""),
    ),
    *(
        (Literal["a"], "b", ""),
        (Options, {}, ""),
        (Options, {"depth": "a"}, "['depth']"),
        (Options, {"depth": 1, "other": 2}, ""),
    ),
    *(
        (datetime, date(2020, 1, 1), ""),
        (date, datetime(2020, 1, 1), ""),
        (str, datetime(2020, 1, 1), ""),
        (tuple[str, ...], (UUID(int=1),), "[0]"),
    ),
    *(
        (Decimal, 1, ""),
        (UUID, "a", ""),
        (Path, "a", ""),
        (str, Path("a"), ""),
        (tuple[str, ...], (Path("a"),), "[0]"),
    ),
    *(
        (int, lambda: 1, ""),
        (tuple[int, ...], (len,), "[0]"),
        (B, "a", ""),
        (UserId, "a", ""),
        (Struct, MutableStruct(1), ""),
    ),
    *(
        (Struct, made(Struct, "a"), ".x"),
        (Color | int, "red", ""),
        (complex, "1", ""),
        (tuple[()], (1,), ""),
        (str | bytes, 1, ""),
    ),
]


@pytest.mark.parametrize(("annotation", "value", "inside"), WRONG, ids=stable)
def test_what_the_annotation_does_not_admit_is_refused_with_its_place(
    annotation: Any, value: Any, inside: str
) -> None:
    with pytest.raises(WrongValue) as caught:
        ValueCodec(annotation).freeze(value)
    assert caught.value.fields.get("inside", "") == inside
    assert caught.value.fields["expected"]
    assert caught.value.fields["got"]


def test_a_constraint_of_a_field_is_kept() -> None:
    with pytest.raises(WrongValue, match="Expected `int` >= 1"):
        ValueCodec(Limited).freeze(Limited(-1))


UNSTORABLE: list[tuple[Any, Any, str | None]] = [
    *(
        (Any, lambda: 1, ""),
        (Any, [1, math], "[1]"),
        (Any, object(), ""),
        (Any, {"k": (len,)}, "['k'][0]"),
        (Any, iter([1]), ""),
    ),
    *(
        (Any, deep(10**5), None),
        (Any, self_containing(), None),
        (list, self_containing(), None),
        (list[Any], deep(10**5), None),
    ),
    *(
        (Tree[int], chain(10**5), None),
        (Tree, chain(10**5), None),
        (Entry, Longer("a"), ""),
        (tuple[Entry, ...], (Longer("a"),), "[0]"),
    ),
    *(
        (Entry | Other, Longer("a"), ""),
        (Any, int, ""),
        (Any, ValueError(), ""),
        (Any, array.array("b"), ""),
        (Any, Plain(), ""),
    ),
    *(
        (Loose, stray(), ""),
        (Any, stray(), ""),
        (ast.AST | int, ast.parse("1"), ""),
        (set[abc.Set[int]], {frozenset({1})}, ""),
    ),
    *((abc.Iterable[int], iter([1]), ""), (Hidden, Hidden(len), ".x")),
]


@pytest.mark.parametrize(("annotation", "value", "inside"), UNSTORABLE, ids=stable)
def test_what_has_no_bytes_says_where(annotation: Any, value: Any, inside: str | None) -> None:
    with pytest.raises(UnstorableValue) as caught:
        ValueCodec(annotation).freeze(value)
    assert caught.value.fields["reason"]
    assert inside is None or caught.value.fields.get("inside", "") == inside


def test_a_value_of_a_class_below_the_annotated_one_says_how_to_annotate_it() -> None:
    with pytest.raises(UnstorableValue, match=r"write Entry \| Longer"):
        ValueCodec(tuple[Entry, ...]).freeze((Longer("a"),))


@attrs.frozen(eq=False)
class Named:
    """Equal to all that have its number, whatever else these have."""

    number: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and self.number == other.number

    def __hash__(self) -> int:
        return self.number


@attrs.frozen(eq=False)
class Described(Named):
    text: str = "a"


@attrs.frozen
class Holder:
    held: Named = attrs.field(eq=False)


@attrs.frozen
class Folded:
    held: Entry = attrs.field(eq=lambda held: held.name)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Named, Described(1)),
        (tuple[Named, ...], (Named(1), Described(1))),
        (Holder, Holder(Described(1))),
        (Folded, Folded(Longer("a"))),
    ],
)
def test_nor_is_it_taken_for_one_of_the_annotated_class_where_it_says_that_it_is_equal(
    annotation: Any, value: Any
) -> None:
    with pytest.raises(UnstorableValue, match=r"write \w+ \| "):
        ValueCodec(annotation).freeze(value)


@dataclass(init=False)
class Dice(random.Random):
    text: str = "a"


def test_a_record_over_a_class_written_in_c_is_more_than_its_fields() -> None:
    assert "neither a builtin nor" in ValueCodec(Dice).why_not
    with pytest.raises(UnstorableValue):
        ValueCodec(Any).freeze(Dice(1))


def test_an_open_file_is_unstorable(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as stream, pytest.raises(UnstorableValue):
        ValueCodec(Any).freeze(stream)


@pytest.mark.parametrize(
    "annotation",
    [
        *(ast.AST, ast.Module, abc.Callable[[], int], typing.TextIO, typing.IO[str], abc.Iterator[int]),
        *(abc.Generator[int, None, None], type, type[int], Plain, Closer, tuple[ast.AST, ...], list[Plain]),
        *(dict[str, ast.AST], HoldsTree, ast.AST | Plain, memoryview, typing.NoReturn, Exception, range),
        *(collections.deque[int], collections.OrderedDict[str, int], threading.Thread, tuple[int, Plain]),
    ],
    ids=stable,
)
def test_annotations_that_cannot_be_stored_are_known_before_any_value(annotation: Any) -> None:
    codec = ValueCodec(annotation)
    assert not codec.storable
    assert not codec.shareable
    assert codec.why_not
    assert ValueCodec(annotation, pickled=True).storable


def test_a_value_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VALUE_BYTES", 1000)
    for annotation, value in ((bytes, b"x" * 1000), (tuple[str, ...], ("x" * 1000,)), (Any, ["x" * 1000])):
        with pytest.raises(UnstorableValue, match="1000 bytes"):
            ValueCodec(annotation).freeze(value)
        ValueCodec(annotation).freeze(value[:0])
