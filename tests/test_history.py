"""What holds again does not run again: branches that are gone back to, edits that are undone."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from attrs import frozen

import engine.store.parts
from benchmarks.mutations import applied, random_edit
from benchmarks.questions import digests
from benchmarks.repository import encoded, repository
from engine import Engine, Event, Sum, What, each, fold, input, query, table
from engine.query import Query
from engine.rules.files import exists, read_text
from tests.timelines import switch_branches
from tests.worlds import Settings

RAN = (What.EXECUTED, What.CUT_OFF, What.FAILED)


@input(name="history:cell")
def cell(name: str) -> int:
    return 0


@query(name="history:doubled")
def doubled(name: str) -> int:
    return 2 * cell(name)


@query(name="history:chosen")
def chosen() -> int:
    """What it reads depends on what it has read."""
    return doubled(f"branch {cell('switch')}")


@query(name="history:report")
def report() -> str:
    return f"{chosen()} {each(doubled, ['a', 'b'])}"


@query(name="history:halves")
def halves(name: str) -> int:
    if cell(name) < 0:
        raise ValueError("negative")
    return cell(name) // 2


class Refused(Exception):
    """No built-in: it is not stored."""


@query(name="history:refuses")
def refuses(name: str) -> int:
    if cell(name) < 0:
        raise Refused(name)
    return cell(name)


@query(name="history:near", eq=lambda old, new: abs(old - new) < 2)
def near(name: str) -> int:
    return cell(name)


@query(name="history:unkept", persist=False)
def unkept(name: str) -> int:
    return 3 * cell(name)


@query(name="history:over")
def over(name: str) -> int:
    return unkept(name) + 1


@contextmanager
def told(db: Engine) -> Iterator[list[str]]:
    """What ran and what was put back, in order."""
    events: list[str] = []

    def hear(event: Event) -> None:
        if event.what in (*RAN, What.RESTORED) and event.key is not None:
            verb = "restored" if event.what is What.RESTORED else "ran"
            events.append(f"{verb} {str(event.key).removeprefix('history:')}")

    stop = db.listen(hear)
    yield events
    stop()


@pytest.fixture(params=["memory", "stored"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with Engine(None if request.param == "memory" else tmp_path / "store", history=4) as opened:
        yield opened
        opened.check_invariants()
        if opened.store is not None:
            opened.store.check_invariants()


# -- going back ----------------------------------------------------------------------------------


def test_an_edit_that_is_undone_runs_nothing(db: Engine) -> None:
    before = db.get(report)
    db.set(cell.key("a"), 5)
    assert db.get(report) == "0 (10, 0)"
    with told(db) as events:
        db.set(cell.key("a"), 0)
        assert db.get(report) == before
    assert events == ["restored doubled('a')", "restored report()"]
    assert "an earlier memo was put back" in str(db.why(report))


def test_a_memo_that_nobody_asked_for_meanwhile_is_proven(db: Engine) -> None:
    db.get(report)
    db.set(cell.key("a"), 5)
    db.set(cell.key("a"), 0)
    before = db.counts()
    assert db.get(report) == "0 (0, 0)"
    more = db.counts() - before
    assert (more.executed, more.restored, more.verified) == (0, 0, 1)


def test_going_back_and_forth_runs_what_is_new_only(db: Engine) -> None:
    for name, switch in (("branch 0", 0), ("branch 1", 1)):
        db.set(cell.key("switch"), switch)
        db.set(cell.key(name), 7)
        db.get(report)
    before = db.counts()
    for turn in range(6):
        db.set(cell.key("switch"), turn % 2)
        assert db.get(report) == "14 (0, 0)"
    assert (db.counts() - before).executed == 0


def test_what_an_earlier_memo_read_is_asked_for_only_as_far_as_a_run_would(db: Engine) -> None:
    """`chosen` reads another key than last time: that of the memo before is not brought up to date."""
    db.get(chosen)
    db.set(cell.key("switch"), 1)
    db.get(chosen)
    with db.batch():
        db.set(cell.key("switch"), 2)
        db.set(cell.key("branch 0"), 1)
        db.set(cell.key("branch 1"), 1)
    with told(db) as events:
        assert db.get(chosen) == 0
    assert events == ["ran chosen()", "ran doubled('branch 2')"] or events == [
        "ran doubled('branch 2')",
        "ran chosen()",
    ]


def test_an_earlier_memo_over_something_that_differs_runs(db: Engine) -> None:
    db.get(chosen)
    db.set(cell.key("switch"), 1)
    db.get(chosen)
    with db.batch():
        db.set(cell.key("switch"), 0)
        db.set(cell.key("branch 0"), 4)
    with told(db) as events:
        assert db.get(chosen) == 8
    assert events == ["ran doubled('branch 0')", "ran chosen()"]


def test_a_failure_that_comes_again_is_put_back(db: Engine) -> None:
    for value in (-1, 4):
        db.set(cell.key("a"), value)
        with told(db) as events:
            _ask(db, halves, "a")
        assert events == ["ran halves('a')"]
    for value in (-1, 4, -1):
        db.set(cell.key("a"), value)
        with told(db) as events:
            assert _ask(db, halves, "a") == ("negative" if value < 0 else 2)
        assert events == ["restored halves('a')"]


def test_a_failure_that_is_not_stored_runs_again(db: Engine) -> None:
    for value in (-1, 4, -1):
        db.set(cell.key("a"), value)
        with told(db) as events:
            if value < 0:
                with pytest.raises(Refused):
                    db.get(refuses, "a")
            else:
                assert db.get(refuses, "a") == 4
        assert events == ["ran refuses('a')"]


def test_a_query_with_eq_runs_again_because_its_value_depends_on_the_one_before(db: Engine) -> None:
    for value, seen in ((0, 0), (5, 5), (6, 5), (0, 0)):
        db.set(cell.key("a"), value)
        with told(db) as events:
            assert db.get(near, "a") == seen
        assert events == ["ran near('a')"]


def test_a_value_that_is_not_kept_is_proven_and_computed_only_where_somebody_reads_it(db: Engine) -> None:
    for value in (0, 1):
        db.set(cell.key("a"), value)
        db.get(over, "a")
    with told(db) as events:
        db.set(cell.key("a"), 0)
        assert db.get(over, "a") == 1
        assert db.get(unkept, "a") == 0
    assert events == ["restored unkept('a')", "restored over('a')", "ran unkept('a')"]


def test_forget_forgets_what_was_earlier(db: Engine) -> None:
    for value in (0, 1):
        db.set(cell.key("a"), value)
        db.get(doubled, "a")
    db.forget("history:doubled(*")
    db.get(doubled, "a")
    with told(db) as events:
        db.set(cell.key("a"), 0)
        db.get(doubled, "a")
    assert events == ["ran doubled('a')"]


def test_memos_of_other_code_are_not_put_back(tmp_path: Path) -> None:
    def define(factor: int) -> Query[[], int]:
        @query(name="history:scaled", version=factor)
        def scaled() -> int:
            return factor * cell("a")

        return scaled

    with Engine(tmp_path / "store", history=4) as db:
        for value in (1, 2):
            db.set(cell.key("a"), value)
            db.get(define(10))
        scaled = define(100)
        assert db.get(scaled) == 200
        db.set(cell.key("a"), 1)
        with told(db) as events:
            assert db.get(scaled) == 100
        assert events == ["ran scaled()"]


def test_without_a_history_everything_runs_again(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=0) as db:
        for value in (0, 1, 0, 1):
            db.set(cell.key("a"), value)
            with told(db) as events:
                db.get(doubled, "a")
            assert events == ["ran doubled('a')"]
        assert db.store is not None
        assert db.store.statistics().rows["earlier"] == 0


def test_workers_put_back_what_one_would(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=4, workers=3) as db:
        for value in (0, 1, 0, 1):
            for name in "ab":
                db.set(cell.key(name), value)
            before = db.counts()
            db.get(report)
        assert (db.counts() - before).executed == 0
        assert (db.counts() - before).restored == 3


# -- restarts and crashes ------------------------------------------------------------------------


def test_going_back_after_restarts_runs_nothing(tmp_path: Path) -> None:
    ran = []
    for value in (0, 5, 0, 5, 0):
        with Engine(tmp_path / "store", history=4) as db:
            db.set(cell.key("a"), value)
            assert db.get(report) == f"0 ({2 * value}, 0)"
            ran.append(db.counts().executed)
    assert ran == [5, 2, 0, 0, 0]


PROCESS = """
import os, signal, sys
from engine import Engine
from tests.test_history import cell, report
db = Engine(sys.argv[1], history=4)
for value in map(int, sys.argv[2:]):
    db.set(cell.key("a"), value)
    db.get(report)
print(db.counts().executed, db.counts().restored, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_going_back_after_kill_9_runs_nothing(tmp_path: Path) -> None:
    said = []
    for values in (["0", "5"], ["0"]):
        ended = subprocess.run(
            [sys.executable, "-c", PROCESS, str(tmp_path / "store"), *values],
            cwd=Path(__file__).parent.parent,
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert ended.returncode == -signal.SIGKILL
        said.append(ended.stdout.split())
    assert said == [["7", "0"], ["0", "2"]]


@query(name="history:mentions")
def mentions(path: str) -> int:
    return read_text(path).count("x") if exists(path) else -1


def test_a_file_that_is_only_on_one_branch_runs_once(tmp_path: Path) -> None:
    here = tmp_path / "a.txt"
    ran = []
    for text in ("xx", None, "xx", None):
        here.unlink() if text is None else here.write_text(text)
        with Engine(tmp_path / "store", root=tmp_path, history=4) as db:
            assert db.get(mentions, "a.txt") == (-1 if text is None else 2)
            ran.append(db.counts().executed)
    assert ran == [1, 1, 0, 0]


# -- tables --------------------------------------------------------------------------------------


@frozen
class Word:
    text: str


@query(name="history:files")
def names() -> tuple[str, ...]:
    return ("a", "b") if cell("files") else ("a", "b", "c")


@table(each=names, index=("text",), name="history:words")
def words(name: str) -> Iterable[Word]:
    return [Word(f"{name}{number}") for number in (3, 1, 2)[: 1 + cell(name)]]


total = fold(each=names, of=doubled, into=Sum(), name="history:total")


@query(name="history:overview")
def overview() -> tuple[int, int, int]:
    return words.count(), len(words.where(text="c1")), total()


def test_members_of_tables_and_folds_are_put_back_with_what_they_gave(db: Engine) -> None:
    states = [{"a": 1}, {"files": 1}, {"files": 0, "c": 1, "a": 2}]
    wanted = []
    for state in states:
        with db.batch():
            for name in ("a", "c", "files"):
                db.set(cell.key(name), state.get(name, 0))
        wanted.append(db.get(overview))
    for turn in (0, 1, 2, 1, 0, 2):
        with db.batch():
            for name in ("a", "c", "files"):
                db.set(cell.key(name), states[turn].get(name, 0))
        with told(db) as events:
            assert db.get(overview) == wanted[turn]
        # Lookups do run: what they rest on are rows, which their dependencies do not name.
        assert [one for one in events if one.startswith("ran") and "words(" in one] == []
        assert [one for one in events if one.startswith("ran") and "doubled(" in one] == []
        assert [one for one in events if one.startswith("ran overview")] == []


@query(name="history:listed")
def listed() -> str:
    return " ".join(names())


def test_who_reads_what_gives_a_table_its_keys_is_put_back_too(db: Engine) -> None:
    for state in (0, 1):
        db.set(cell.key("files"), state)
        db.get(listed)
        db.get(words.count)  # the table reads them last
    with told(db) as events:
        db.set(cell.key("files"), 0)
        assert db.get(listed) == "a b c"
    assert events == ["restored files()", "restored listed()"]


# -- the code graph ------------------------------------------------------------------------------


def checkout(root: Path, before: dict[str, str], after: dict[str, str]) -> None:
    """As git does it: files that differ are written, and directories that are empty go."""
    for path in before.keys() - after.keys():
        (root / path).unlink()
        for parent in (root / path).parents:
            if parent == root or any(parent.iterdir()):
                break
            parent.rmdir()
    for path, text in after.items():
        if before.get(path) != text:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(encoded(text))


def branch_of(tree: dict[str, str], edits: int) -> dict[str, str]:
    chance, other = Random(5), tree
    for _ in range(edits):
        edit = random_edit(other, chance, tree)
        if edit.kind not in ("restore", "checkout"):
            other = applied(other, edit)
    return other


@pytest.mark.limit(120)
def test_a_branch_that_is_gone_back_to_executes_nothing_but_lookups_into_tables(tmp_path: Path) -> None:
    """And of those only the ones that a row forces: what they rest on, their dependencies do not name."""
    trees = {"main": repository(60)}
    trees["topic"] = branch_of(trees["main"], 30)
    root, here = tmp_path / "project", dict[str, str]()
    root.mkdir()
    counts, said = [], dict[str, object]()
    for name in ("main", "topic", "main", "topic", "main"):
        checkout(root, here, trees[name])
        here = trees[name]
        with Engine(tmp_path / "store", root=root, history=4) as db, told(db) as events:
            answer = digests(db)
            assert said.setdefault(name, answer) == answer
            counts.append(Counter(one.partition("(")[0] for one in events))
            assert db.store is not None
            db.store.check_invariants()
    ran = [{one for one in count if one.startswith("ran ")} for count in counts]
    assert len(ran[0]) > len(ran[1]) > 15
    assert [
        one for several in ran[2:] for one in several if not one.endswith((".where", ".count", ".exists"))
    ] == []
    assert [sum(count.values()) > 150 for count in counts] == [True] * 5


# -- how much is kept ----------------------------------------------------------------------------


def test_of_each_key_a_few_earlier_memos_are_kept_the_newest(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=3) as db:
        assert db.store is not None
        for value in range(10):
            db.set(cell.key("a"), value)
            db.get(doubled, "a")
        assert 3 < db.store.statistics().rows["earlier"] <= 2 * (3 + 1)
        ran = []
        for value in (8, 7, 6, 0):
            db.set(cell.key("a"), value)
            before = db.counts()
            assert db.get(doubled, "a") == 2 * value
            ran.append((db.counts() - before).executed)
        assert ran == [0, 0, 1, 1]  # the ninth took the place of the sixth


def test_a_memo_that_was_put_back_and_is_replaced_again_is_kept_once(tmp_path: Path) -> None:
    for value in (1, 2, 1, 2, 1, 3, 1, 2):
        with Engine(tmp_path / "store", history=4) as db:
            assert db.store is not None
            db.set(cell.key("a"), value)
            assert db.get(doubled, "a") == 2 * value
            kept = db.store.statistics().rows["earlier"]
            db.store.check_invariants()
    assert kept == 3


def test_all_earlier_memos_together_take_a_bounded_number_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.store.parts, "MOST_BYTES", 2_000)
    with Engine(tmp_path / "store", history=4) as db:
        assert db.store is not None
        for name in map(str, range(40)):
            for value in (0, 1):
                db.set(cell.key(name), value)
                db.get(doubled, name)
        assert 5 <= db.store.statistics().rows["earlier"] <= 2_000 // 120
        db.store.check_invariants()


def test_a_key_that_is_computed_once_leaves_no_history(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=4) as db:
        assert db.store is not None
        db.get(report)
        rows = db.store.statistics().rows
        assert (rows["earlier"], rows["version"]) == (0, 0)


def test_gc_keeps_what_earlier_memos_read_and_drops_the_history_of_what_goes(tmp_path: Path) -> None:
    with Engine(tmp_path / "store", history=4) as db:
        assert db.store is not None
        db.get(chosen)
        db.set(cell.key("switch"), 1)
        db.get(chosen)
        db.gc()
        before = db.counts()
        db.set(cell.key("switch"), 0)
        assert db.get(chosen) == 0
        assert (db.counts() - before).executed == 0
        db.store.check_invariants()


# -- random timelines ----------------------------------------------------------------------------


BRANCHES = {
    "memory": Settings(history=4),
    "strict": Settings(history=4, strict=True, tiny=True),
    "workers": Settings(history=4, tiny=True, workers=3),
    "one": Settings(history=1, tiny=True),
    "exotic": Settings(history=4, exotic=True),
    "stored": Settings(history=4, stored=True),
    "stored-one": Settings(history=1, stored=True, tiny=True),
    "stored-exotic": Settings(history=4, stored=True, exotic=True),
    "stored-workers": Settings(history=4, stored=True, workers=3),
}


@pytest.mark.parametrize("variant", BRANCHES)
def test_random_programs_between_branches_answer_as_from_scratch_and_run_only_what_is_new(
    variant: str,
) -> None:
    settings = BRANCHES[variant]
    restored = sum(switch_branches(seed, settings) for seed in range(12 if settings.stored else 40))
    assert restored > 20


def _ask(db: Engine, asked: Query[[str], int], name: str) -> int | str:
    try:
        return db.get(asked, name)
    except ValueError as error:
        return str(error)


def test_a_key_that_nobody_read_when_it_changed_is_known_as_it_was(tmp_path: Path) -> None:
    """Who comes back to it comes back to the memo of then."""

    @input
    def which() -> str:
        return "x"

    @input
    def value_of(name: str) -> int:
        return 1

    @query
    def reads() -> int:
        return value_of(which())

    with Engine(tmp_path / "store") as db:
        assert db.get(reads) == 1
        db.set(which.key(), "y")
        db.set(value_of.key("y"), 7)
        assert db.get(reads) == 7
        db.set(value_of.key("x"), 2)  # read by nobody now
        db.set(which.key(), "x")
        assert db.get(reads) == 2
        db.set(value_of.key("x"), 1)
        before = db.counts()
        assert db.get(reads) == 1
        after = db.counts() - before
        assert (after.executed, after.restored) == (0, 1)
