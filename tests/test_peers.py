"""The benchmarks against peers are fair if all of them do the same job: their answers are equal."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers import known, scenarios
from benchmarks.peers.edits import SCENARIOS


def test_every_peer_that_is_always_there_gives_our_answer_after_every_edit(tmp_path: Path) -> None:
    found = scenarios.measure(tmp_path, 60, known.ALWAYS, 1, say=lambda _: None)
    assert found.left_out == {}
    assert tuple(found.runs) == SCENARIOS
    for by_peer in found.runs.values():
        assert list(by_peer) == [peer.name for peer in known.ALWAYS]
    answers = {runs["engine"][0].answer for runs in found.runs.values()}
    assert len(answers) >= 6, "most edits change the answer"
