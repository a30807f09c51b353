"""Mistakes of who embeds the engine: each is told with its place and what to do about it."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from engine import (
    BadArguments,
    BadQuery,
    BadSettings,
    BadTable,
    Engine,
    EngineError,
    Event,
    Sum,
    WrongValue,
    each,
    fold,
    input,
    query,
    table,
)

PLAIN: Any = len  # Any: a checker of types would tell of these mistakes before
TWO: Any = "two"
WRONG: Any = -1.5
MISSPELT: Any = {"untraced": True}


@input
def limit() -> int:
    return 1


@query
def doubled() -> int:
    return 2 * limit()


@query
def numbers() -> tuple[int, ...]:
    return (1, 2)


@query
def halved(number: int) -> float:
    return number / 2


HALVED: Any = halved  # where a type checker would refuse it
VALUE: Any = ("a.txt",)  # what `each=glob("*.txt")` says, which looks as if it were to be kept up to date
KEY: Any = halved.key(1)
CACHED: Any = cache(lambda number: number)


@frozen
class Half:
    half: float

    @query
    def times(self, number: int) -> float:
        return self.half * number


@query
def products() -> tuple[float, ...]:
    times: Any = Half.times
    return each(times, [(Half(1.0), 2)])


@table(each=numbers)
def halves(number: int) -> tuple[Half, ...]:
    return (Half(halved(number)),)


def test_an_input_without_arguments_is_set_and_reset_by_its_name() -> None:
    with Engine(None) as db:
        db.set(limit, 5)
        assert db.get(doubled) == 10
        db.reset(limit)
        assert db.get(doubled) == 2


def test_a_value_of_another_type_is_told_with_the_input_that_it_was_meant_for() -> None:
    wrong: Any = "five"
    with Engine(None) as db, pytest.raises(WrongValue) as error:
        db.set(limit.key(), wrong)
    assert error.value.fields == {"input": "test_misuse:limit()", "expected": "int", "got": "str"}
    assert str(error.value).startswith("an input was set to something other")


def test_arguments_that_do_not_fit_are_told_with_the_signature_as_it_is_written() -> None:
    halve: Any = halved
    with Engine(None) as db, pytest.raises(BadArguments) as error:
        db.get(halve)
    assert error.value.fields["signature"] == "test_misuse:halved(number: int)"


@pytest.mark.parametrize(
    ("mistake", "kind", "told"),
    [
        (lambda db: each(PLAIN, [1]), BadQuery, "Decorate the function"),
        (lambda db: db.set(PLAIN, 1), BadQuery, "Decorate the function"),
        (lambda db: db.set(doubled, 1), EngineError, "Set one of the inputs that it reads"),
        (lambda db: db.gc(), BadSettings, "Engine(path)"),
        (lambda db: Engine(None, workers=TWO), BadSettings, "whole number"),
        (lambda db: Engine(None, limits=WRONG), BadSettings, '{"gpu": 1}'),
        (lambda db: Engine(None, processes="2"), BadSettings, '"auto"'),
        (lambda db: Engine(".engine", history=WRONG), BadSettings, "whole number"),
        (lambda db: Engine(""), BadSettings, "Engine(None) keeps nothing"),
        (lambda db: Engine(".engine", max_memory=WRONG), BadSettings, "whole number"),
        (lambda db: db.set(limit, 1, durability=TWO), BadSettings, "Durability.LOW, MEDIUM or HIGH"),
        (lambda db: db.verify(doubled, sample=WRONG), BadArguments, "None for all"),
        (lambda db: db.watch(doubled, backend=TWO), BadSettings, "engine.watch.backend"),
        (lambda db: db.watch(doubled, threads=0), BadSettings, "at least 1"),
        (lambda db: db.watch(doubled, audit_seconds=TWO), BadSettings, "more than 0 seconds"),
        (lambda db: db.watch(doubled, **MISSPELT), BadSettings, "check_seconds"),
        (lambda db: db.watch(doubled).add(TWO), BadQuery, "report, and not report()"),
        (lambda db: db.get(Half(1.0).times, 2), BadQuery, "db.get(Class.method, instance, ...)"),
        (lambda db: db.get(products), BadArguments, "each(query.key(a, b) for a, b in pairs)"),
        (lambda db: table(each=numbers, index=TWO), BadTable, 'index=("two",)'),
        (lambda db: table(each=HALVED)(lambda number: ()), BadTable, "without arguments"),
        (lambda db: table(each=VALUE)(lambda number: ()), BadTable, "without arguments, which returns"),
        (lambda db: table(each=KEY)(lambda number: ()), BadTable, "without arguments, which returns"),
        (lambda db: fold(each=VALUE, of=halved, into=Sum()), BadTable, "without arguments, which returns"),
        (lambda db: query(CACHED), BadQuery, "Leave functools.cache out"),
        (lambda db: db.audit(PLAIN), BadTable, "verify"),
    ],
)
def test_a_mistake_is_told_with_its_remedy(
    mistake: Callable[[Engine], object], kind: type[EngineError], told: str
) -> None:
    with Engine(None) as db, pytest.raises(kind) as error:
        mistake(db)
    assert told in error.value.hint


@pytest.mark.parametrize(
    ("define", "told"),
    [
        (lambda: query(timeout=TWO), "It is more than 0 seconds."),
        (lambda: query(timeout=0), "It is more than 0 seconds."),
        (lambda: query(workers=TWO), "It is one of auto, process, thread, inline."),
        (lambda: query(batch=TWO), "It is True or how many keys it takes at most."),
        (lambda: query(limit=WRONG), "It is a name, as a text."),
        (lambda: query(eq=WRONG), "It is a function."),
        (lambda: query(code=WRONG), "It is one of closure, self, version, none."),
        (lambda: query(version=WRONG), "It is a text or a whole number."),
        (lambda: query(name=WRONG), "It is a text."),
        (
            lambda: input(durability=TWO),
            "It is Durability.LOW, MEDIUM or HIGH: from engine import Durability.",
        ),
        (
            lambda: input(durability=WRONG),
            "It is Durability.LOW, MEDIUM or HIGH: from engine import Durability.",
        ),
        (lambda: input(stamp=TWO), "It is a function."),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_where_it_is_said(
    define: Callable[[], Any], told: str
) -> None:
    def odd(keys: list[int]) -> list[int]:
        return keys

    with pytest.raises(BadQuery) as error:
        define()(odd)
    assert error.value.hint == told
    assert error.value.fields["query"].endswith(odd.__qualname__)
    assert error.value.fields["at"] == f"{__file__}:{odd.__code__.co_firstlineno}"
    assert error.value.fields["option"].partition("=")[2] in ("'two'", "0", "-1.5", "'all'")


def test_a_limit_that_the_engine_does_not_have_is_told_where_it_has_others() -> None:
    @query(name="limited", limit="gpu")
    def limited() -> int:
        return 1

    for limits, told in (({"gp": 1}, 1), ({"gp": 1, "gpu": 1}, 0), ({}, 0)):
        with Engine(None, limits=limits) as db:
            assert db.get(limited) == 1
            assert len(db.notes()) == told
    with Engine(None, limits={"gp": 1}) as db:
        db.get(limited)
        cause = "limit='gpu' is none of those that the engine has: gp"
        assert db.notes() == (f"limited runs without a limit: {cause}",)


def test_an_option_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(BadQuery, match="there is no option untraced=") as error:
        query(**MISSPELT)
    assert "untracked" in error.value.hint
    with pytest.raises(BadQuery) as error:
        query("total")  # type: ignore[call-overload]  # that is what is tested
    assert error.value.hint == "Options have names: name='total'."
    with pytest.raises(BadQuery, match="there is no option batch="):
        input(batch=True)  # type: ignore[call-overload]  # that is what is tested


def test_options_count_as_well_without_a_decorator() -> None:
    def twice(keys: list[int]) -> list[int]:
        return [2 * key for key in keys]

    made: Any = query
    with Engine(None) as db:
        assert db.get(made(twice, batch=True, name="twice"), 3) == 6


@pytest.mark.parametrize(("name", "cause"), [("none", "no such directory"), ("file", "not a directory")])
def test_a_root_that_is_no_directory_is_refused_before_a_store_is_made(
    tmp_path: Path, name: str, cause: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadSettings, match=cause) as error:
        Engine(tmp_path / ".engine", root=tmp_path / name)
    assert error.value.fields["root"] == str(tmp_path / name)
    assert not (tmp_path / ".engine").exists()


def test_what_cannot_be_called_back_is_refused_at_once() -> None:
    with Engine(None) as db:
        watch = db.watch()
        for tell in (
            lambda: db.listen(TWO),
            lambda: db.subscribe(doubled, TWO),
            lambda: watch.subscribe(doubled, TWO),
        ):
            with pytest.raises(BadArguments, match="it cannot be called"):
                tell()
        assert db.get(doubled) == 2


def test_what_nobody_would_await_is_refused_at_once_with_how_to_hand_it_to_a_loop() -> None:
    async def tell(value: object) -> None: ...

    told: Any = tell
    with Engine(None) as db:
        watch = db.watch()
        for begin in (
            lambda: db.listen(told),
            lambda: db.subscribe(doubled, told),
            lambda: watch.subscribe(doubled, partial(told)),
        ):
            with pytest.raises(BadArguments, match="run_coroutine_threadsafe"):
                begin()


def test_a_listener_that_fails_is_logged_once_and_called_on(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []

    def failing(event: Event) -> None:
        told.append(str(event.key))
        raise ValueError("of the host")

    with Engine(None) as db:
        end = db.listen(failing)
        db.get(doubled)
        db.set(limit, 7)
        assert db.get(doubled) == 14
        assert len(told) > 2
        assert [record.getMessage() for record in caplog.records] == [
            "a listener failed on R1 read test_misuse:limit(); its later failures are not logged"
        ]
        end()
        db.set(limit, 8)
        db.get(doubled)
        assert len(caplog.records) == 1


@pytest.mark.parametrize("itself", [True, False])
def test_a_listener_that_failed_is_let_go_when_it_ends(
    itself: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A host that listens for a while, again and again, kept all of them, and what they held."""

    class Host:
        def __call__(self, event: Event) -> None:
            if itself and ends:
                ends.pop()()
            raise ValueError("of the host")

    ends: list[Callable[[], None]] = []
    caplog.set_level("CRITICAL", "engine")  # a record would hold it
    with Engine(None) as db:
        host = Host()
        gone = weakref.ref(host)
        ends.append(db.listen(host))
        db.get(doubled)
        if not itself:
            ends.pop()()
        del host
        assert gone() is None


def test_a_key_takes_no_further_arguments() -> None:
    with Engine(None) as db, pytest.raises(BadArguments, match="a key has its arguments already"):
        db.get(doubled.key(), 1)  # type: ignore[call-overload]  # that is what is tested


def test_what_the_engine_makes_says_what_it_is(tmp_path: Path) -> None:
    total = fold(each=numbers, of=halved, into=Sum())
    shown = [repr(one) for one in (halved.key(3), halves, halves.where, total)]
    assert shown == [
        "<Key test_misuse:halved(3)>",
        "<Table test_misuse:halves>",
        "<Lookup test_misuse:halves.where>",
        "<Fold test_misuse:halved.Sum>",
    ]
    with Engine(tmp_path / ".engine") as db:
        assert repr(db) == f"<Engine at {tmp_path / '.engine'}, revision 1>"
    assert repr(db) == f"<Engine at {tmp_path / '.engine'}, closed>"
    assert repr(Engine(None)) == "<Engine in memory, revision 1>"


def test_reading_a_store_that_is_not_there_says_that_nothing_was_stored(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as error:
        Engine(tmp_path / "none", read_only=True)
    assert "Nothing was stored there yet" in str(error.value)


def test_what_an_error_says_of_its_case_is_in_its_repr_too() -> None:
    with pytest.raises(BadSettings) as error:
        Engine(None, history=-1)
    assert repr(error.value) == "BadSettings(history='-1')"


@pytest.mark.parametrize("forgotten", ["batch", "snapshot"])
def test_a_batch_or_snapshot_without_with_is_told(forgotten: str) -> None:
    with Engine(None) as db:
        with pytest.warns(RuntimeWarning, match=f"without `with`: with db.{forgotten}"):
            getattr(db, forgotten)()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            block = getattr(db, forgotten)()
            with block:
                pass
            del block
