"""A table whose columns are of other types than in the run before is built anew: old rows are not misread."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from pathlib import Path
from types import GenericAlias
from typing import Any, Literal, NewType, Optional

import attrs
import pytest

from engine import Engine, query, table
from engine.script import module_name
from engine.tables.row_shape import row_shape


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


def colors(*names: str) -> Any:
    return enum.Enum("Color", {name: at for at, name in enumerate(names)}, module=__name__)


def record(*fields: str) -> Any:
    return attrs.make_class("Inner", {name: attrs.field(type=int) for name in fields}, frozen=True)


@query(name="changing:keys")
def keys() -> tuple[str, ...]:
    return ("cat", "dog")


def defined(kind: Any, value: Any) -> Any:
    """The table as one run has it."""
    made: Any = attrs.make_class(
        "Row", {"text": attrs.field(type=str), "n": attrs.field(type=kind)}, frozen=True
    )

    def rows(key: str) -> Any:
        yield made(key, value)

    rows.__annotations__ = {"key": str, "return": Iterable[made]}
    return table(each=keys, index=("text", "n"), name="changing:rows")(rows)


def answers(db: Engine, rows: Any, value: Any) -> list[str]:
    return [
        repr(db.get(rows.where)),
        repr(db.get(rows.first, text="dog")),
        repr(db.get(rows.where, n=value)),
        repr(db.get(rows.count, n=value)),
        repr(db.get(rows.starting, text="c")),
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((bool, True), (int, 1)),
        ((int, 1), (bool, True)),
        ((int, 4), (float, 4.0)),
        ((float, 4.0), (int, 4)),
        ((float, 4.0), (Any, 4.0)),
        ((Any, 4), (int, 4)),
        ((int, 4), (int | str, 4)),
        ((str, "x"), (bytes, b"x")),
        ((int, 4), (int | None, 4)),
        ((Literal["x"], "x"), (str, "x")),
        ((colors("RED", "BLUE"), "BLUE"), (colors("BLUE"), "BLUE")),
        ((record("a", "b"), (1, 2)), (record("a"), (1,))),
    ],
)
@pytest.mark.parametrize("looked", [True, False])
def test_rows_answers_and_feed_are_those_of_the_types_of_now(
    before: tuple[Any, Any], after: tuple[Any, Any], looked: bool, tmp_path: Path
) -> None:
    told: dict[str, int] = {}
    for kind, value in (before, after):
        if isinstance(kind, enum.EnumMeta):
            value = kind[value]
        elif attrs.has(kind):
            value = kind(*value)
        rows = defined(kind, value)
        with Engine(None) as scratch:
            expected = answers(scratch, rows, value)
        with Engine(tmp_path / "store") as db:
            if looked:
                assert answers(db, rows, value) == expected
            deltas = list(db.changes(rows, since="me"))
            assert [(delta.reset, len(delta.added)) for delta in deltas] == [(True, 2)]
            told = {row.text: row.n for row in deltas[0].added}
            assert repr(told) == repr(dict.fromkeys(("cat", "dog"), value))
            assert answers(db, rows, value) == expected
            assert not db.audit(rows).differences
            db.check_invariants()


def test_a_shape_tells_types_apart_and_is_the_same_for_equal_ones() -> None:
    several: list[Any] = [int, bool, float, str | None, int | str, Any, tuple[int, ...]]
    several += [Literal["x"], Literal["y"], Color, colors("RED"), colors("RED", "BLUE")]
    several += [
        record("a"),
        record("b"),
        record("a", "b"),
        GenericAlias(list, (record("a"),)),
        GenericAlias(list, (record("b"),)),
    ]
    assert len({row_shape(one) for one in several}) == len(several)
    assert row_shape(record("a", "b")) == row_shape(record("a", "b"))
    assert " at 0x" not in row_shape(Any)


def test_a_shape_is_the_same_for_every_python_and_every_way_to_write_it() -> None:
    """Else positions of consumers would be lost where another one opens the store: it starts with a reset."""
    shape = "builtins:tuple[Union[builtins:int, builtins:NoneType], Ellipsis]"
    optional: Any = Optional[int]  # noqa: UP045 -- it is the other way that is meant
    assert row_shape(tuple[int | None, ...]) == row_shape(tuple[optional, ...]) == shape


def test_the_shape_of_a_new_type_is_its_name_and_what_it_is_made_of() -> None:
    Size = NewType("Size", int)
    assert row_shape(Size) == f"{__name__}:Size(builtins:int)"
    Size.__module__ = "__main__"
    assert row_shape(Size) == f"{module_name('__main__')}:Size(builtins:int)"


@attrs.frozen
class Tree:
    left: Tree | None
    right: Tree | None


def test_a_class_inside_of_itself_has_a_shape() -> None:
    assert row_shape(Tree).count("Tree") == 3


@pytest.mark.parametrize(("before", "after"), [((Any, 4), (float, 4.0)), ((Any, Level.LOW), (int, 1))])
def test_a_lookup_by_a_value_that_the_column_takes_for_another_one_now_is_refused(
    before: tuple[Any, Any], after: tuple[Any, Any]
) -> None:
    with Engine(None) as db:
        old = defined(*before)
        assert db.get(old.count, n=before[1]) == 2
        new = defined(*after)
        assert db.get(new.count, n=before[1]) == 2
        assert not db.verify().differences  # the engine asks for what it was asked for once
        defined(after[0], after[1] + 1)
        assert not db.verify().differences
        assert not db.audit(defined(after[0], after[1] + 2)).differences


Path_ = NewType("Path_", str)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Literal["class", "function"], "class"),
        (Literal[1, 2] | None, 2),
        (Path_, "a.py"),
        (NewType("Of", Path_), "a.py"),
    ],
)
def test_a_column_of_a_literal_or_a_new_type_is_kept_as_what_it_is(
    tmp_path: Path, kind: Any, value: Any
) -> None:
    """So people can read it in the file, and a text has a beginning."""
    rows = defined(kind, value)
    with Engine(tmp_path / "store") as db:
        assert [row.n for row in db.get(rows.where, n=value)] == [value, value]
        if isinstance(value, str):
            assert [row.text for row in db.get(rows.starting, n=value)] == ["cat", "dog"]
        assert db.store is not None
        (name,) = db.store.connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'rows_%'"
        ).fetchone()
        assert set(db.store.connection.execute(f"SELECT n FROM {name}")) == {(value,)}
