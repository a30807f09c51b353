"""A start reads the bundles of observed inputs, and stamps together what shares stamps."""

from __future__ import annotations

import os
import time
from pathlib import Path

from engine import Engine, each, input, query
from engine.rules.files import read_text
from tests.bundles import Statements

stamped: list[list[str]] = []


def one_stamp(name: str) -> bytes:
    return b"stamp of " + name.encode()


def many_stamps(names: list[str]) -> list[bytes]:
    stamped.append(names)
    return [b"stamp of " + name.encode() for name in names]


@input(stamp=one_stamp, stamps=many_stamps)
def letters(name: str) -> int:
    return len(name)


@input(stamp=one_stamp, stamps=many_stamps)
def first_letter(name: str) -> str:
    return name[:1]


@query
def all_letters(count: int) -> int:
    return sum(each(letters, [f"name {number}" for number in range(count)])) + len(first_letter("name 3"))


@query
def lines(name: str) -> int:
    return read_text(name).count("\n")


@query
def all_lines(names: tuple[str, ...]) -> int:
    return sum(each(lines, names))


def test_inputs_that_share_stamps_are_stamped_once_after_a_restart(tmp_path: Path) -> None:
    for restarted in (False, True):
        with Engine(tmp_path / "store", root=tmp_path) as db:
            stamped.clear()
            assert db.get(all_letters, 2000) > 0
            if restarted:
                assert sorted(name for names in stamped for name in names) == sorted(
                    f"name {number}" for number in range(2000)
                )
                assert len(stamped) == 1  # in one call, though there are four bundles and more
                assert db.counts().read == 0


def test_a_start_reads_bundles_and_no_row_of_an_input(tmp_path: Path) -> None:
    names = tuple(f"{number}.txt" for number in range(300))
    for name in names:
        (tmp_path / name).write_text("line\n")
        os.utime(tmp_path / name, (1, 1))
    time.sleep(2.1)  # the change time has to settle
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(all_lines, names) == 300
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.store is not None
        statements = Statements(db.store)
        assert db.get(all_lines, names) == 300
        assert statements.count_of("FROM observed") == 1
        assert statements.count_of("FROM input") == 0
        assert statements.count_of("FROM node") == 2  # the key that was asked for, and its value
        assert (db.counts().stamped, db.counts().read, db.counts().executed) == (300, 0, 0)
    (tmp_path / "7.txt").write_text("line\nline\n")
    (tmp_path / "8.txt").unlink()
    (tmp_path / "8.txt").write_text("line\n")
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(all_lines, names) == 301
        assert (db.counts().stamped, db.counts().read, db.counts().executed) == (300, 2, 2)
        assert db.store is not None
        db.store.check_invariants()
