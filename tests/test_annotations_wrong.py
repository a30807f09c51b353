"""Annotations that cannot be evaluated, and arguments that cannot be: told with what is wrong, and where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine, Sum, WrongValue, fold, query
from tests.commands import Command, check_refused, engine
from tests.loading import fresh, load

__all__ = ["engine", "fresh"]  # fixtures

HEAD = "from __future__ import annotations\nfrom engine import query\n\n@query\n"


@pytest.mark.parametrize(
    "function", ["def odd(x: '{}') -> int: return 1", "def odd(x: int) -> '{}': return 1"]
)
@pytest.mark.parametrize(
    ("annotation", "parts"),
    [
        ("list[", ("got 'list['", "Correct the annotation.")),
        ("1 / 0", ("division by zero", "Correct the annotation.")),
        ("Nobody", ("name 'Nobody' is not defined", "Import the names its annotations use")),
        ("Path.Nobody", ("has no attribute 'Nobody'", "Import the names its annotations use")),
    ],
)
def test_an_annotation_that_cannot_be_evaluated_is_one_message_with_its_place(
    engine: Command, function: str, annotation: str, parts: tuple[str, ...]
) -> None:
    head = HEAD.replace("@query", "from pathlib import Path\n@query")
    Path("rules.py").write_text(head + function.format(annotation) + "\n")
    check_refused(engine("run", "rules.py:odd", "1"), 2, "query: rules:odd", "rules.py:5", *parts)


def test_a_fold_of_a_query_with_such_an_annotation_can_be_defined(tmp_path: Path) -> None:
    app = load(
        tmp_path,
        HEAD + "def odd(x: int) -> 'list[': return 1\n@query\ndef keys() -> tuple[int, ...]: return (1,)\n",
    )
    assert fold(each=app.keys, of=app.odd, into=Sum())() == 1


def test_a_signature_shows_annotations_as_they_are_written(engine: Command) -> None:
    Path("rules.py").write_text(HEAD + "def several(x: list[int], *, by: str) -> int: return 1\n")
    signature = "signature: rules:several(x: list[int], *, by: str)"
    for arguments in (["[1]"], ["[1]", "-a", "to=x"], ["x", "-a", "by=x"], ["[1]", "2"]):
        check_refused(engine("run", "rules.py:several", *arguments), 2, signature)


def test_an_argument_that_cannot_be_part_of_a_key_is_named_with_its_query(engine: Command) -> None:
    several = "def several(x: int, y: list[object]) -> int: return 1\n"
    asks = "@query\ndef asks() -> int: return several(1, [{2: print}])\n"
    Path("rules.py").write_text(HEAD + several + asks)
    found = engine("run", "rules.py:asks")
    parts = ("query:    rules:several", "argument: y", "inside:   [0][2]", "while computing rules:asks()")
    check_refused(found, 1, *parts)  # the mistake is in the query, not in the request


def test_a_value_of_another_class_of_the_same_name_is_told_from_it(tmp_path: Path) -> None:
    row = "from attrs import frozen\n@frozen\nclass Row:\n    n: int\n"
    made = load(tmp_path, row).Row(1)
    with Engine(None) as db, pytest.raises(WrongValue) as caught:
        db.get(query(name="asked")(_giving(made, load(tmp_path, row).Row)))
    assert caught.value.fields["expected"] == "Row"
    assert caught.value.fields["got"] == "another class of that name, of the module app"


def _giving(value: object, kind: object) -> Callable[[], object]:
    def asked() -> object:
        return value

    asked.__annotations__["return"] = kind
    return asked
