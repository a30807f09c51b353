"""A query that is defined again: the newer definition has the nodes, and the older one leaves nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest

import engine.redefined
import engine.request
from engine import Engine, Query, query
from engine.errors import BadQuery
from engine.query import QueryInfo
from tests.striking import strike


def define(name: str, said: str) -> Query[[int], str]:
    @query(name=f"redefined:{name}", version=said, code="version")
    def asked(number: int) -> str:
        return f"{said} {number}"

    return asked


def test_a_query_that_is_defined_again_and_again_takes_no_more_room_in_an_engine() -> None:
    gc.collect()
    # In the places that other tests left.
    held = [define(f"held {number}", "held") for number in range(8_000)]
    with Engine(None) as db:
        asked = define("again", "first")
        assert db.get(asked, 1) == "first 1"
        before = len(db._core.graph.tables)
        for version in range(300):
            asked = define("again", str(version))
            assert db.get(asked, 1) == f"{version} 1"
            if version % 100 == 0:
                gc.collect()
        assert len(db._core.graph.tables) < before + 150
        assert db.counts().executed == 301
        db.check_invariants()
    del held  # not before: their places would be free


def test_what_gets_the_place_of_a_definition_that_is_gone_has_none_of_its_keys() -> None:
    names = ["one", "two", "three", "four"]
    with Engine(None) as db, Engine(None) as idle:
        older = {name: define(name, "older") for name in names}
        for name in names:
            assert [each.get(older[name], 1) for each in (db, idle)] == ["older 1", "older 1"]
        places = {older[name].__query__.index for name in names}
        newer = {name: define(name, "newer") for name in names}
        assert [db.get(newer[name], 1) for name in names] == ["newer 1"] * 4
        older.clear()
        gc.collect()
        held = define("held by nobody", "held")
        assert held.__query__.index not in places, "an engine has keys of the older definitions still"
        assert [idle.get(newer[name], 1) for name in names] == ["newer 1"] * 4
        gc.collect()
        others = [define(f"other {number}", "other") for number in range(8)]
        assert places & {other.__query__.index for other in others}
        for each in (db, idle):
            assert [each.get(other, 1) for other in others] == ["other 1"] * 8
            assert [each.get(newer[name], 1) for name in names] == ["newer 1"] * 4
            each.check_invariants()


def test_a_running_query_finds_no_key_of_a_definition_that_is_gone() -> None:
    kept = [define("goes", "goes")]

    @query
    def asks() -> str:
        found = kept[0](1)
        place = kept[0].__query__.index
        kept[0] = define("goes", "came")
        found += ", " + kept[0](1)
        gc.collect()
        others = [
            define(f"comes {number}", "comes") for number in range(2000)
        ]  # other tests left places, too
        (there,) = [other for other in others if other.__query__.index == place]
        return f"{found}, {there(1)}"

    with Engine(None) as db:
        assert db.get(asks) == "came 1, came 1, comes 1"  # the change of code let it begin again


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("where", [(engine.request, "bind"), (engine.redefined, "_renew_values")])
def test_an_error_while_definitions_are_taken_over_leaves_none_out(
    where: tuple[object, str],
    error: type[BaseException],
    stored: bool,
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    versions = {"one": "older", "two": "same", "three": "older"}
    asked = {name: define(name, versions[name]) for name in versions}

    @query
    def report() -> list[str]:
        return [asked[name](1) for name in versions]

    with Engine(f"{tmp_path}/store" if stored else None) as db:
        assert db.get(report) == ["older 1", "same 1", "older 1"]
        versions["one"] = versions["three"] = "newer"
        asked = {name: define(name, versions[name]) for name in versions}
        strike(monkeypatch, *where, error)
        with pytest.raises(error):
            db.get(report)
        assert db.get(report) == ["newer 1", "same 1", "newer 1"]
        assert db.counts().executed == 4 + (4 if error is KeyboardInterrupt and not stored else 3)
        db.check_invariants()


def test_a_definition_that_a_finalizer_keeps_has_its_place_for_itself() -> None:
    """Its own finalizer had run: the place was given away, and each of the two answered for the other."""
    kept: list[Query[[int], str]] = []

    class Closer:
        def __init__(self, asked: Query[[int], str]) -> None:
            self.asked = asked

        def __del__(self) -> None:
            kept.append(self.asked)

    with Engine(None) as db:
        asked = define("kept", "older")
        vars(asked)["closer"] = Closer(asked)
        del asked
        newer = define("kept", "newer")
        gc.collect()
        (older,) = kept
        others = [define(f"beside {number}", "beside") for number in range(50)]
        assert older.__query__.index not in {other.__query__.index for other in (newer, *others)}
        assert (db.get(newer, 1), db.get(others[0], 1)) == ("newer 1", "beside 1")
        vars(older).clear()


def test_a_definition_that_an_interrupt_left_half_made_goes_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", told.append)
    half = QueryInfo.__new__(QueryInfo)
    del half
    gc.collect()
    assert not told


def test_a_request_amid_taking_over_skips_no_definition_that_comes_later() -> None:
    """What was seen counted twice: as many definitions after it were never looked at."""
    asks: list[Callable[[], str]] = []

    class Asking:
        @property
        def __query__(self) -> None:
            if asks:
                assert asks.pop()() == "beside 1"

    table = Asking()

    def amid(said: str) -> Query[[int], str]:
        @query(name="redefined:amid")
        def asked(number: int) -> str:
            return f"{said} {number} {table is None}"

        return asked

    with Engine(None) as db:
        beside, asked = define("beside", "beside"), amid("0")

        @query
        def report() -> str:
            return asked(1)

        assert (db.get(beside, 1), db.get(report)) == ("beside 1", "0 1 False")
        asked = amid("1")
        asks.append(lambda: db.get(beside, 1))
        assert db.get(report) == "1 1 False"
        assert not asks, "it was asked amid the comparison"
        for version in "2345":
            asked = amid(version)
            assert db.get(report) == f"{version} 1 False"


def nested(depth: int) -> list[object]:
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found


def take_apart(value: list[object]) -> None:
    """By hand: freeing it in one go is as deep."""
    inner: object = value
    while isinstance(inner, list) and inner:
        inner = inner.pop()


def reads(value: list[object], said: str) -> Query[[int], str]:
    @query(name="redefined:reads")
    def asked(number: int) -> str:
        return f"{said} {number} {len(value)}"

    return asked


def test_a_definition_whose_code_cannot_be_compared_takes_over_from_one_whose_code_could(
    tmp_path: Path,
) -> None:
    """The older one went on answering, once its error had been told to whoever asked next."""
    deep = nested(100_000)
    made = [reads([], "older")]

    @query
    def report() -> str:
        return made[0](1)

    with Engine(tmp_path / "store") as db:
        assert db.get(report) == "older 1 0"
        for version in ("newer", "newest"):
            made[0] = reads(deep, version)
            assert db.get(report) == f"{version} 1 1"
            assert db.get(made[0], 1) == f"{version} 1 1"
            (note,) = db.notes()
            assert "too deeply" in note
            executed = db.counts().executed
            assert db.get(report) == f"{version} 1 1"
            assert db.counts().executed == executed
    made[0] = reads([], "older")
    with Engine(tmp_path / "store") as db:
        assert db.get(report) == "older 1 0"
        db.check_invariants()
    take_apart(deep)


@pytest.mark.parametrize("reopened", [False, True])
def test_that_a_definition_has_no_fingerprint_is_forgotten_when_another_one_has(
    reopened: bool, tmp_path: Path
) -> None:
    deep = nested(100_000)
    made = [reads(deep, "refused")]

    @query
    def report() -> str:
        return made[0](1)

    db = Engine(tmp_path / "store")
    for _ in range(2):
        with pytest.raises(BadQuery, match="too deeply"):
            db.get(report)
    made[0] = reads([], "good")
    if reopened:
        db.close()
        db = Engine(tmp_path / "store")
    assert db.get(report) == "good 1 0"
    db.close()
    take_apart(deep)
