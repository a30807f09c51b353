"""What a table or a feed cannot be asked is refused with place, cause and remedy, and harms nothing."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from engine import BadCursor, BadLookup, Engine, MemberFailure, input, query, table
from engine.errors import WrongColumn
from tests.workers import Rules


@frozen
class Word:
    text: str
    length: int = 0


@input(name="refused:words")
def said(name: str) -> tuple[Any, ...]:
    return (name,)


@query(name="refused:names")
def names() -> tuple[str, ...]:
    return ("cat", "dog")


@table(each=names, index=("text",), name="refused:table")
def words(name: str) -> Iterable[Word]:
    for text in said(name):
        yield Word(text, len(name))


@pytest.mark.parametrize(
    ("args", "columns", "says"),
    [
        (("cat",), {}, "given by name"),
        (("text", "cat", "text"), {}, "given by name"),
        ((1, 2), {}, "given by name"),
        (("text", "cat", "text", "dog"), {}, "twice"),
        (("text", "cat"), {"text": "dog"}, "twice"),
    ],
)
def test_a_value_without_its_column_is_no_lookup_of_all_rows(
    args: tuple[Any, ...], columns: dict[str, Any], says: str
) -> None:
    with Engine(None) as db:
        for mode in (words.where, words.first, words.exists, words.count, words.starting):
            lookup: Any = mode
            with pytest.raises(BadLookup, match=says) as error:
                db.get(lookup, *args, **columns)
            assert "refused:table" in str(error.value)
            assert f"{lookup.__name__}(text=value)" in str(error.value)
        assert db.get(words.where, "text", "cat") == (Word("cat", 3),)  # as stored keys have it


def test_a_value_of_another_type_is_the_fault_of_the_lookup_and_says_so() -> None:
    with Engine(None) as db, pytest.raises(WrongColumn) as error:
        db.get(words.count, text=1)
    told = str(error.value)
    assert "no row of this table" in told
    assert "text" in told
    assert "str" in told
    assert "annotation" not in told


def test_a_failure_of_a_member_is_told_with_its_cause_and_follows_it() -> None:
    with Engine(None) as db:
        for value, kind in ((1, "int"), (2.5, "float")):
            db.set(said.key("dog"), (value,))
            (failure,) = db.get(words.failures)
            assert isinstance(failure, MemberFailure)
            assert failure.source == "'dog'"
            assert f"got: {kind}" in failure.error
            assert "expected: str" in failure.error
        with pytest.raises(Exception, match="float"):
            db.get(words.of, "dog")


@pytest.mark.parametrize("name", ["", "\udcff", "x" * 1001, None, 3])
def test_a_name_that_no_consumer_can_have_is_refused_before_anything_is_kept(
    name: Any, tmp_path: Path
) -> None:
    with Engine(tmp_path / "store") as db:
        for what in (words, names):
            with pytest.raises(BadCursor, match="name of a consumer"):
                db.changes(what, since=name)
        assert len(list(db.changes(words, since="x" * 1000))) == 1  # the store takes everything that follows
    with Engine(tmp_path / "store") as db:
        assert list(db.changes(words, since="x" * 1000)) == []


@pytest.mark.parametrize("position", ["", "garbage", "\udcff", 3, "0123456789abcdef-0-" + 40 * "9" + "g"])
def test_what_was_never_a_position_is_refused(position: Any) -> None:
    with Engine(None) as db:
        for what in (words, names):
            list(db.changes(what, since="me"))
            with pytest.raises(BadCursor, match="no position"):
                db.changes(what, since="me", after=position)


def test_the_remedy_for_a_position_of_another_store_brings_everything() -> None:
    with Engine(None) as db:
        position = next(iter(db.changes(words, since="me"))).position
    with Engine(None) as db:
        list(db.changes(words, since="me"))
        with pytest.raises(BadCursor, match="under another name or after closing this cursor"):
            db.changes(words, since="me", after=position)
        assert list(db.changes(words, since="me")) == [], "without the rest of the remedy rows were missing"
        db.changes(words, since="me").close()
        for name in ("me", "other"):
            (delta,) = db.changes(words, since=name)
            assert (delta.reset, len(delta.added)) == (True, 2)


VERSIONS = """
from typing import NamedTuple
from engine import each, query, table

class Row(NamedTuple):
    name: str
    n: {kind}

@query
def numbers() -> tuple[int, ...]:
    return 1, 2

@table(each=numbers, index=({index}))
def rows(n: int) -> list[Row]:
    return [Row(f"r{{n}}", {value})]

@query
def caught() -> str:
    try:
        return str(rows.count(name="r1"))
    except BadLookup:
        return "refused"

@query
def named() -> str:
    try:
        return str(sum(each([rows.count.key(name="r1")])))
    except BadLookup:
        return "refused"

@query
def typed() -> str:
    try:
        return str(rows.count(n=1))
    except WrongColumn:
        return "wrong"

@query
def plain() -> int:
    return rows.count(name="r1")
"""


@pytest.mark.parametrize("restarts", [False, True])
def test_a_lookup_that_is_refused_runs_again_when_the_table_has_the_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    """And one that was answered is refused when the column is indexed no more."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file, name = tmp_path / "versions.py", "versions_of_a_table"
    head = "from __future__ import annotations\nfrom engine.errors import BadLookup, WrongColumn\n"
    db = Engine(tmp_path / "store")
    both, text = {"index": '"name", "n"', "kind": "int", "value": "n"}, {"kind": "str", "value": "str(n)"}
    for how, expected in (
        ({**both, "index": '"n",'}, ("refused", "1", BadLookup)),
        (both, ("1", "1", 1)),
        ({**both, **text}, ("1", "wrong", 1)),
        ({**both, "index": '"n",'}, ("refused", "1", BadLookup)),
        (both, ("1", "1", 1)),
    ):
        if restarts:
            db.close()
            db = Engine(tmp_path / "store")
        file.write_text(head + VERSIONS.format(**how))
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module: Any = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        assert (db.get(module.caught), db.get(module.typed)) == expected[:2], how
        assert db.get(module.named) == expected[0], how
        if isinstance(expected[2], int):
            assert db.get(module.plain) == expected[2]
        else:
            with pytest.raises(expected[2]):
                db.get(module.plain)
        assert not db.notes()
        db.check_invariants()
    db.close()


@pytest.mark.parametrize("given", ["return 1, 2", "raise ValueError('none')"])
def test_a_table_that_is_opened_after_a_refused_lookup_loses_nobody_who_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """The lookup was forced in the revision in which its reader held: no later change reached that one."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    head = "from __future__ import annotations\nfrom engine.errors import BadLookup, WrongColumn\n"
    text = VERSIONS.format(index='"n",', kind="int", value="n").replace("return 1, 2", given)
    rules = Rules(tmp_path, text, head=head)
    with Engine(None) as db:
        assert db.get(rules.caught) == "refused"
        with nullcontext() if given.startswith("return") else pytest.raises(ValueError, match="none"):
            db.get(rules.typed)  # this opens the table
        assert db.get(rules.caught) == "refused"
        db.check_invariants()
        rules.file.write_text(head + VERSIONS.format(index='"name", "n"', kind="int", value="n"))
        rules.load()
        assert db.get(rules.caught) == "1"
