"""A look finds what differs and changes nothing; taking it makes one revision."""

from __future__ import annotations

import os
from typing import Any

import pytest

from engine import Engine, WrongValue, input, observe
from engine.locate import find
from engine.look import look_at
from engine.query import info_of
from engine.rules import stat
from engine.rules.files import read_text
from tests.looking import db, looked, node_of, paths_in, shouted, taken, trusting, write

__all__ = ["db", "trusting"]


def test_a_look_at_some_inputs_stamps_and_reads_only_these(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(db, a="1", b="1", c="1")
    for path in "abc":
        db.get(shouted, path)
    write(db, a="2!", b="2!", c="2!")
    stamped: list[str] = []
    lstat = os.lstat

    def counting(path: str) -> os.stat_result:
        stamped.append(os.path.basename(path))
        return lstat(path)

    before = db.counts()
    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", counting)
        found = looked(db, "a", "b")
    assert (paths_in(found), found.retry, found.stamped, found.whole) == (["a", "b"], [], 2, False)
    assert sorted(set(stamped)) == ["a", "b"]
    more = db.counts() - before
    assert (more.stamped, more.read) == (2, 2)
    assert [db.get(shouted, path) for path in "abc"] == ["1", "1", "1"], "it counts before it was taken"
    assert taken(db, found) == 2
    assert [db.get(shouted, path) for path in "abc"] == ["2!", "2!", "1"]
    assert db.sync() == 1
    assert db.get(shouted, "c") == "2!"
    db.check_invariants()


def test_what_did_not_change_is_stamped_and_not_read(db: Engine) -> None:
    write(db, a="1", b="1")
    for path in "ab":
        db.get(shouted, path)
    before = db.counts()
    found = looked(db, "a", "b")
    assert (found.changes, found.retry, found.stamped) == ([], [], 2)
    assert (db.counts() - before).read == 0


def test_nodes_that_are_not_observed_are_left_out(db: Engine) -> None:
    write(db, a="1")
    db.get(shouted, "a")
    reader = find(db._core, info_of(shouted), ("a",))
    assert reader
    with db._core.sync_lock:
        assert look_at(db._core, [reader, node_of(db, "a")]).stamped == 1


def test_what_the_host_set_is_not_looked_at(db: Engine) -> None:
    write(db, a="1")
    db.get(shouted, "a")
    db.set(read_text.key("a"), "set")
    write(db, a="2!")
    assert looked(db, "a").stamped == 0
    assert db.sync() == 0
    assert db.get(shouted, "a") == "SET"


def test_what_the_host_set_after_the_look_is_kept(db: Engine) -> None:
    write(db, a="1")
    db.get(shouted, "a")
    write(db, a="2!")
    found = looked(db, "a")
    db.set(read_text.key("a"), "set")
    assert (paths_in(found), taken(db, found)) == (["a"], 0)
    assert db.get(shouted, "a") == "SET"


def test_equal_content_makes_no_revision_and_is_not_read_again(db: Engine) -> None:
    write(db, a="1")
    db.get(shouted, "a")
    node, revision = node_of(db, "a"), db.revision
    before = db._core.observed[node]
    write(db, a="2")
    write(db, a="1")
    found = looked(db, "a")
    assert (paths_in(found), taken(db, found), db.revision) == (["a"], 0, revision)
    assert db._core.observed[node] not in (before, observe.RACY)
    assert looked(db, "a").changes == []


def test_a_stamp_that_is_not_settled_is_read_at_every_look(
    db: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stat, "RACY_WINDOW_NS", 10**18)
    write(db, a="1")
    db.get(shouted, "a")
    for _ in range(2):
        found = looked(db, "a")
        assert (paths_in(found), taken(db, found)) == (["a"], 0)
    monkeypatch.setattr(stat, "RACY_WINDOW_NS", 0)
    found = looked(db, "a")
    assert (paths_in(found), taken(db, found)) == (["a"], 0)
    assert looked(db, "a").changes == []


def test_one_look_makes_one_revision(db: Engine) -> None:
    paths = [f"f{number}" for number in range(30)]
    write(db, **dict.fromkeys(paths, "1"))
    for path in paths:
        db.get(shouted, path)
    revision = db.revision
    write(db, **dict.fromkeys(paths, "2!"))
    assert taken(db, looked(db, *paths)) == 30
    assert db.revision == revision + 1


ANSWERS: list[Any] = [1]


@input(observed=True)
def answered(place: str) -> int:
    answer: int = ANSWERS[-1]
    return answer


def test_a_value_of_another_type_is_told_with_its_key_also_where_a_look_finds_it(db: Engine) -> None:
    assert db.get(answered, "here") == 1
    ANSWERS.append("two")
    try:
        assert db.sync() == 1
        with pytest.raises(WrongValue) as looked_at:
            db.get(answered, "here")
        with pytest.raises(WrongValue) as first_read:
            db.get(answered, "there")
    finally:
        ANSWERS.pop()
    assert str(looked_at.value) == str(first_read.value).replace("there", "here")
    assert "answered('here')" in str(looked_at.value)
