"""A return annotation that becomes another one: the bytes may be the same, the values are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine import Engine, Sum, fold, input, query


def five() -> int:
    return 5


def in_a_tuple() -> tuple[int, ...]:
    return (5,)


def text() -> str:
    return "5"


def define(function: Callable[[], object], annotation: object, options: dict[str, Any]) -> Any:
    function.__annotations__["return"] = annotation
    made: Any = query
    asked = made(name="test_annotations_change:asked", **options)(function)

    @query(name="test_annotations_change:shown")
    def shown() -> str:
        try:
            return repr(asked())
        except Exception as error:  # of a value that contradicts the annotation
            return type(error).__name__

    return shown


@pytest.mark.parametrize("options", [{}, {"code": "none"}], ids=["code", "no code"])
@pytest.mark.parametrize("reloaded", [False, True])
@pytest.mark.parametrize(
    ("function", "before", "after"),
    [
        (five, int, float),
        (five, int, str),
        (five, Any, int),
        (five, float, int),
        (in_a_tuple, tuple[int, ...], Sequence[int]),
        (in_a_tuple, Any, tuple[int, ...]),
        (in_a_tuple, tuple[int, ...], tuple[float, ...]),
        (text, str, object),
    ],
)
def test_an_annotation_that_becomes_another_one_is_seen_by_readers(
    tmp_path: Path,
    function: Callable[[], object],
    before: object,
    after: object,
    reloaded: bool,
    options: dict[str, Any],
) -> None:
    store = tmp_path / "store"
    for first, second in ((before, after), (after, before)):
        db = Engine(store, root=tmp_path)
        db.get(define(function, first, options))
        if not reloaded:
            db.close()
            db = Engine(store, root=tmp_path)
        shown = define(function, second, options)
        with Engine(None) as fresh:
            assert db.get(shown) == fresh.get(shown)
        assert db.verify().differences == ()
        db.check_invariants()
        db.close()


def test_an_annotation_that_was_seen_to_change_by_a_start_that_ran_nothing_is_not_forgotten(
    tmp_path: Path,
) -> None:
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(define(in_a_tuple, tuple[int, ...], {})) == "(5,)"
    with Engine(tmp_path / "store", root=tmp_path) as db:
        shown = define(in_a_tuple, Sequence[int], {})
        db.why(shown)
        db.set(other.key(), 1)
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(shown) == "[5]"


@input
def other() -> int:
    return 0


@pytest.mark.parametrize("reloaded", [False, True])
def test_what_the_host_set_is_kept_where_it_is_a_value_of_the_new_annotation_too(
    tmp_path: Path, reloaded: bool
) -> None:
    def cell(number: int) -> Any:
        return 1

    def define(annotation: object) -> tuple[Any, Any]:
        cell.__annotations__["return"] = annotation
        asked = input(name="test_annotations_change:cell")(cell)

        @query(name="test_annotations_change:read")
        def read(number: int) -> str:
            return repr(asked(number))

        return asked, read

    db = Engine(tmp_path / "store", root=tmp_path)
    asked, read = define(int)
    db.set(asked.key(0), 7)
    assert [db.get(read, number) for number in (0, 1)] == ["7", "1"]
    for annotation, shown in ((float, ["7.0", "1.0"]), (int | str, ["7.0", "1"])):
        if not reloaded:
            db.close()
            db = Engine(tmp_path / "store", root=tmp_path)
        asked, read = define(annotation)
        found = [db.get(read, number) for number in (0, 1)]
        assert found[1] == shown[1]
        assert found[0] == (shown[0] if annotation is float else "1")
    assert [note for note in db.notes() if "cell(0)" in note and "no value of its annotation" in note]
    db.close()


@query
def numbers() -> tuple[int, ...]:
    return (1, 2)


def test_a_fold_takes_the_values_of_the_new_annotation(tmp_path: Path) -> None:
    def worth(number: int) -> Any:
        return number

    def define(annotation: object) -> Any:
        worth.__annotations__["return"] = annotation
        member = query(name="test_annotations_change:worth")(worth)
        return fold(each=numbers, of=member, into=Sum(), name="test_annotations_change:all")

    shown = []
    for annotation in (int, float, int):
        with Engine(tmp_path / "store", root=tmp_path) as db:
            shown.append(repr(db.get(define(annotation))))
            assert db.verify().differences == ()
    assert shown == ["3", "3.0", "3"]
