"""A query that is defined again: the newer definition has the nodes, and the older one leaves nothing."""

from __future__ import annotations

import gc

import pytest

import engine.redefined
import engine.request
from engine import Engine, Query, query
from tests.striking import strike


def define(name: str, said: str) -> Query[[int], str]:
    @query(name=f"redefined:{name}", version=said, code="version")
    def asked(number: int) -> str:
        return f"{said} {number}"

    return asked


def test_a_query_that_is_defined_again_and_again_takes_no_more_room_in_an_engine() -> None:
    with Engine(None) as db:
        asked = define("again", "first")
        assert db.get(asked, 1) == "first 1"
        gc.collect()
        before = len(db._core.graph.tables)
        for version in range(300):
            asked = define("again", str(version))
            assert db.get(asked, 1) == f"{version} 1"
            if version % 20 == 0:
                gc.collect()
        assert len(db._core.graph.tables) < before + 60
        assert db.counts().executed == 301
        db.check_invariants()


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
