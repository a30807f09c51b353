"""What callers see of a query beside its value: which arguments fit, defaults, methods of what it gives."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine import Engine

NAME = "test_callers_rules"
CALLS = """
from __future__ import annotations
from engine import Max, each, fold, query

@query
def asked({parameters}) -> int:
    return first * 10 + second

@query
def numbers() -> tuple[int, ...]:
    return 1, 2

{folded}

@query
def answer() -> str:
    try:
        return repr({call})
    except Exception as error:
        return type(error).__name__
"""
FOLDED = "folded = fold(each=numbers, of=asked, into=Max())"
METHODS = """
from __future__ import annotations
import functools
from typing import Any, NamedTuple
from engine import Max, each, fold, input, query, table

class Row(NamedTuple):
    n: int

    def shown(self) -> str:
        return {shown!r}

@query
def numbers() -> tuple[int, ...]:
    return 1, 2

@table(each=numbers, index=("n",))
def rows(n: int) -> list[Row]:
    return [Row(n)]

@query(batch=True)
def batched(several: list[int]) -> list[Row]:
    return [Row(n) for n in several]

@input
def given(n: int) -> Row:
    return Row(n)

@query
def one(n: int) -> Row:
    return Row(n)

@query
def number(n: int) -> int:
    return n

Loose = Any

def made(n: int) -> Loose:
    return Row(n)

class Maker:
    def make(self, n: int) -> Any:
        return made(n)

MAKER = Maker()

def in_closure(cls):
    @query(name="closed")
    def closed(n: int):
        return cls(n)
    return closed

closed = in_closure(Row)

@query
def bare(n: int):
    return Row(n)

@query
def anything(n: int) -> Loose:
    return made(n)

@query
def passed_on(n: int) -> tuple:
    return (anything(n),)

@query
def by_maker(n: int) -> object:
    return MAKER.make(n)

class Above:
    pass

class Below(Above):
    def shown(self) -> str:
        return {shown!r}

@query(pickled=True)
def pickled(n: int) -> Above:
    return Below()

class Held:
    def __init__(self, cls) -> None:
        self.cls = cls

    def make(self, n: int):
        return self.cls(n)

KINDS = {{"row": (Row,)}}
MADE = functools.partial(Row)
HELD = Held(Row)
CALLED = HELD.make

def with_default(n: int, cls=Row):
    return cls(n)

@functools.cache
def cached(n: int) -> tuple:
    return Row(n)

class Other(NamedTuple):
    n: int

class OfOther(Other):
    def shown(self) -> str:
        return {shown!r}

def of_other(n: int) -> Other:
    return OfOther(n)

@query
def by_dict(n: int):
    return KINDS["row"][0](n)

@query
def by_partial(n: int):
    return MADE(n)

@query
def by_method(n: int):
    return CALLED(n)

@query
def by_object(n: int):
    return HELD.make(n)

@query
def by_default(n: int):
    return with_default(n)

@query
def by_cached(n: int):
    return cached(n)

@query
def by_base(n: int):
    return of_other(n)

@query
def by_import(n: int):
    from test_callers_rules import Row as imported
    return imported(n)

class Own(ValueError):
    pass

@query
def failing(n: int) -> int:
    raise Own(n)

def caught() -> bool:
    try:
        return bool(failing(1))
    except Own:
        return True

class Kept:
    def empty(self):
        return 0

    def lift(self, value: int):
        return value

    def merge(self, one, other):
        return one

    def result(self, state):
        return self.made(state)

    def made(self, state):
        return HELD.make(state)

class First:
    def empty(self) -> int:
        return 0

    def lift(self, value: int) -> int:
        return value

    def merge(self, one: int, other: int) -> int:
        return one

    def result(self, state: int) -> Row:
        return Row(state)

largest = fold(each=numbers, of=one, into=Max())
largest_given = fold(each=numbers, of=given, into=Max())
first = fold(each=numbers, of=number, into=First())
kept = fold(each=numbers, of=number, into=Kept())

@query
def answer() -> str:
    return {call}
"""
ASKED = [
    "one(1)",
    "batched(1)",
    "given(1)",
    "rows(1)[0]",
    "rows.first(n=1)",
    "[*rows][0]",
    "each([rows.of.key(1)])[0][0]",
    "largest()",
    "largest_given()",
    "first()",
]
LOOSELY = [
    "bare(1)",
    "anything(1)",
    "passed_on(1)[0]",
    "by_maker(1)",
    "closed(1)",
    "by_dict(1)",
    "by_partial(1)",
    "by_method(1)",
    "by_object(1)",
    "by_default(1)",
    "by_cached(1)",
    "by_base(1)",
    "by_import(1)",
    "pickled(1)",
    "kept()",
]  # no annotation says of what


def load(place: Path, text: str) -> ModuleType:
    file = place / f"{NAME}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(NAME, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


def check(place: Path, monkeypatch: pytest.MonkeyPatch, reloaded: bool, texts: list[str]) -> list[str]:
    """Each version in turn answers as from scratch: what they answer."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("engine.code.fingerprint.STARTED_NS", 1 << 62)
    monkeypatch.setitem(sys.modules, NAME, sys)  # and gone afterwards
    found: list[str] = []
    db = Engine(place / "store")
    for text in texts:
        if not reloaded:
            db.close()
            db = Engine(place / "store")
        rules: Any = load(place, text)
        found.append(db.get(rules.answer))
        with Engine(None) as fresh:
            assert found[-1] == fresh.get(rules.answer), text
        assert db.verify().differences == ()
        db.check_invariants()
    db.close()
    return found


ONE, BOTH, LATER = "first: int, second: int = 1", "first: int, second: int", "first: int, second: int = 2"
KEYWORD, RENAMED = "first: int, *, second: int = 1", "one: int, second: int = 1, first: int = 1"


@pytest.mark.parametrize("reloaded", [False, True])
@pytest.mark.parametrize(
    ("call", "versions", "answers"),
    [
        ("asked(1)", (ONE, LATER, BOTH, ONE), ("11", "12", "TypeError", "11")),
        ("asked(1, 3)", (KEYWORD, ONE, KEYWORD), ("TypeError", "13", "TypeError")),
        ("asked(first=1)", (ONE, RENAMED, ONE), ("11", "TypeError", "11")),
        ("each([asked.key(1)])", (ONE, LATER, BOTH, ONE), ("(11,)", "(12,)", "BadArguments", "(11,)")),
        ("folded()", (ONE, LATER, ONE), ("21", "22", "21")),
    ],
)
def test_a_caller_runs_again_when_other_arguments_fit_or_a_default_is_another_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reloaded: bool,
    call: str,
    versions: tuple[str, ...],
    answers: tuple[str, ...],
) -> None:
    folded = FOLDED if call == "folded()" else ""
    texts = [CALLS.format(parameters=one, call=call, folded=folded) for one in versions]
    assert check(tmp_path, monkeypatch, reloaded, texts) == [*answers]


@pytest.mark.parametrize("reloaded", [False, True])
@pytest.mark.parametrize("asked", ASKED + LOOSELY)
def test_a_caller_runs_again_when_a_method_of_what_it_gets_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reloaded: bool, asked: str
) -> None:
    texts = [METHODS.format(shown=shown, call=f"{asked}.shown()") for shown in ("x", "y", "x")]
    assert check(tmp_path, monkeypatch, reloaded, texts) == ["x", "y", "x"]


@pytest.mark.parametrize("reloaded", [False, True])
@pytest.mark.parametrize(
    "asked", [*(f"isinstance({asked}, (Row, OfOther, Below))" for asked in ASKED + LOOSELY), "caught()"]
)
def test_what_was_kept_is_of_the_classes_of_now_where_their_module_is_loaded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reloaded: bool, asked: str
) -> None:
    texts = [METHODS.format(shown="x", call=f"str({asked}){more}") for more in ("", " + '!'", "")]
    assert check(tmp_path, monkeypatch, reloaded, texts) == ["True", "True!", "True"]
