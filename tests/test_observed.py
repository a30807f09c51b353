"""The observed inputs of a start stay in the bundles in which the store keeps them, until somebody asks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine import Engine, each, query
from engine.first_look import load_observed
from engine.graph import Graph
from engine.observed import Observed
from engine.rules.files import read_text
from engine.store.bundles import Bundle

COUNT = 600  # more than one bundle


@query
def size(path: str) -> int:
    return len(read_text(path))


@query
def sizes() -> int:
    return sum(each(size, [f"{number}.txt" for number in range(COUNT)]))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("engine.rules.stat.RACY_WINDOW_NS", 0)  # every edit below changes a size
    for number in range(COUNT):
        (tmp_path / f"{number}.txt").write_text("four")
    with Engine(tmp_path / "store", root=tmp_path) as db:
        assert db.get(sizes) == 4 * COUNT
    return tmp_path


class Counted:
    """How many bundles were unpacked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bundles = 0
        real = Observed._open

        def counting(observed: Observed, graph: Graph, bundle: Bundle) -> None:
            self.bundles += 1
            real(observed, graph, bundle)

        monkeypatch.setattr(Observed, "_open", counting)


@pytest.mark.parametrize("edited", [False, True])
def test_a_start_unpacks_no_bundle_for_good(
    root: Path, monkeypatch: pytest.MonkeyPatch, edited: bool
) -> None:
    if edited:
        (root / "7.txt").write_text("seven")
    counted = Counted(monkeypatch)
    with Engine(root / "store", root=root) as db:
        assert db.get(sizes) == 4 * COUNT + edited
        assert db.counts().stamped == COUNT
        assert db.counts().executed == 2 * edited
        assert db.counts().read == edited
        assert counted.bundles == 0
        (root / "8.txt").write_text("eight")
        db.sync()
        assert counted.bundles > 1
        assert db.get(sizes) == 4 * COUNT + 1 + edited
        db.check_invariants()


def test_a_stamp_that_is_noted_before_its_bundle_is_unpacked_is_the_newer_one(root: Path) -> None:
    (root / "7.txt").write_text("seven")
    with Engine(root / "store", root=root) as db:
        assert db.get(sizes) == 4 * COUNT + 1
        core = db._core
        noted = dict(core.observed._stamps)
        assert len(noted) == 1
        assert len(core.observed) == COUNT
        assert {node: core.observed[node] for node in noted} == noted
        (file,) = noted
        assert core.args_of(file) == ("7.txt",)


def test_an_interrupt_while_bundles_are_unpacked_loses_no_input(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(root / "store", root=root) as db:
        db.get(sizes)
        real, opened = Observed._open, list[Bundle]()

        def stop(observed: Observed, graph: Graph, bundle: Bundle) -> None:
            if opened:
                raise KeyboardInterrupt
            opened.append(bundle)
            real(observed, graph, bundle)

        with monkeypatch.context() as patched:
            patched.setattr(Observed, "_open", stop)
            with pytest.raises(KeyboardInterrupt):
                len(db._core.observed)
        assert len(db._core.observed) == COUNT
        (root / "9.txt").write_text("nine!")
        assert db.sync() == 1
        assert db.get(sizes) == 4 * COUNT + 1


def test_what_is_taken_over_twice_is_there_once(root: Path) -> None:
    with Engine(root / "store", root=root) as db:
        core = db._core
        for _ in range(2):
            with core.lock:
                load_observed(core)
        assert len(core.observed) == COUNT
        assert sorted(core.observed) == sorted(dict(core.observed.items()))


def test_a_path_that_is_read_and_listed_keeps_its_two_inputs(tmp_path: Path) -> None:
    """They share a stamp, and are two nodes."""
    from engine.rules.directories import listing

    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.txt").write_text("x")
    os.utime(tmp_path / "a", (1, 1))

    @query(name="test_observed:both")
    def both() -> int:
        return len(listing("a")) + len(read_text("a/b.txt"))

    for executed in (1, 0):
        with Engine(tmp_path / "store", root=tmp_path) as db:
            assert db.get(both) == 2
            assert db.counts().executed == executed
