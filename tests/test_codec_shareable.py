"""Whether readers can share one value is known from its annotation."""

from __future__ import annotations

import ast
import inspect
from collections import abc
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import pytest

from engine.store.codec import ValueCodec
from tests.values import (
    Access,
    B,
    Color,
    Data,
    Entry,
    Hidden,
    Loose,
    Mess,
    Mutable,
    MutableData,
    MutableStruct,
    Options,
    Other,
    Pair,
    Struct,
    T,
    Tree,
    UserId,
    WithList,
    stable,
)

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
