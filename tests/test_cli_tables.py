"""Tables and folds on the command line: run, why, deps, rdeps, db, audit, verify."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import Engine
from engine.explain import SENTENCE
from engine.reason import Reason
from tests.commands import Command, commands_in
from tests.watch_process import Asked, Watching

RULES = """\
import enum, os
from collections.abc import Iterable
from pathlib import Path
from attrs import frozen
from engine import query, table, fold, Sum
from engine.rules.directories import glob
from engine.rules.files import read_text

class Size(enum.Enum):
    SHORT = 1
    LONG = 2

@frozen
class Word:
    text: str
    length: int
    size: Size

@query
def files() -> tuple[str, ...]:
    return tuple(glob("*.txt"))

@query
def lines(path: str) -> int:
    return len(read_text(path).splitlines())

@table(each=files, index=("text", "length", "size"), identity=("text",))
def words(path: str) -> Iterable[Word]:
    for word in read_text(path).split():
        yield Word(word, len(word), Size.LONG if len(word) > 3 else Size.SHORT)

line_total = fold(each=files, of=lines, into=Sum())

@query
def uses(word: str) -> int:
    return words.count(text=word) + line_total()

@query
def peeks() -> str:
    return (Path(os.path.dirname(__file__)) / "secret").read_text()

@query
def shouts() -> str:
    return peeks().upper()
"""


def project(place: Path) -> None:
    for name, text in {
        "rules.py": RULES,
        "engine.toml": 'rules = ["rules.py"]\n',
        "a.txt": "one two\n",
        "b.txt": "two\nthree\n",
        "secret": "before",
    }.items():
        (place / name).write_text(text)


@pytest.fixture
def engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run the command line in a project with tables."""
    project(tmp_path)
    with commands_in(tmp_path, monkeypatch, capfd) as run:
        yield run


# -- run -----------------------------------------------------------------------------------------


def test_a_table_is_run_as_a_whole_by_source_key_and_by_column(engine: Command) -> None:
    two = {"length": 3, "size": 1, "text": "two"}
    assert [row["text"] for row in engine("run", "words", "--json").json["value"]] == [
        *("one", "two", "three", "two")
    ]
    assert engine("run", "words", "b.txt", "--json").json["value"][0] == two
    assert engine("run", "words.of", "b.txt", "--json").json["value"][1] == two  # sorted by columns
    assert engine("run", "rules.py:words.where", "text=two", "length=3", "--json").json["value"] == [two, two]
    assert engine("run", "words.count", "-a", "size=LONG", "-q").out == "1\n"
    assert engine("run", "words.starting", "text=t", "--json").json["value"][1]["text"] == "three"
    assert engine("run", "words.first", "text=none", "-q").out == "None\n"
    assert engine("run", "words.failures", "-q") == (0, "", "")
    assert engine("run", "line_total", "-q").out == "3\n"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("words.where", "two"), ("COLUMN=VALUE", "text, length, size")),
        (("words.where", "text=a", "-a", "text=b"), ("text=b", "text is given twice")),
        (("words.where", "length=two"), ("column:", "length", "int")),
        (("words.where", "size=HUGE"), ("SHORT", "LONG")),
        (("words.where", "color=red"), ("there is no such column", "text, length, size")),
        (("words.starting", "length=3"), ("only texts",)),
        (("words.nowhere", "text=two"), ("no such query",)),
    ],
)
def test_a_lookup_that_cannot_be_is_refused_in_words(
    engine: Command, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    found = engine("run", *arguments)
    assert (found.code, found.out) == (2, "")
    assert "Traceback" not in found.err
    for part in parts:
        assert part in found.err, found.err


# -- why, deps, rdeps, db ------------------------------------------------------------------------


def test_tables_members_and_lookups_are_named_as_people_write_them(engine: Command) -> None:
    engine("run", "uses", "two")
    lookup = "rules:words.count(text='two')"
    assert engine("deps", "uses", "two").out == f"{lookup}\nrules:lines.Sum()\n"
    assert engine("rdeps", "words").out == f"{lookup}\n"
    assert engine("deps", "words").out == "rules:files()\nrules:words('a.txt')\nrules:words('b.txt')\n"
    assert engine("rdeps", "rules:words('a.txt')").out == "rules:words\n"
    assert engine("rdeps", "lines", "a.txt").out == "rules:lines.Sum\n"
    assert engine("deps", lookup).out == "rules:words\n"
    assert engine("rdeps", "words.count", "text=two").out == "rules:uses('two')\n"


def test_what_is_not_loaded_is_named_too(engine: Command) -> None:
    engine("run", "uses", "two")
    Path("engine.toml").write_text("")
    assert "rules:words('a.txt')" in engine("deps", "rules:words").out
    assert "rules:words" in engine("deps", "rules:words.count(text='two')").out


def test_why_says_that_rows_changed(engine: Command) -> None:
    engine("run", "uses", "two")
    Path("c.txt").write_text("two\n")
    engine("run", "uses", "two")
    assert "rows that it looks at changed" in engine("why", "rules:words.count(text='two')").out
    assert "a member changed" in engine("why", "words").out
    assert engine("why", "words", "--json").json["why"]["key"] == "rules:words"


def test_every_reason_but_a_change_has_a_sentence() -> None:
    assert set(Reason) - set(SENTENCE) == {Reason.CHANGED}


def test_db_counts_the_rows_of_tables(engine: Command) -> None:
    engine("run", "words")
    rows = engine("db", "--json").json["rows"]
    assert [count for name, count in rows.items() if name.startswith("rows_words")] == [4]


# -- audit ---------------------------------------------------------------------------------------


def test_an_audit_of_what_is_right_ends_with_0(engine: Command) -> None:
    engine("run", "uses", "two")
    found = engine("audit", "words")
    assert (found.code, found.err) == (0, "")
    assert found.out == "rules:words: 2 members and 1 lookup computed again: no difference\n"
    document = engine("audit", "rules.py:line_total", "--sample", "1", "--json").json
    assert (document["members"], document["differences"]) == (1, [])


def test_an_audit_names_a_row_that_is_kept_wrongly_and_ends_with_1(
    engine: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.tables.kept import KeptRows

    engine("run", "words")
    honest = KeptRows.of

    def of(self: Any, member: int) -> Any:
        first, *rest = honest(self, member)
        return (("four", *first[1:]), *rest)

    monkeypatch.setattr(KeptRows, "of", of)
    found = engine("audit", "words", "--json")
    monkeypatch.undo()
    assert found.code == 1
    for one in found.json["differences"]:
        assert one["where"].startswith("rules:words(")
        assert {one["kept"], one["right"]} & {"no such row"}


@pytest.mark.parametrize("name", ["uses", "rules.py:lines", "nothing", "rules.py:nothing", "no.py:words"])
def test_an_audit_of_what_is_neither_table_nor_fold_is_refused(engine: Command, name: str) -> None:
    engine("run", "words")
    found = engine("audit", name)
    assert (found.code, found.out) == (2, "")
    assert "Traceback" not in found.err
    assert ("no such query" in found.err) == (name in ("nothing", "rules.py:nothing"))
    assert (f"engine verify {name}." in found.err) == (name in ("uses", "rules.py:lines"))


def test_rows_are_copied_to_a_file_for_other_programs(engine: Command) -> None:
    engine("run", "words")
    assert engine("db", "--export", "rows.db") == (0, "words  4 rows\n", "")
    assert engine("db", "--export", "rows.db").code == 73
    assert engine("db", "--export", "other.db", "--schema").code == 2
    assert engine("db", "--export", "more.db", "--json").json["rows"] == {"words": 4}
    with sqlite3.connect("rows.db") as found:
        texts = found.execute("SELECT text, length FROM words ORDER BY text").fetchall()
    found.close()
    assert texts == [("one", 3), ("three", 5), ("two", 3), ("two", 3)]


def test_a_copy_of_no_rows_says_so(engine: Command) -> None:
    engine("run", "rules.py:lines", "a.txt")
    assert engine("db", "--export", "rows.db") == (
        0, "", "note: the store has no tables of rows: the file is empty\n",
    )  # fmt: skip


# -- verify --------------------------------------------------------------------------------------


def test_verify_proves_what_was_ever_asked_for(engine: Command) -> None:
    engine("run", "uses", "two")
    engine("run", "words")
    Path("a.txt").write_text("two two\n")
    found = engine("verify")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("2 keys from scratch, ")
    assert re.search(r" nodes compared, revision \d+: no difference\n\Z", found.out)
    document = engine("verify", "--json").json
    assert (document["differences"], document["moved"], document["left_out"]) == ([], [], [])
    assert engine("verify", "words", "line_total", "uses('two')", "--sample", "3", "-q") == (0, "", "")


def test_verify_names_the_key_with_a_read_that_nobody_recorded(engine: Command) -> None:
    engine("run", "shouts")
    Path("secret").write_text("after")
    found = engine("verify")
    assert found.code == 1
    assert found.out.startswith("rules:peeks()\n  kept   'before'\n  right  'after'\n1 key that rest")
    assert "  rules:shouts(), because of rules:peeks()\n" in found.out
    assert found.out.endswith("2 differences\n")
    document = engine("verify", "--json", "shouts").json
    assert [one["key"] for one in document["differences"]] == ["rules:peeks()", "rules:shouts()"]
    assert document["differences"][0]["kept"] == "'before'"
    engine("forget", "rules:*")
    assert engine("verify", "shouts").code == 0


def test_verify_finds_stored_bytes_that_are_damaged(engine: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    engine("run", "lines", "a.txt")
    import engine.comparison as comparison
    import engine.verification as verification

    honest = comparison.compare

    def compare(core: Any, scratch: Any, seen: Any) -> Any:
        with sqlite3.connect(".engine/store.db") as other:
            other.execute("UPDATE node SET value = x'05' WHERE value = x'01'")
        other.close()
        return honest(core, scratch, seen)

    monkeypatch.setattr(verification, "compare", compare)
    found = engine("verify")
    monkeypatch.undo()
    assert found.code == 1
    assert found.out.startswith("rules:lines('a.txt')\n  kept   stored bytes that are not")


def test_verify_leaves_out_keys_of_rules_that_are_not_loaded(tmp_path: Path) -> None:
    project(tmp_path)
    Asked(tmp_path, "run", "line_total")
    (tmp_path / "other.py").write_text(RULES)
    Asked(tmp_path, "run", "other.py:lines", "a.txt")
    (tmp_path / "engine.toml").write_text('rules = ["other.py"]')
    found = Asked(tmp_path, "verify")
    assert (found.code, found.err) == (0, "")
    assert "rules:lines.Sum is in no rule module that is loaded: its keys were not compared\n" in found.out
    assert "  Name their modules in the setting rules, or say MODULE:QUERY.\n1 key from" in found.out


def test_verify_of_nothing_is_no_verification(tmp_path: Path) -> None:
    project(tmp_path)
    Asked(tmp_path, "run", "line_total")
    (tmp_path / "engine.toml").write_text("")
    for flags in ((), ("--json",), ("--quiet",)):
        found = Asked(tmp_path, "verify", *flags)
        assert (found.code, found.out) == (2, "")
        assert "nothing was compared" in found.err
        assert "rules:lines.Sum" in found.err
        assert "engine verify --rules rules.py" in found.err
    Engine(tmp_path / "empty").close()
    found = Asked(tmp_path, "verify", "--store", "empty")
    assert (found.code, found.out) == (2, "")
    assert "cause: the store has no key that anybody asked for\n  Name one:" in found.err


@pytest.mark.parametrize(
    "arguments", [("verify", "nothing"), ("verify", "--sample", "0"), ("verify", "lines"), ("audit",)]
)
def test_a_verification_of_what_is_not_there_is_refused(engine: Command, arguments: tuple[str, ...]) -> None:
    engine("run", "words")
    found = engine(*arguments)
    assert (found.code, found.out) == (2, "")
    assert "Traceback" not in found.err


@pytest.mark.parametrize("command", ["verify", "audit"])
def test_without_a_store_there_is_nothing_to_check(engine: Command, command: str) -> None:
    assert engine(command, "words").code == 73


def test_while_a_watch_has_the_store_what_it_committed_is_checked(tmp_path: Path) -> None:
    project(tmp_path)
    with Watching(tmp_path, "words", "uses('two')") as watch:
        watch.ready()
        for command in ("verify", "audit"):
            found = Asked(tmp_path, command, "words")
            assert found.code == 0, found.err
            assert "what it committed is checked, and nothing is saved" in found.err
            assert found.out.endswith("no difference\n")
        run = Asked(tmp_path, "run", "words.where", "text=two", "--json")
        assert run.by_watch
        assert len(json.loads(run.out)["value"]) == 2
