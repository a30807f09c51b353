"""The benchmarks against peers are fair if all of them do the same job: their answers are equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.peers import job, known, ours, plain, scenarios
from benchmarks.peers.edits import SCENARIOS
from benchmarks.peers.peer import Run, Script
from benchmarks.repository import files, plant
from engine import Engine


def test_every_peer_that_is_always_there_gives_our_answer_after_every_edit(tmp_path: Path) -> None:
    found = scenarios.measure(tmp_path, 60, known.ALWAYS, 1, say=lambda _: None)
    assert found.left_out == {}
    assert tuple(found.runs) == SCENARIOS
    for by_peer in found.runs.values():
        assert list(by_peer) == [peer.name for peer in known.ALWAYS]
    answers = {runs["engine"][0].answer for runs in found.runs.values()}
    assert len(answers) >= 6, "most edits change the answer"


def test_a_peer_whose_answer_is_of_before_the_edit_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(scenarios.WrongAnswer, match="signature: stale says"):
        scenarios.measure(tmp_path, 60, [InProcess("right"), Stale("stale")], 1, settle=0, say=lambda _: None)


def test_a_turn_ends_after_the_last_edit_that_is_wanted(tmp_path: Path) -> None:
    found = scenarios.measure(
        tmp_path, 60, [InProcess("right")], 1, last="comment", settle=0, say=lambda _: None
    )
    assert tuple(found.runs) == SCENARIOS[:3]


def test_who_takes_long_takes_part_where_one_is_patient(tmp_path: Path) -> None:
    slow = InProcess("slow")
    slow.most_files = 10
    peers = [InProcess("right"), slow]
    for name, patient in (("hasty", False), ("patient", True)):
        place = tmp_path / name
        place.mkdir()
        found = scenarios.measure(
            place, 20, peers, 1, last="comment", patient=patient, settle=0, say=lambda _: None
        )
        assert ("slow" in found.runs["comment"]) == patient == (not found.left_out)


class InProcess(Script):
    """Computes everything here, so that a test need not start processes."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")

    def build(self, root: str, state: str) -> Run:
        return Run(0, 0, 0, plain.one_process(root))


class Stale(InProcess):
    """Reads everything once, and never again."""

    first: Run | None = None

    def build(self, root: str, state: str) -> Run:
        self.first = self.first or super().build(root, state)
        return self.first


def test_what_was_added_to_an_index_can_be_taken_out_again() -> None:
    sources = {
        "a.py": b"from b import c, d\nimport b, os\n",
        "b/__init__.py": b"def c(x, y=1): ...\n",
        "b/e.py": b"from . import c, f\nfrom .. import b\nfrom b import *\nclass K(c): ...\n",
    }
    summaries = {path: job.summary(data) for path, data in sources.items()}
    several = [job.resolution(path, own, summaries.get) for path, own in summaries.items()]
    index = job.index_of(several)
    assert index[:5] == (3, 10, 5, 2, 1)
    assert job.without(index, several[1]) == job.index_of([several[0], several[2]])
    for one in several:
        index = job.without(index, one)
    assert index == job.EMPTY


def test_a_comment_and_a_body_change_no_summary_and_a_signature_does() -> None:
    before = job.summary(b"def area(shape, scale=1):\n    return shape * scale\n")
    assert job.summary(b"# new\ndef area(shape, scale=1):\n    return scale\n") == before
    assert job.summary(b"def area(shape, scale=1, extra=None):\n    return shape * scale\n") != before


def test_the_index_of_a_fold_is_that_of_a_loop(tmp_path: Path) -> None:
    plant(tmp_path, files(120))
    with Engine(None, root=tmp_path) as db:
        assert db.get(ours.index) == plain.one_process(str(tmp_path))
