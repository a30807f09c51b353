"""Values have canonical bytes under their annotation, and readers see what they would see after a restart."""

from __future__ import annotations

import array
import ast
import collections
import contextlib
import dataclasses
import enum
import inspect
import math
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import threading
import typing
from collections import abc
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath
from types import MappingProxyType
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import UnstorableValue, WrongValue
from engine.store import codec as module
from engine.store.canonical import UnknownClass, known
from engine.store.codec import DamagedValue, ValueCodec, fingerprint


def stable(part: object) -> str:
    """A test id that is the same in every process: no addresses, no order of a set."""
    try:
        text = type(part).__name__ if isinstance(part, set | frozenset) else str(part)
    except RecursionError:  # a value that is too deep to be shown, which is what its test is about
        text = type(part).__name__
    return re.sub(r"0x[0-9a-f]+|\{.*\}", "…", text)[:50]


T = TypeVar("T")
B = TypeVar("B", bound=int)
UserId = NewType("UserId", int)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Word(enum.StrEnum):
    A = "a"


class Number(enum.IntEnum):
    ONE = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Mixed(enum.Enum):
    INT = 1
    TEXT = "x"
    PAIR = (1, 2)


@attrs.frozen
class Entry:
    name: str
    is_dir: bool = False
    tags: tuple[str, ...] = ()


@attrs.frozen
class Longer(Entry):
    more: int = 0


@attrs.frozen
class Other:
    text: str


@attrs.define
class Mutable:
    x: int


@attrs.frozen
class WithList:
    items: list[int]


@attrs.frozen(slots=False)
class Loose:
    x: int

    @cached_property
    def double(self) -> int:
        return 2 * self.x


@attrs.frozen(cache_hash=True)
class Hashed:
    x: int


def negated(value: int) -> int:
    return -value


@attrs.frozen
class Private:
    _secret: int = attrs.field(converter=negated)
    _late: int = attrs.field(init=False, default=7)


@attrs.frozen
class Hooked:
    x: int
    twice: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "x", self.x + 1)
        object.__setattr__(self, "twice", self.x * 2)


@attrs.frozen(eq=False)
class NoEq:
    x: int


@attrs.frozen
class BadEq:
    x: int

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


@dataclasses.dataclass(frozen=True)
class Data:
    x: float
    when: date | None = None


@dataclasses.dataclass
class MutableData:
    x: int


class Struct(msgspec.Struct, frozen=True):
    x: int
    y: str = "y"


class MutableStruct(msgspec.Struct):
    x: int


class Limited(msgspec.Struct, frozen=True):
    x: Annotated[int, msgspec.Meta(gt=0)]


class Pair(NamedTuple):
    x: int
    y: str = ""


class Depth(TypedDict):
    depth: int


class Options(Depth, total=False):
    name: str


@attrs.frozen
class Tree(Generic[T]):
    item: T
    children: tuple[Tree[T], ...] = ()


@attrs.frozen
class Mess:
    either: Entry | Other | None
    nested: tuple[Entry | Other, ...] = ()


@attrs.frozen
class Hidden:
    x: Missing  # type: ignore[name-defined]  # noqa: F821


@attrs.frozen
class HoldsTree:
    tree: ast.AST


class Plain:
    pass


class Closer(Protocol):
    def close(self) -> None: ...


def exact(value: Any) -> str:
    """A text that is equal only where types, signs of zero, NaN bits, offsets and so on are."""
    kind = type(value)
    if isinstance(value, (tuple, list)):
        inside = ",".join(map(exact, value))
    elif isinstance(value, (set, frozenset)):
        inside = ",".join(sorted(map(exact, value)))
    elif isinstance(value, dict):
        inside = ",".join(sorted(map(exact, value.items())))
    elif isinstance(value, float):
        inside = struct.pack("d", value).hex()
    elif isinstance(value, complex):
        inside = exact(value.real) + exact(value.imag)
    elif attrs.has(kind):
        inside = exact([getattr(value, field.name) for field in attrs.fields(kind)])
    elif dataclasses.is_dataclass(kind):
        inside = exact([getattr(value, field.name) for field in dataclasses.fields(kind)])
    elif isinstance(value, msgspec.Struct):
        inside = exact(msgspec.structs.astuple(value))
    else:
        inside = repr(value)  # exact for the other builtins
    return f"{kind.__qualname__}({inside})"


def same(left: Any, right: Any) -> bool:
    return exact(left) == exact(right)


def check(annotation: Any, value: Any, expected: Any = inspect.Parameter.empty) -> bytes:
    """`value` settles as `expected` (itself by default), and a new process would see the same."""
    expected = value if expected is inspect.Parameter.empty else expected
    codec = ValueCodec(annotation)
    assert codec.storable, codec.why_not
    data, seen = codec.settle(value)
    assert same(seen, expected), (seen, expected)
    assert same(ValueCodec(annotation).decode(data), seen)
    assert codec.encode(seen) == data
    assert codec.encode(value) == data
    return data


BERLIN = timezone(timedelta(hours=2))
EXACT: list[tuple[Any, Any]] = [
    *(
        (int, 0),
        (int, -5),
        (int, 2**63 - 1),
        (int, 2**64),
        (int, -(2**200)),
        (bool, True),
        (type(None), None),
    ),
    *(
        (None, None),
        (float, 1.5),
        (float, -0.0),
        (float, math.nan),
        (float, -math.inf),
        (complex, complex(-0.0, 2)),
    ),
    *(
        (complex, complex(math.nan, 1)),
        (str, ""),
        (str, "é"),
        (str, "\udcff"),
        (bytes, b"\x00"),
        (bytearray, bytearray(b"x")),
    ),
    *(
        (str | None, "a"),
        (str | None, None),
        (int | float, 1),
        (int | float, 1.0),
        (int | str, "1"),
        (bytes | str, b""),
    ),
    *((Optional[int], 3), (Union[int, str], 2**70), (Decimal, Decimal("1.0")), (Decimal, Decimal("NaN"))),  # noqa: UP007, UP045
    *((Decimal, Decimal("sNaN3")), (UUID, UUID(int=3)), (date, date(1, 1, 1)), (timedelta, timedelta.min)),
    *(
        (datetime, datetime(2020, 1, 1)),
        (datetime, datetime(2020, 1, 1, 9, tzinfo=UTC)),
        (time, time(1, fold=1)),
    ),
    *(
        (datetime, datetime(2020, 1, 1, 9, tzinfo=BERLIN)),
        (tuple[datetime, ...], (datetime(2020, 1, 1, 9, fold=1),)),
    ),
    *(
        (Path, Path("a/b")),
        (PurePosixPath, PurePosixPath("a")),
        (Path, Path("\udcff")),
        (tuple[Path, ...], (Path("a"),)),
    ),
    *(
        (Color, Color.RED),
        (Word, Word.A),
        (Number, Number.ONE),
        (Access, Access.READ | Access.WRITE),
        (Mixed, Mixed.PAIR),
    ),
    *(
        (Mixed, Mixed.INT),
        (Color | str, "red"),
        (Color | str, Color.RED),
        (Literal[1, "a"], 1),
        (Literal[1, "a"], "a"),
    ),
    *(
        (Literal[True, 0], True),
        (Literal[Color.RED], Color.RED),
        (tuple[()], ()),
        (tuple[int, str], (1, "a")),
    ),
    *(
        (tuple[int, ...], ()),
        (tuple[float, ...], (1.0, math.nan, -0.0)),
        (tuple[str, ...], ("a", "\udcff", "b")),
    ),
    *((tuple[int, ...], (1, 2**100)), (list[int], [1]), (list[list[str]], [["a"], []]), (set[int], {1, 2})),
    *(
        (set[float], {1.0, math.inf}),
        (frozenset[str], frozenset("abc")),
        (frozenset[int | None], frozenset({None, 1})),
    ),
    *(
        (frozenset[frozenset[str]], frozenset({frozenset("ab"), frozenset("a")})),
        (set[Entry], {Entry("a"), Entry("b")}),
    ),
    *(
        (dict[str, int], {"a": 1, "b": 2}),
        (dict[int, str], {1: "a", 2: "b"}),
        (dict[tuple[int, str], Entry], {(1, "a"): Entry("a")}),
    ),
    *(
        (dict[str | None, int], {None: 1, "a": 2}),
        (dict[str, list[Entry]], {"a": [Entry("x")]}),
        (dict[Color, int], {Color.RED: 1}),
    ),
    *(
        (abc.Sequence[int], [1]),
        (abc.Mapping[str, int], {"a": 1}),
        (abc.Set[int], {1}),
    ),
    (typing.List[int], [1]),  # noqa: UP006
    *(
        (Entry, Entry("a", True, ("x", "y"))),
        (tuple[Entry, ...], (Entry("a"), Entry("\udce9"))),
        (Mutable, Mutable(1)),
    ),
    *(
        (WithList, WithList([1, 2])),
        (Loose, Loose(1)),
        (Hashed, Hashed(1)),
        (Private, Private(1)),
        (Hooked, Hooked(1)),
    ),
    *(
        (NoEq, NoEq(1)),
        (BadEq, BadEq(1)),
        (Data, Data(1.5, date(2020, 1, 1))),
        (Data, Data(math.nan)),
        (MutableData, MutableData(1)),
    ),
    *(
        (Struct, Struct(1)),
        (MutableStruct, MutableStruct(2)),
        (Limited, Limited(1)),
        (Pair, Pair(1, "a")),
        (Pair | Entry, Pair(1)),
    ),
    *(
        (Options, {"depth": 1}),
        (Options, {"depth": 1, "name": "a"}),
        (Tree[int], Tree(1, (Tree(2),))),
        (Tree, Tree("a")),
    ),
    *(
        (Tree[Entry | Other], Tree[Entry | Other](Entry("a"), (Tree(Other("b")),))),
        (Mess, Mess(Other("a"), (Entry("b"), Other("c")))),
    ),
    *(
        (Entry | Other, Entry("a")),
        (Entry | Other | None, None),
        (Entry | Struct | Data | Pair, Struct(1)),
        (Entry | int | str, 3),
    ),
    *((tuple[Entry | Other, ...], (Entry("a"), Other("b"))), (dict[str, Entry | Other], {"a": Other("b")})),
    *(
        (tuple[int, ...] | frozenset[int], frozenset({1})),
        (list[int] | list[str], ["a"]),
        (datetime | str, "2020-01-01"),
    ),
    *(
        (datetime | date, date(2020, 1, 1)),
        (UUID | str, str(UUID(int=3))),
        (bytes | bytearray, bytearray(b"a")),
    ),
    *(
        (Annotated[int, "doc"], 1),
        (Final[int], 1),
        (UserId, UserId(1)),
        (B, 3),
        (typing.LiteralString, "a"),
        (tuple, (1, "a")),
    ),
    *(
        (list, [1, (2,)]),
        (dict, {1: "a", (2,): None}),
        (Hidden, Hidden(3)),
        (enum.Enum, Color.RED),
        (abc.Hashable, (1,)),
    ),
    *(
        (abc.Iterable[int], (1, 2)),
        (tuple[Any, ...], (1, True, 1.0, (2,), [3])),
        (dict[str, object], {"a": (1, [Entry("x")])}),
    ),
]
ANY_VALUES: list[Any] = [value for _, value in EXACT]


@pytest.mark.parametrize(("annotation", "value"), EXACT, ids=stable)
def test_a_value_comes_back_exactly(annotation: Any, value: Any) -> None:
    check(annotation, value)


@pytest.mark.parametrize("annotation", [Any, object, inspect.Parameter.empty, T], ids=stable)
@pytest.mark.parametrize("value", ANY_VALUES, ids=stable)
def test_without_an_annotation_every_type_is_kept(annotation: Any, value: Any) -> None:
    check(annotation, value)
    check(annotation, (value, [value]))


class Text(str):
    pass


NORMALISED: list[tuple[Any, Any, Any]] = [
    *(
        (float, 1, 1.0),
        (float, 2**63, 2.0**63),
        (complex, 1, 1 + 0j),
        (tuple[float, ...], (1, 2.5), (1.0, 2.5)),
    ),
    *(
        (str, Text("a"), "a"),
        (str, Word.A, "a"),
        (int, Number.ONE, 1),
        (tuple[str, ...], (Text("a"), Word.A), ("a", "a")),
    ),
    *(
        (float | None, 3, 3.0),
        (Data, Data(1), Data(1.0)),
        (frozenset[float], frozenset({1, 2.5}), frozenset({1.0, 2.5})),
    ),
    *(
        (abc.Sequence[int], (1, 2), [1, 2]),
        (abc.Sequence[int], range(2), [0, 1]),
        (abc.Set[int], frozenset({1}), {1}),
    ),
    *(
        (abc.Mapping[str, int], MappingProxyType({"a": 1}), {"a": 1}),
        (dict[str, int], collections.Counter("a"), {"a": 1}),
    ),
    *((dict[str, int], collections.OrderedDict(a=1), {"a": 1}), (tuple[int, str], Pair(1, "a"), (1, "a"))),
    *(
        (Pair, (1, "a"), Pair(1, "a")),
        (Word, "a", Word.A),
        (Number, 1, Number.ONE),
        (frozenset[int], {1}, frozenset({1})),
    ),
    *((bytes, bytearray(b"a"), b"a"), (bytes, memoryview(b"a"), b"a"), (Path, PurePosixPath("a"), Path("a"))),
    *(
        (PurePath, Path("a"), PurePosixPath("a")),
        (abc.Mapping[int, float], MappingProxyType({1: 2}), {1: 2.0}),
    ),
    (abc.Sequence[Entry | Other], (Entry("a"),), [Entry("a")]),
]


@pytest.mark.parametrize(("annotation", "value", "seen"), NORMALISED, ids=stable)
def test_readers_see_the_annotated_type(annotation: Any, value: Any, seen: Any) -> None:
    data = check(annotation, value, seen)
    assert ValueCodec(annotation).encode(seen) == data


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
        ValueCodec(annotation).settle(value)
    assert caught.value.fields.get("inside", "") == inside
    assert caught.value.fields["expected"]
    assert caught.value.fields["got"]


def test_a_constraint_of_a_field_is_kept() -> None:
    with pytest.raises(WrongValue, match="Expected `int` >= 1"):
        ValueCodec(Limited).settle(Limited(-1))


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def self_containing() -> list[Any]:
    value: list[Any] = []
    value.extend((value, value))
    return value


def chain(levels: int) -> Tree[int]:
    value = Tree(0)
    for _ in range(levels):
        value = Tree(0, (value,))
    return value


def stray() -> Any:
    value = Loose(1)
    value.__dict__["other"] = 2
    return value


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
        ValueCodec(annotation).settle(value)
    assert caught.value.fields["reason"]
    assert inside is None or caught.value.fields.get("inside", "") == inside


def test_an_open_file_is_unstorable(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as stream, pytest.raises(UnstorableValue):
        ValueCodec(Any).settle(stream)


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


SHAREABLE = [
    *(
        int,
        str,
        float,
        bool,
        bytes,
        None,
        complex,
        Decimal,
        UUID,
        datetime,
        date,
        time,
        timedelta,
        Path,
        PurePath,
        Color,
    ),
    *(
        Access,
        Literal[1, "a"],
        str | None,
        tuple[()],
        tuple[int, ...],
        tuple[Entry, ...],
        frozenset[str],
        Entry,
        Data,
        Struct,
    ),
    *(
        Pair,
        Tree[int],
        Tree[Entry | Other],
        Mess,
        Entry | Other | None,
        UserId,
        B,
        Annotated[int, "x"],
        Final[str],
        Loose,
    ),
]
NOT_SHAREABLE = [
    *(
        list[int],
        dict[str, int],
        set[int],
        bytearray,
        abc.Mapping[str, int],
        abc.Sequence[int],
        abc.Set[int],
        Any,
        object,
    ),
    *(
        inspect.Parameter.empty,
        T,
        tuple,
        frozenset,
        tuple[list[int], ...],
        Mutable,
        MutableData,
        MutableStruct,
        WithList,
    ),
    *(
        Tree,
        Tree[list[int]],
        Tree[Mutable],
        Options,
        tuple[Any, ...],
        Hidden,
        Entry | list[int],
        ast.AST,
        ast.AST | None,
        "Entry",
    ),
]


@pytest.mark.parametrize("annotation", SHAREABLE, ids=stable)
def test_immutable_annotations_are_shareable(annotation: Any) -> None:
    assert ValueCodec(annotation).shareable


@pytest.mark.parametrize("annotation", NOT_SHAREABLE, ids=stable)
def test_annotations_with_something_mutable_are_not_shareable(annotation: Any) -> None:
    assert not ValueCodec(annotation).shareable


def test_what_a_reader_or_the_query_changes_later_reaches_nobody() -> None:
    kept = {"b": [1], "a": [2]}
    codec = ValueCodec(dict[str, list[int]])
    data, seen = codec.settle(kept)
    kept["b"].append(5)
    assert seen == {"a": [2], "b": [1]}
    seen["a"].append(6)
    assert codec.decode(data) == {"a": [2], "b": [1]}


@pytest.mark.parametrize(
    "annotation", [dict[str, int], abc.Mapping[str, int], dict[str, Any], Any, dict[str | None, int]]
)
def test_readers_see_dicts_in_sorted_order(annotation: Any) -> None:
    codec = ValueCodec(annotation)
    data, seen = codec.settle({"b": 1, "aa": 2, "c": 3})
    assert codec.encode({"c": 3, "aa": 2, "b": 1}) == data
    assert list(seen) == list(codec.decode(data))
    assert annotation == dict[str | None, int] or list(seen) == ["aa", "b", "c"]


def test_values_that_differ_have_other_bytes() -> None:
    codec = ValueCodec(Any)
    seen: dict[bytes, str] = {}
    for value in ANY_VALUES:
        assert seen.setdefault(codec.encode(value), exact(value)) == exact(value)
    assert len({ValueCodec(float).encode(value) for value in (0.0, -0.0, 1.0, math.nan)}) == 4
    assert ValueCodec(float).encode(math.nan) == ValueCodec(float).encode(float("nan"))
    assert ValueCodec(tuple[float, ...]).encode((math.nan,)) == ValueCodec(tuple[float, ...]).encode(
        (float("nan"),)
    )
    assert len({codec.encode(value) for value in (1, True, 1.0, "1", (1,), [1], {1}, frozenset({1}))}) == 8


def test_a_cached_property_does_not_change_the_bytes() -> None:
    codec, value = ValueCodec(tuple[Loose, ...]), Loose(3)
    before = codec.encode((value,))
    assert value.double == 6
    assert codec.encode((value,)) == before


def test_a_directory_with_undecodable_names_survives() -> None:
    names = [os.fsdecode(name) for name in (b"a.py", b"caf\xe9.py", "é".encode())]
    check(tuple[Entry, ...], tuple(Entry(name) for name in names))
    check(dict[str, Entry], {name: Entry(name) for name in names})


def test_a_value_settles_alike_however_deep_its_caller_stands() -> None:
    codec, value = ValueCodec(Tree[int]), chain(250)
    data, _ = codec.settle(value)

    def far_down(levels: int) -> None:
        if levels:
            return far_down(levels - 1)
        assert codec.encode(value) == data
        assert codec.decode(data).children
        return None

    far_down(sys.getrecursionlimit() - 250)


def test_a_value_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VALUE_BYTES", 1000)
    for annotation, value in ((bytes, b"x" * 1000), (tuple[str, ...], ("x" * 1000,)), (Any, ["x" * 1000])):
        with pytest.raises(UnstorableValue, match="1000 bytes"):
            ValueCodec(annotation).settle(value)
        ValueCodec(annotation).settle(value[:0])


def local(field: str) -> Any:
    return attrs.make_class("Local", {field: attrs.field(type=int)}, frozen=True)


def test_two_classes_of_one_name_do_not_meet() -> None:
    first, second = local("x"), local("x")
    for cls in (first, second, first):
        for annotation, value in ((cls, cls(2**70)), (cls | Other, cls(1)), (tuple[cls, ...], (cls(2**70),))):  # type: ignore[valid-type]
            data, seen = ValueCodec(annotation).settle(value)
            assert seen == value == ValueCodec(annotation).decode(data)


def test_only_classes_of_the_annotation_are_made() -> None:
    entries = ValueCodec(Entry | Other)
    with pytest.raises(DamagedValue) as caught:
        entries.decode(ValueCodec(Any).encode(Longer("a")))
    assert isinstance(caught.value.__cause__, UnknownClass)
    with pytest.raises(DamagedValue, match="expected"):
        entries.decode(ValueCodec(Any).encode(3))
    with pytest.raises(DamagedValue, match="name"):
        entries.decode(ValueCodec(Any).encode(Entry(3)))  # type: ignore[arg-type]


def test_without_annotation_an_unknown_class_is_damage_with_a_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ValueCodec(Any).encode(Other("a"))
    monkeypatch.delitem(sys.modules, __name__)  # as in a process that has not loaded it
    kept = known.pop(f"{__name__}:Other")
    try:
        with pytest.raises(DamagedValue) as caught:
            ValueCodec(Any).decode(data)
        assert isinstance(caught.value.__cause__, UnknownClass)
    finally:
        known[f"{__name__}:Other"] = kept


class Canary:
    def __reduce__(self) -> Any:
        return (setattr, (Plain, "seen", True))


def test_pickle_is_used_only_by_who_asks_for_it() -> None:
    asked = ValueCodec(Any, pickled=True)
    value = ast.parse("x = 1")
    data, seen = asked.settle(value)
    assert ast.dump(seen) == ast.dump(value) == ast.dump(asked.decode(data))
    assert seen is not value
    with pytest.raises(UnstorableValue):
        asked.settle(lambda: 1)
    with pytest.raises(UnstorableValue):
        asked.settle(deep(10**5))
    assert ValueCodec(ast.AST, pickled=True).settle(value)[0]
    with pytest.raises(WrongValue):
        ValueCodec(int, pickled=True).settle("x")
    evil = pickle.dumps(Canary(), 5)
    for annotation in (Any, int, str, bytes, Entry, Entry | Other, list[int]):
        for payload in (evil, b"\xc1\x02" + evil, b"\xc1\x01" + evil, data):
            with pytest.raises(DamagedValue):
                ValueCodec(annotation).decode(payload)
    for payload in (b"", b"\xc1\x02", b"\xc1\x02garbage", ValueCodec(Any).encode(1)):
        with pytest.raises(DamagedValue):
            asked.decode(payload)
    assert not hasattr(Plain, "seen")


def test_mutated_bytes_are_damaged_or_another_value() -> None:
    source = random.Random(7)
    cases = [(ValueCodec(annotation), ValueCodec(annotation).encode(value)) for annotation, value in EXACT]
    cases += [(ValueCodec(Any), ValueCodec(Any).encode([value])) for value in ANY_VALUES]
    before = set(sys.modules)
    for _ in range(30_000):
        codec, original = source.choice(cases)
        data = bytearray(original)
        for _ in range(source.randint(1, 4)):
            where = source.randrange(len(data) + 1)
            match source.randrange(3):
                case 0:
                    data[where : where + 1] = source.randbytes(1)
                case 1:
                    del data[where:]
                    data += source.randbytes(2)
                case _:
                    data[where:where] = source.randbytes(source.randint(1, 3))
        with contextlib.suppress(DamagedValue):
            seen = codec.decode(bytes(data))
            codec.settle(seen)  # what was decoded fits the annotation
    assert set(sys.modules) == before


HOSTILE = [
    *(
        b"",
        b"\xc1",
        b"\xc1\x01",
        b"\xc1\x01\xc1",
        b"\x91" * 10**5,
        b"\xc1\x01" + b"\x91" * 10**5,
        b"\xdd\xff\xff\xff\xff",
    ),
    *(
        b"\xc1\x01\xdd\xff\xff\xff\xff",
        b"\xdd\x0f\xff\xff\xff" * 900,
        b"\xc1\x01\x80",
        b"\xd6\xff\x00\x00\x00\x01",
    ),
]


@pytest.mark.parametrize("data", HOSTILE, ids=lambda data: data[:8].hex())
def test_hostile_bytes_are_damaged(data: bytes) -> None:
    for annotation in (
        Any,
        int,
        str,
        Entry,
        Entry | Other,
        list[int],
        Tree[int],
        dict[int, str],
        datetime,
        Path,
    ):
        with pytest.raises(DamagedValue):
            ValueCodec(annotation).decode(data)


def test_fingerprints_are_128_bits_of_blake3() -> None:
    assert fingerprint(b"").hex() == "af1349b9f5f9a1a6a0404dea36dcc949"
    assert len(fingerprint(b"x" * 10**6)) == module.FINGERPRINT_BYTES == 16


texts = st.text(st.characters())
entries = st.builds(Entry, texts, st.booleans(), st.lists(texts, max_size=3).map(tuple))
CASES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, st.floats()),
    (str, texts),
    (tuple[Entry, ...], st.lists(entries, max_size=4).map(tuple)),
    (
        dict[str, tuple[int, ...]],
        st.dictionaries(texts, st.lists(st.integers(), max_size=3).map(tuple), max_size=4),
    ),
    (frozenset[str], st.frozensets(texts)),
    (list[Entry | Other | int], st.lists(st.one_of(entries, st.builds(Other, texts), st.integers()))),
    (
        tuple[datetime | None, Decimal, Path],
        st.tuples(st.one_of(st.none(), st.datetimes()), st.decimals(), st.just(Path("a"))),
    ),
    (Data, st.builds(Data, st.floats(), st.one_of(st.none(), st.dates()))),
    (set[tuple[int, float]], st.sets(st.tuples(st.integers(), st.floats()))),
]


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(CASES).flatmap(lambda case: st.tuples(st.just(case[0]), case[1])))
def test_any_value_of_an_annotation_comes_back(case: tuple[Any, Any]) -> None:
    annotation, value = case
    check(annotation, value)
    check(Any, value)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from([annotation for annotation, _ in EXACT]), st.binary(max_size=100), st.booleans())
def test_any_bytes_are_damaged_or_a_value(annotation: Any, data: bytes, tagged: bool) -> None:
    codec = ValueCodec(annotation)
    with contextlib.suppress(DamagedValue):
        codec.settle(codec.decode(b"\xc1\x01" + data if tagged else data))


PROGRAM = """
from typing import Any
from engine.store.codec import ValueCodec
names = [f"name{i}" for i in range(50)]
values = [
    (set[str], set(names)),
    (frozenset[str | None], frozenset([*names, None])),
    (Any, {n: {n} for n in set(names)}),
    (set[frozenset[str]], {frozenset(names[i:i+3]) for i in range(40)}),
    (dict[str, set[str]], {n: set(names) for n in set(names)}),
    (frozenset[tuple[str, int]], frozenset((n, 1) for n in names)),
    (set[float], {i / 3 for i in range(40)}),
]
print([ValueCodec(annotation).encode(value).hex() for annotation, value in values])
print([list(ValueCodec(annotation).settle(value)[1]) for annotation, value in values[2:5:2]])
"""


def test_every_process_makes_the_same_bytes() -> None:
    root = Path(__file__).resolve().parent.parent
    seen = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in "0123"
    }
    assert len(seen) == 1
