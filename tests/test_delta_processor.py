"""DeltaProcessor, alone: which inputs differ, which version they had, and what can be said of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import ChangedWhileRead, Engine
from engine.look import take
from engine.rules import lines
from engine.rules.files import FileError, read_bytes, read_text
from engine.watch.delta_processor import DeltaProcessor
from engine.watch.events import FileDelta

BEFORE = "def one():\n    return 1\n\n\ndef two():\n    return 2\n"


class Rig:
    def __init__(self, root: Path, threads: int) -> None:
        self.root = root
        for name in ("a.py", "b.py", "c.txt"):
            (root / name).write_text(BEFORE)
        self.db = Engine(None, root=root)
        self.processor = DeltaProcessor(self.db._core, threads=threads)
        for name in ("a.py", "b.py", "c.txt", "missing.py"):
            self.ask(name)

    def ask(self, name: str) -> None:
        with contextlib.suppress(FileError):
            self.db.get(read_text, name)

    def batch(self) -> list[FileDelta]:
        with self.db._core.sync_lock:
            looked = self.processor.look(None)
            edited = self.processor.edited(looked)
            take(self.db._core, looked, "a test")
        return self.processor.compare(edited)


@pytest.fixture(params=[1, 4])
def rig(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rig]:
    rig = Rig(tmp_path, request.param)
    yield rig
    rig.processor.close()
    rig.db.close()


def test_looking_changes_nothing(rig: Rig) -> None:
    (rig.root / "a.py").write_text("new")
    before = rig.db.revision
    with rig.db._core.sync_lock:
        looked = rig.processor.look(None)
    assert [change.args for change in looked.changes if change.value == "new"] == [("a.py",)]
    assert rig.db.revision == before
    graph = rig.db._core.graph
    assert [graph.fingerprint[change.node] != change.digest for change in looked.changes].count(True) == 1


def test_only_the_inputs_that_were_named_are_looked_at(rig: Rig) -> None:
    for name in ("a.py", "b.py"):
        (rig.root / name).write_text("new")
    core = rig.db._core
    node = next(node for node in core.observed if core.args_of(node) == ("b.py",))
    with core.sync_lock:
        looked = rig.processor.look([node, 10**9])
    assert [change.node for change in looked.changes] == [node]
    assert looked.stamped == 1


def test_a_file_whose_version_is_not_known_is_new_to_us(rig: Rig) -> None:
    (rig.root / "a.py").write_text(BEFORE + "\n")
    assert [(one.path, one.what) for one in rig.batch()] == [("a.py", "new to us")]


def test_a_file_that_could_not_be_read_for_a_moment_is_new_to_us(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moving(content: bytes) -> bytes:
        raise ChangedWhileRead("c.txt")

    with monkeypatch.context() as patched:
        patched.setattr(lines, "line_digests_of", moving)
        rig.processor.learn(["c.txt"])
    (rig.root / "c.txt").write_text(BEFORE + "\n")
    assert [(one.path, one.what) for one in rig.batch()] == [("c.txt", "new to us")]
    (rig.root / "c.txt").write_text(BEFORE + "\n\n")
    assert [(one.path, one.what) for one in rig.batch()] == [("c.txt", "changed")]


def test_what_was_learned_can_be_compared(rig: Rig) -> None:
    assert set(rig.processor.texts()) == {"a.py", "b.py", "c.txt", "missing.py"}
    rig.processor.learn(rig.processor.texts())
    (rig.root / "a.py").write_text(BEFORE.replace("return 2", "return 22") + "\n\ndef three(): ...\n")
    (rig.root / "b.py").unlink()
    (rig.root / "c.txt").write_text("# first\n" + BEFORE)
    (rig.root / "missing.py").write_text("def found(): ...\n")
    deltas = {delta.path: delta for delta in rig.batch()}
    assert deltas["a.py"].what == "changed"
    assert deltas["a.py"].changed == ("function two",)
    assert deltas["a.py"].added == ("function three",)
    assert deltas["b.py"].what == "removed"
    assert deltas["c.txt"].lines == ((1, 1),)
    assert deltas["missing.py"].what == "added"


def test_a_second_change_is_compared_with_the_first(rig: Rig) -> None:
    rig.processor.learn(["c.txt"])
    (rig.root / "c.txt").write_text("# first\n" + BEFORE)
    rig.batch()
    (rig.root / "c.txt").write_text("# second\n" + BEFORE)
    assert [delta.lines for delta in rig.batch()] == [((1, 1),)]


def test_a_file_that_two_inputs_read_is_told_once(rig: Rig) -> None:
    rig.db.get(read_bytes, "a.py")
    rig.processor.learn(["a.py"])
    (rig.root / "a.py").write_text("x = 1\n")
    assert [delta.path for delta in rig.batch()] == ["a.py"]


@pytest.mark.parametrize(
    "content", [b"", b"\0\xff", b"def (", b"(" * 3_000, b"\xff\xfe", b"x = '", b"1+" * 5_000]
)
def test_a_file_in_any_state_stops_nothing(rig: Rig, content: bytes) -> None:
    rig.processor.learn(["a.py", "b.py"])
    (rig.root / "a.py").write_bytes(content)
    (rig.root / "b.py").write_text("x = 1\n")
    assert {delta.path for delta in rig.batch()} == {"a.py", "b.py"}
    (rig.root / "a.py").write_text(BEFORE)
    assert [delta.path for delta in rig.batch()] == ["a.py"]


def test_a_file_that_changes_while_it_is_compared_stops_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.processor.learn(["a.py"])
    (rig.root / "a.py").write_text("x = 1\n")

    def fail(*arguments: object) -> None:
        raise ChangedWhileRead("a.py changed while it was read")

    monkeypatch.setattr("engine.watch.delta_processor.demand", fail)
    assert [delta.path for delta in rig.batch()] == ["a.py"]


def test_a_file_saved_as_it_was_has_no_difference(rig: Rig) -> None:
    rig.processor.learn(["a.py"])
    (rig.root / "a.py").write_text(BEFORE)
    assert rig.batch() == []
