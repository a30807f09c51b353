"""An error that is kept keeps no frames alive, and takes none from who caught it."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from engine import Engine, input, query
from engine.failure import Failure
from engine.rules.files import FileMissing, read_text


@input
def number(name: str) -> int:
    return 0


def test_who_caught_a_failure_lets_go_of_the_frames_that_it_went_through(db: Engine) -> None:
    passed: list[weakref.ref[object]] = []

    class Local:
        pass

    @query
    def inverse(name: str) -> int:
        return 10 // number(name)

    @query
    def safe() -> int:
        local = Local()
        passed.append(weakref.ref(local))
        found = 0
        for name in ("a", "b"):
            try:
                found += inverse(name)
            except ZeroDivisionError:
                found += 1
        return found

    assert db.get(safe) == 2
    gc.collect()
    assert [one() for one in passed] == [None]
    with pytest.raises(ZeroDivisionError) as raised:
        db.get(inverse, "a")
    assert "inverse" in [entry.name for entry in raised.traceback], "where it was raised is still told"


def test_the_locals_of_a_host_are_left_alone(db: Engine) -> None:
    """What it caught is its own, to show what was where: the next request is no reason to empty that."""

    @query
    def inverse() -> int:
        return 10 // number("a")

    @query
    def scaled(scale: int) -> int:
        return scale * inverse()

    def host(scale: int) -> None:
        db.get(scaled, scale)

    with pytest.raises(ZeroDivisionError) as raised:
        host(10)
    (entry,) = [entry for entry in raised.traceback if entry.name == "host"]
    assert entry.frame.f_locals["scale"] == 10
    with pytest.raises(ZeroDivisionError):
        host(20)
    assert entry.frame.f_locals["scale"] == 10


def test_a_missing_file_is_an_answer_and_keeps_no_frames(tmp_path: Path) -> None:
    @query
    def there() -> bool:
        try:
            return bool(read_text("a.txt"))
        except FileMissing:
            return False

    with Engine(None, root=tmp_path) as db:
        assert not db.get(there)
        (failure,) = [one for one in db._core.graph.values if isinstance(one, Failure)]
        assert failure.error.__traceback__ is None
        with pytest.raises(FileMissing, match="missing"):
            db.get(read_text, "a.txt")
