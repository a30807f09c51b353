"""What a worker cannot do is done here, and disturbs nobody."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import Engine, each, query
from engine.errors import CycleError, NotImportable
from engine.rules.files import FileMissing, read_text
from tests.workers import SQUARES, Rules, graph_of, make, others

Make = Callable[[str], Rules]
__all__ = ["make", "others"]
HERE = os.getpid()
ROOT = Path(__file__).resolve().parent.parent


def test_failures_of_a_class_of_its_own_are_computed_here(make: Make) -> None:
    rules = make("""
class Own(Exception):
    pass

@query(workers="process")
def picky(n: int) -> int:
    note(n)
    if n == 3:
        raise Own("three")
    return n

@query
def all_picky() -> tuple[int, ...]:
    return each(picky, range(6))
""")
    with Engine(None, processes=2) as db:
        with pytest.raises(rules.Own, match="three") as caught:
            db.get(rules.all_picky)
        assert any(one.name == "picky" for one in caught.traceback)
        counts, _ = rules.noted()
        assert counts == {str(n): 1 + (n == 3) for n in range(6)}
        assert db.counts().executed == 7


def test_below_a_member_a_failure_may_be_of_any_class(make: Make, tmp_path: Path) -> None:
    """Who reads it is sent all the same: of the failure itself only the identity comes back."""
    rules = make("""
class Own(Exception):
    pass

@query
def below(n: int) -> int:
    raise Own(n)

@query(workers="process")
def member(n: int) -> int:
    note(n)
    try:
        return below(n % 4)
    except Own as error:
        return -error.args[0]

@query
def members() -> tuple[int, ...]:
    return each(member, range(20))
""")
    found = {}
    for place, processes in (("here", 0), ("there", 2)):
        with Engine(tmp_path / place, processes=processes) as db:
            assert db.get(rules.members) == (0, -1, -2, -3) * 5
            counts, pids = rules.noted()
            assert counts == {str(n): 1 for n in range(20)}  # none is given back
            assert (HERE in pids) == (not processes)
            db.check_invariants()
            found[place] = graph_of(db)
            assert db.counts().executed == 25
            with pytest.raises(rules.Own) as caught:  # who wants to see it looks once more
                db.get(rules.below, 3)
            assert caught.value.args == (3,)
    assert found["there"] == found["here"]


def test_a_file_that_is_missing_is_an_answer_for_workers_too(make: Make, tmp_path: Path) -> None:
    rules = make("""
from engine.rules.files import FileMissing

@query(workers="process")
def size(n: int) -> int:
    note(n)
    try:
        return len(read_text(f"file{n % 4}"))
    except FileMissing:
        return -1

@query
def sizes() -> tuple[int, ...]:
    return each(size, range(20))
""")
    root = tmp_path / "root"
    root.mkdir()
    (root / "file1").write_text("text")
    found = {}
    for place, processes in (("here", 0), ("there", 2)):
        with Engine(tmp_path / place, root=root, processes=processes) as db:
            assert db.get(rules.sizes) == (-1, 4, -1, -1) * 5
            counts, pids = rules.noted()
            assert counts == {str(n): 1 for n in range(20)}  # none is given back
            assert (HERE in pids) == (not processes)
            db.check_invariants()
            found[place] = graph_of(db)
    assert found["there"] == found["here"]
    (root / "file2").write_text("longer")
    with Engine(tmp_path / "there", root=root, processes=2) as db:
        db.sync()
        assert db.get(rules.sizes) == (-1, 4, 6, -1) * 5
        assert rules.noted()[0] == {str(n): 1 for n in range(2, 20, 4)}
        with pytest.raises(FileMissing):
            db.get(read_text, "file0")


def test_what_prints_exits_or_cannot_be_imported_there_disturbs_nobody(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS_HOME", str(HERE))
    rules = make("""
@query(workers="process")
def noisy(n: int) -> int:
    print("noise" * 1000, flush=True)
    os.write(1, b"raw noise")
    return n

@query(workers="process")
def leaves(n: int) -> int:
    if os.environ["WORKERS_HOME"] != str(os.getpid()):
        sys.exit(3)
    return n

@query
def everything() -> tuple[int, ...]:
    return each(noisy, range(6)) + each(leaves, range(6))
""")
    broken = make("""
if os.environ["WORKERS_HOME"] != str(os.getpid()):
    sys.exit("not here")

@query(workers="process")
def fine(n: int) -> int:
    return n

@query
def all_fine() -> tuple[int, ...]:
    return each(fine, range(6))
""")
    with Engine(None, processes=2) as db:
        assert db.get(rules.everything) == (*range(6), *range(6))
        assert db.get(broken.all_fine) == tuple(range(6))
        (note,) = db.notes()
        assert "cannot be imported by a worker: SystemExit: not here" in note


def test_code_that_was_edited_since_it_was_loaded_stays_here(make: Make) -> None:
    rules = make(SQUARES)
    rules.file.write_text(rules.file.read_text().replace("return n * n", "return -1"))
    with Engine(None, processes=2) as db:
        assert db.get(rules.squares) == sum(n * n for n in range(40))
        assert rules.noted()[1] == {HERE}
        assert "another one in a fresh interpreter" in " ".join(db.notes())


def test_code_below_that_was_edited_since_it_was_loaded_is_noticed(make: Make) -> None:
    rules = make("""
@query
def base(n: int) -> int:
    return n

@query(workers="process")
def above(n: int) -> int:
    return base(n)

@query
def all_above() -> tuple[int, ...]:
    return each(above, range(10))
""")
    rules.file.write_text(rules.file.read_text().replace("    return n\n", "    return -n\n"))
    with Engine(None, processes=2) as db:
        assert db.get(rules.all_above) == tuple(range(10))


def test_what_workers_ask_for_again_and_again_is_no_reason_to_send_its_keys_for_ever(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code below the keys is another one there, and `first` was told nobody while `other` was doubtful."""
    monkeypatch.setattr(
        "engine.code.fingerprint.STARTED_NS", 1 << 62
    )  # the file of the rules is older than all processes
    rules = make("""
import engine.code.fingerprint
engine.code.fingerprint.STARTED_NS = 1 << 62
from engine import Max

@input
def cell(n: int) -> int:
    return n

@query
def keys() -> tuple[int, ...]:
    return tuple(range(8))

@query
def one(n: int) -> int:
    return cell(n)

@query
def two(n: int) -> int:
    return cell(10 + n)

@query
def edited(n: int) -> int:
    return cell(20) + n

first = fold(each=keys, of=one, into=Sum())
other = fold(each=keys, of=two, into=Max(default=0))

class Row(NamedTuple):
    value: int

@table(each=keys, index=("value",), workers="process", limit="few")
def rows(n: int) -> list[Row]:
    found = edited(n)
    time.sleep(0.02)  # until another one runs as well
    return [Row(found + first())]
""")
    with Engine(None, processes=2, limits={"few": 2}) as db:
        assert (db.get(rules.first), db.get(rules.other)) == (28, 17)
        text = rules.file.read_text()
        rules.file.write_text(text.replace("return cell(20) + n", "return cell(20) + n + 1"))
        for number in (20, 21):
            with db.batch():
                db.set(rules.cell.key(10), number)  # `other` is doubtful
                db.set(rules.cell.key(20), number)
            assert [row.value for row in db.get(rules.rows.where)] == [28 + number + n for n in range(8)]


def test_a_local_query_runs_here_unless_it_says_otherwise() -> None:
    @query(name="workers:local")
    def local(n: int) -> int:
        return n

    @query(name="workers:sure", workers="process")
    def sure(n: int) -> int:
        return n

    @query(name="workers:all_local")
    def all_local() -> tuple[int, ...]:
        return each(local, range(40))

    @query(name="workers:all_sure")
    def all_sure() -> tuple[int, ...]:
        return each(sure, range(4))

    with Engine(None, processes=2) as db:
        assert db.get(all_local) == tuple(range(40))
        with pytest.raises(NotImportable, match="cannot import it"):
            db.get(all_sure)
        assert db._core.care.transients  # not kept: without processes it has a value
    with Engine(None) as db:
        assert db.get(all_sure) == tuple(range(4))


def test_a_cycle_across_members_is_the_one_that_is_found_here(make: Make) -> None:
    rules = make("""
@query(workers="process")
def ring(n: int) -> int:
    return ring((n + 1) % 4)

@query(workers="process")
def upwards(n: int) -> int:
    return whole() if n == 2 else n

@query
def whole() -> int:
    return sum(each(upwards, range(5)))

@query
def rings() -> int:
    return sum(each(ring, range(4)))
""")
    for asked in (rules.rings, rules.whole):
        paths = []
        for processes in (0, 2):
            with Engine(None, processes=processes) as db:
                with pytest.raises(CycleError) as caught:
                    db.get(asked)
                paths.append(caught.value.path)
                db.check_invariants()
        assert paths[0] == paths[1]
