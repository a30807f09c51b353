"""Every reader of a kept exception gets one of its own: what is done to it concerns nobody else."""

from __future__ import annotations

import builtins
import gc
import json
import pickle
import sqlite3
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import attrs
import pytest

from engine import CycleError, Engine, input, query
from engine.explain import WHILE
from engine.reader import Reader, View
from engine.rules.files import FileMissing


@pytest.fixture
def db() -> Iterator[Engine]:
    with Engine(None) as opened:
        yield opened


class Named(Exception):
    def __init__(self, *, why: str) -> None:
        super().__init__(f"because {why}")
        self.why = why


class Counted(Exception):
    made = 0

    def __new__(cls, *args: object) -> Counted:
        Counted.made += 1
        return super().__new__(cls, *args)


class Slotted(Exception):
    __slots__ = ("line", "never")
    line: int


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


@attrs.frozen
class AttrsFrozen(Exception):
    code: int


class Several(ExceptionGroup[Exception]):
    code: int

    def __new__(cls, errors: list[Exception], code: int) -> Several:
        made = super().__new__(cls, "several", errors)
        made.code = code
        return made

    message = property()  # pyright: ignore[reportIncompatibleMethodOverride]  # nothing of the class is asked


class Two(KeyError, AttributeError):
    pass


def slotted() -> Slotted:
    error = Slotted("x")
    error.line = 7
    return error


def garbled() -> Exception:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    return caught.value


ODD = [
    Named(why="of it"), slotted(), Frozen(3), AttrsFrozen(3), cast(Any, Several)([ValueError("a")], 5),
    Two("q"), garbled(), ExceptionGroup("many", [KeyError(2)]),
    UnicodeDecodeError("utf8", b"abc", 1, 2, "bad"),
    UnicodeEncodeError("utf8", "abc", 1, 2, "bad"), UnicodeTranslateError("abc", 1, 2, "bad"),
    ImportError("no", name="n", path="p"), ModuleNotFoundError("no", name="n"), StopAsyncIteration(7),
    SyntaxError("bad", ("f", 1, 2, "text", 3, 4)), AttributeError("x", name="n", obj=3),
    NameError("x", name="n"), FileNotFoundError(2, "no", "f", None, "g"), OSError(5, "no", "f"),
    BlockingIOError(11, "no", 5), sqlite3.OperationalError("x"), subprocess.CalledProcessError(1, ["x"]),
    FileMissing("a.txt", kind="missing"),
]  # fmt: skip


def simple() -> list[Exception]:
    """Every built-in exception that is made from one text."""
    made = []
    for kind in vars(builtins).values():
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                made.append(kind("text"))
            except TypeError:
                assert issubclass(kind, UnicodeError | ExceptionGroup)
    return made


@query(name="raised:fails")
def fails(n: int) -> int:
    raise simple_or_odd()[n]


def simple_or_odd() -> list[Exception]:
    return [one for one in (*ODD, *simple()) if not isinstance(one, StopIteration)]


def public(error: Exception) -> dict[str, object]:
    names = [name for name in dir(error) if not name.startswith("__")]
    held = {name: getattr(error, name) for name in names if hasattr(error, name)}
    return {name: value for name, value in held.items() if not callable(value)}


def names(error: Exception) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def read(db: Reader | View, *key: object) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # any: what the tests are about
        db.get(*key)  # type: ignore[call-overload]  # any key
    return caught.value


def test_what_a_reader_gets_is_like_what_was_raised(db: Engine) -> None:
    for n, there in enumerate(simple_or_odd()):
        first, second = read(db, fails, n), read(db, fails, n)
        assert first is not second
        for one in (first, second):
            assert type(one) is type(there)
            assert (repr(one), str(one)) == (repr(there), str(there))
            assert str(public(one)) == str(public(there))
        assert WHILE + "raised:fails" in "".join(first.__notes__)


def test_a_copy_can_be_pickled_as_what_was_raised_can(db: Engine) -> None:
    @query
    def broken() -> int:
        raise sqlite3.IntegrityError("twice")

    again = pickle.loads(pickle.dumps(read(db, broken)))
    assert (type(again), again.args) == (sqlite3.IntegrityError, ("twice",))


def test_no_constructor_runs_for_a_reader(db: Engine) -> None:
    @query
    def broken() -> int:
        raise Counted("once")

    before = Counted.made
    for _ in range(3):
        assert read(db, broken).args == ("once",)
    assert Counted.made == before + 1


def test_a_note_on_an_error_is_seen_by_nobody_else(db: Engine) -> None:
    @query
    def broken() -> int:
        error = ValueError("no")
        error.add_note("mind the gap")
        raise error

    read(db, broken).add_note("of the first reader")
    second = read(db, broken)
    assert [note for note in second.__notes__ if not note.startswith(WHILE)] == ["mind the gap"]


def test_what_one_reader_was_handling_is_not_told_to_the_next_nor_kept(db: Engine) -> None:
    class Local:
        pass

    @query
    def broken() -> int:
        raise ValueError("no")

    read(db, broken)

    def host() -> weakref.ref[Local]:
        local = Local()
        try:
            raise KeyError("of the first reader")
        except KeyError:
            with pytest.raises(ValueError, match="no"):
                db.get(broken)
        return weakref.ref(local)

    kept = host()
    gc.collect()
    assert kept() is None
    assert read(db, broken).__context__ is None


def test_each_reader_is_told_the_way_on_which_it_came(db: Engine) -> None:
    @query(name="raised:leaf")
    def leaf() -> int:
        raise ValueError("no")

    @query(name="raised:left")
    def left() -> int:
        return leaf()

    @query(name="raised:right")
    def right() -> int:
        return leaf()

    kept = [read(db, left), read(db, right), read(db, leaf)]
    assert ["".join(one.__notes__) for one in kept] == [
        "while computing raised:left() -> raised:leaf()",
        "while computing raised:right() -> raised:leaf()",
        "while computing raised:leaf()",
    ]


def test_the_traceback_that_a_reader_holds_is_its_own_and_does_not_grow(db: Engine) -> None:
    @query
    def broken() -> int:
        raise ValueError("no")

    def other_host() -> Exception:
        return read(db, broken)

    first = read(db, broken)
    told = names(first)
    second = other_host()
    assert names(first) == told
    assert names(second) == told
    assert told[-1] == "broken"


def test_threads_that_read_one_failure_at_once_see_only_their_own_frames(db: Engine) -> None:
    @query
    def broken() -> int:
        raise ValueError("no")

    read(db, broken)
    code = "def way_{0}(get):\n    return get()\n"
    mixed: list[str] = []
    ways = []
    for n in range(6):
        scope: dict[str, object] = {}
        exec(code.format(n), scope)
        ways.append(scope[f"way_{n}"])
    gate = threading.Barrier(len(ways))

    def ask(n: int) -> None:
        gate.wait()
        for _ in range(150):
            try:
                ways[n](lambda: db.get(broken))  # type: ignore[operator]  # it was made by `exec`
            except ValueError as error:
                frames = names(error)
                strange = [one for one in frames if one.startswith("way_") and one != f"way_{n}"]
                if strange or frames.count(f"way_{n}") != 1 or frames[-1] != "broken":
                    mixed.append(f"{n}: {frames}")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(ways))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert mixed == []


def test_members_of_a_ring_do_not_share_the_error_that_they_raise(db: Engine) -> None:
    @query(name="raised:ping")
    def ping() -> int:
        return pong()

    @query(name="raised:pong")
    def pong() -> int:
        return ping()

    errors = [read(db, ping), read(db, pong)]
    assert errors[0] is not errors[1]
    assert len({one.path for one in errors if isinstance(one, CycleError)}) == 1
    began = [note.startswith(WHILE + "raised:ping()") for one in errors for note in one.__notes__]
    assert began == [True, False]


def test_a_query_that_passes_an_error_on_has_the_same_failure(db: Engine) -> None:
    runs: list[str] = []

    @input(name="raised:bound")
    def bound() -> int:
        return 0

    @query(name="raised:low")
    def low() -> int:
        runs.append("low")
        raise Named(why=f"{bound() > 9}")

    @query(name="raised:high")
    def high() -> int:
        runs.append("high")
        try:
            return low()
        except Named:
            raise

    first = read(db, high)
    db.set(bound.key(), 1)
    second = read(db, high)
    assert runs == ["high", "low", "low"], "an equal failure is cut off"
    assert str(first) == str(second)
    assert names(second).count("low") == 1, "told once, however far it goes"


def test_a_snapshot_hands_out_errors_of_its_own(db: Engine) -> None:
    @query(name="raised:seen")
    def seen() -> int:
        raise ValueError("no")

    with db.snapshot() as held:
        assert read(held, seen) is not read(held, seen)


def test_an_exception_that_cannot_be_copied_is_one_object(db: Engine) -> None:
    """Its class is laid out for a field that nothing tells of, as those of extensions may be."""

    class Base(Exception):
        __slots__ = ("hidden",)

    del Base.hidden  # type: ignore[attr-defined]  # mypy does not know slots that are not annotated

    @query
    def broken() -> int:
        raise Base("no")

    first = read(db, broken)
    assert read(db, broken) is first
