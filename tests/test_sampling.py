"""Audits while watching: when they look, what they say, and that they are in nobody's way."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from attrs import frozen

from engine import Engine, Sum, fold, query, table
from engine.errors import BadSettings
from engine.key import Key
from engine.locate import find
from engine.query import QueryInfo
from engine.rules.directories import glob
from engine.rules.files import read_text
from engine.tables.collection import Collection
from engine.watch.events import Trouble
from engine.watch.metrics import render
from engine.watch.progress import Progress, status_lines
from engine.watch.progress_tracker import ProgressTracker
from engine.watch.sampling import SAMPLE, Sampling
from tests.watch_process import Watching, save


@frozen
class Line:
    text: str


@query
def files() -> tuple[str, ...]:
    return tuple(glob("*.txt"))


@query
def size(path: str) -> int:
    if MEANWHILE:
        MEANWHILE.pop()()
    return len(read_text(path))


@table(each=files)
def notes(path: str) -> Iterable[Line]:
    yield from map(Line, read_text(path).splitlines())


total = fold(each=files, of=size, into=Sum())
MEANWHILE: list[Callable[[], None]] = []


class Rig:
    """A sampling with a clock of its own, and what it told."""

    def __init__(self, db: Engine, seconds: float = 600.0) -> None:
        self.now = 0.0
        self.told: list[Trouble] = []
        self.tracker = ProgressTracker()
        self.sampling = Sampling(
            db._core, self.told.append, self.tracker, seconds, clock=lambda: self.now, chance=random.Random(1)
        )


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Engine]:
    for at in range(SAMPLE + 20):
        (tmp_path / f"n{at:03}.txt").write_text(f"{at}\n")
    with Engine(tmp_path / ".engine", root=tmp_path) as found:
        yield found


def collection(db: Engine, settle: QueryInfo) -> Collection:
    node = find(db._core, settle, ())
    assert node
    return db._core.collections[node]


def test_it_is_time_after_so_long_a_quiet_and_not_before(db: Engine) -> None:
    rig = Rig(db)
    assert rig.sampling.wait() == 600.0
    rig.now = 400.0
    assert rig.sampling.wait() == 200.0
    rig.sampling.worked()
    assert rig.sampling.wait() == 600.0
    rig.now = 1000.0
    assert rig.sampling.wait() == 0.0
    rig.sampling.look()
    assert rig.sampling.wait() == 600.0
    assert Rig(db, 0).sampling.wait() > 0.0


def test_a_look_computes_some_members_and_settles_nothing(db: Engine) -> None:
    rig = Rig(db)
    assert rig.sampling.look() is None  # there is nothing yet
    db.get(notes.where)
    before = db.counts()
    found = rig.sampling.look()
    assert found is not None
    assert (found.name, found.members, found.differences) == (f"{__name__}:notes", SAMPLE, ())
    assert (db.counts(), rig.told) == (before, [])
    assert rig.tracker.snapshot().audited == SAMPLE


def test_a_collection_that_waits_to_be_settled_is_left_alone(db: Engine) -> None:
    db.get(total)
    (db.root / "n000.txt").write_text("changed\n")
    db.sync()
    assert Rig(db).sampling.look() is None


def test_what_the_world_overtook_says_nothing(db: Engine) -> None:
    db.get(total)
    rig = Rig(db)

    def save_and_sync() -> None:
        (db.root / "n001.txt").write_text("changed\n")
        db._core.revision += 1  # as another thread of a watch would

    MEANWHILE.append(save_and_sync)
    assert rig.sampling.look() is None
    assert (rig.told, rig.tracker.snapshot().audited) == ([], 0)


def test_a_disagreement_is_told_once_with_both_sides_and_counted(db: Engine) -> None:
    db.get(total)
    kept = collection(db, total.__collection__.settle)
    for path in db.get(files):
        node = find(db._core, size.__query__, (path,))
        assert node
        kept.news[node] = b"\x01\x07"
    rig = Rig(db)
    for _ in range(2):
        rig.sampling.look()
    now = rig.tracker.snapshot()
    assert (now.audited, now.disagreements) == (2 * SAMPLE, 2 * SAMPLE)
    assert 1 <= len(rig.told) <= 2  # the second look is at other members too
    assert rig.told[0].place == f"{__name__}:size.Sum"
    assert "an audit disagrees" in rig.told[0].cause
    assert f"and {SAMPLE - 1} more" in rig.told[0].cause
    assert "engine audit" in rig.told[0].remedy


def test_figures_name_the_disagreements_only_where_there_are_some() -> None:
    tracker = ProgressTracker()
    tracker.audited(100, 0)
    assert "disagreement" not in "\n".join(status_lines(tracker.snapshot()))
    assert "engine_watch_audited_total 100\n" in render(tracker.snapshot())
    tracker.audited(100, 3)
    assert "3 disagreements of audits" in status_lines(tracker.snapshot())[0]
    assert "engine_watch_disagreements_total 3\n" in render(tracker.snapshot())
    assert Progress.from_dict(tracker.snapshot().as_dict()).disagreements == 3


def test_a_watch_takes_no_negative_quiet(db: Engine) -> None:
    with pytest.raises(BadSettings):
        db.watch(total, check_seconds=-1.0)


RULES = """\
import os
from collections.abc import Iterable
from attrs import frozen
from engine import query, table
from engine.rules.directories import glob

@frozen
class Line:
    text: str

@query
def files() -> tuple[str, ...]:
    return tuple(glob("*.txt"))

@table(each=files, index=("text",))
def notes(path: str) -> Iterable[Line]:
    with open(os.path.join(os.path.dirname(__file__), path)) as file:  # nobody records this
        yield from map(Line, file.read().splitlines())
"""


def test_a_running_watch_tells_of_a_read_that_nobody_recorded(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    (tmp_path / "a.txt").write_text("one\n")
    with Watching(tmp_path, "rules.py:notes", "--check", "0.3") as watch:
        watch.ready()
        save(tmp_path / "a.txt", "two\n")
        watch.says("an audit disagrees")
        assert "Line(text='one')" in watch.told()
        assert watch.ends(signal.SIGINT) == 130


def test_a_watch_of_a_table_tells_when_its_rows_change(tmp_path: Path) -> None:
    honest = RULES.replace(
        "    with open(os.path.join(os.path.dirname(__file__), path)) as file:  # nobody records this\n"
        "        yield from map(Line, file.read().splitlines())\n",
        "    yield from map(Line, read_text(path).splitlines())\n",
    ).replace("import os\n", "from engine.rules.files import read_text\n")
    (tmp_path / "rules.py").write_text(honest)
    (tmp_path / "a.txt").write_text("one\n")
    with Watching(tmp_path, "rules.py:notes", "--events", "-", "--check", "0.2") as watch:
        watch.ready()
        watch.until(lambda: any('"watched": ["rules:notes"]' in line for line in watch.out))
        save(tmp_path / "a.txt", "two\n")
        watch.until(lambda: any('"key": "rules:notes"' in line for line in watch.out))
        assert watch.ends(signal.SIGINT) == 130
        assert "disagree" not in watch.told()


def test_whole_tables_and_keys_are_the_same_key(db: Engine) -> None:
    with db.watch(notes) as watch:
        assert watch.wait_until_ready(30)
        assert [str(key) for key in watch.watched] == [f"{__name__}:notes"]
        assert watch.watched == (Key(notes.__collection__.settle, ()),)
