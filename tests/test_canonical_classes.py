"""Of classes only those come back that are known, with the fields that they have."""

from __future__ import annotations

import dataclasses
import sys
import typing
from typing import TypeVar

import msgspec
import pytest

from engine.store import canonical as module
from engine.store.canonical import UnknownClass, canonical, known, learn_annotation, restore
from tests.canonical_cases import Data, InField, Pair, Point, Word
from tests.values import Color, Tree


def test_an_unknown_class_is_named_and_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    data = canonical((Point(1), Color.RED))
    for cls in (Point, Color):  # as in a process that has not loaded them
        monkeypatch.delitem(sys.modules, cls.__module__, raising=False)
        kept = known.pop(f"{cls.__module__}:{cls.__name__}")
        try:
            with pytest.raises(UnknownClass, match=cls.__name__):
                restore(data)
        finally:
            module.learn(kept)
    home = Point.__module__.encode()
    evil = data.replace(b"Point", b"evil0").replace(home, b"antigravity"[: len(home)])
    with pytest.raises(ValueError, match=r".*"):
        restore(evil)
    assert "antigravity" not in sys.modules


def test_learning_an_annotation_learns_what_is_inside() -> None:
    known.clear()
    learn_annotation(typing.Optional[dict[str, tuple[Tree[InField], ...]]])  # noqa: UP045  # both spellings
    learn_annotation(Point | None)
    learn_annotation(typing.Literal[Word.RED, 1])
    names = {name.partition(":")[2] for name in known}
    assert names == {"Tree", "InField", "Data", "Color", "Point", "Word"}


def test_learning_survives_what_it_cannot_resolve() -> None:
    hidden = dataclasses.make_dataclass("Hidden", [("x", "Missing")], frozen=True)
    learn_annotation([hidden, "AlsoMissing", TypeVar("U"), typing.Callable[[int], Data]])
    learn_annotation(dict[str, hidden])  # type: ignore[valid-type]  # known when it runs
    assert f"{hidden.__module__}:Hidden" in known


def test_restoring_needs_the_same_fields() -> None:
    data = canonical((Pair(1, 2),))
    shorter = msgspec.msgpack.encode([f"{Pair.__module__}:Pair", "x", 1, "y"])
    for damaged in (
        data.replace(b"\xa1x", b"\xa1z"),
        msgspec.msgpack.encode([msgspec.msgpack.Ext(17, shorter)]),
    ):
        with pytest.raises(ValueError, match="fields"):
            restore(damaged)
