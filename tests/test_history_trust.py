"""Of earlier memos only what can be trusted comes back: not after changed code, nor of forgotten keys."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from engine import Engine, input, query, table
from engine.tables.table import Table

SECRET: ContextVar[str] = ContextVar("secret")  # what no query declares that it reads


class Line(NamedTuple):
    text: str


@input(name="trust:listed")
def listed() -> tuple[int, ...]:
    return (1,)


@input(name="trust:shown")
def shown(n: int) -> int:
    return 0


@query(name="trust:doubled")
def doubled(n: int) -> int:
    return 2 * shown(n)


@query(name="trust:keys")
def keys() -> tuple[int, ...]:
    return listed()


def lines_of(version: str) -> Table[int, Line]:
    def members(n: int) -> tuple[Line, ...]:
        return (Line(f"{version}{shown(n)}"),)

    return table(each=keys, name="trust:lines", version=version)(members)


def its_only_member_goes_and_comes_again(db: Engine, lines: Table[int, Line]) -> None:
    """And has rows of the code and the secret of now, "b", also where what it read is what it was before."""
    db.set(listed.key(), ())
    assert db.get(lines.where.key()) == ()
    db.set(listed.key(), (1,))
    db.set(shown.key(1), 1)
    assert db.get(lines.where.key()) == (Line("b1"),)
    db.set(shown.key(1), 0)
    assert db.get(lines.where.key()) == (Line("b0"),)


def test_rows_of_other_code_do_not_come_back_with_their_member(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=4) as db:
        lines = lines_of("a")
        assert db.get(lines.where.key()) == (Line("a0"),)
        lines = lines_of("b")
        its_only_member_goes_and_comes_again(db, lines)


def test_rows_that_were_forgotten_do_not_come_back_with_their_member(tmp_path: Path) -> None:
    def members(n: int) -> tuple[Line, ...]:
        return (Line(f"{SECRET.get()}{shown(n)}"),)

    SECRET.set("a")
    lines = table(each=keys, name="trust:secrets", version="1")(members)
    with Engine(tmp_path / "store", history=4) as db:
        assert db.get(lines.where.key()) == (Line("a0"),)
        SECRET.set("b")
        db.forget("trust:secrets(*")
        its_only_member_goes_and_comes_again(db, lines)


def test_what_is_forgotten_while_no_history_is_kept_does_not_come_back_later(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=4) as db:
        for value in (0, 1, 2):
            db.set(shown.key(1), value)
            assert db.get(doubled, 1) == 2 * value
    with Engine(tmp_path / "store", history=0) as db:
        db.forget("trust:doubled(*")
        assert db.get(doubled, 1) == 4
    with Engine(tmp_path / "store", history=4) as db:
        db.set(shown.key(1), 1)
        assert db.get(doubled, 1) == 2
        assert (db.counts().executed, db.counts().restored) == (1, 0)


def test_who_reads_a_member_that_was_put_back_gets_its_rows_in_their_order_and_number(tmp_path: Path) -> None:
    def members(n: int) -> tuple[Line, ...]:
        return tuple(map(Line, "cbc" if shown(n) else "aba"))

    lines = table(each=keys, name="trust:ordered")(members)
    with Engine(tmp_path / "store", history=4) as db:
        for value, rows in ((0, "ab"), (1, "bc"), (0, "ab")):
            db.set(shown.key(1), value)
            assert db.get(lines.where.key()) == tuple(map(Line, rows))
        assert db.counts().restored == 1
        assert db.get(lines, 1) == tuple(map(Line, "aba"))
