"""Values of classes of every kind, and how to compare them exactly."""

from __future__ import annotations

import ast
import dataclasses
import enum
import os
import re
import struct
import subprocess
import sys
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, NewType, Protocol, TypedDict, TypeVar

import attrs
import msgspec


def stable(part: object) -> str:
    """A test id that is the same in every process: no addresses, no order of a set."""
    try:
        text = type(part).__name__ if isinstance(part, set | frozenset) else str(part)
    except RecursionError:  # a value that is too deep to be shown, which is what its test is about
        text = type(part).__name__
    return re.sub(r"0x[0-9a-f]+|\{.*\}", "…", text)[:50]


def printed_with_hash_seeds(program: str) -> set[bytes]:
    """What several processes print, each with another order of sets."""
    root = Path(__file__).resolve().parent.parent
    return {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            check=True,
            capture_output=True,
        ).stdout
        for seed in "0123"
    }


def self_containing() -> list[Any]:
    value: list[Any] = []
    value.extend((value, value))
    return value


def stray() -> Any:
    """A record with an attribute that is no field."""
    value = Loose(1)
    value.__dict__["other"] = 2
    return value


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

    __hash__ = None  # type: ignore[assignment]  # as Python has it


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


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def chain(levels: int) -> Tree[int]:
    value = Tree(0)
    for _ in range(levels):
        value = Tree(0, (value,))
    return value
