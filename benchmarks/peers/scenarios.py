"""Scenarios: every peer builds after every edit, taking turns; each answer is compared with ours.

Invariants
    S1  All peers see the same repository in the same state; it is changed between builds alone.
    S2  An answer that differs from ours ends the run: a wrong answer has no time.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field

from benchmarks.peers import limits
from benchmarks.peers.edits import COLD, RESTART, Repository
from benchmarks.peers.peer import Peer, Run
from benchmarks.repository import plant, repository

SETTLE_SECONDS = 2.1  # a file that is younger may change again within its stamp, and is read again


class WrongAnswer(Exception):
    """A peer and the engine disagree."""


@define
class Found:
    """What was measured: runs by scenario and peer, limits by name, sizes of what peers keep."""

    files: int
    runs: dict[str, dict[str, list[Run]]] = field(factory=dict)
    limits: dict[str, list[float]] = field(factory=dict)
    sizes: dict[str, int] = field(factory=dict)
    left_out: dict[str, str] = field(factory=dict)
    edits: list[str] = field(factory=list)

    def add(self, scenario: str, peer: str, run: Run) -> None:
        self.runs.setdefault(scenario, {}).setdefault(peer, []).append(run)

    def record(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return {
            "files": self.files, "limits": self.limits, "sizes": self.sizes, "left_out": self.left_out,
            "edits": self.edits,
            "runs": {
                scenario: {name: [run._asdict() for run in runs] for name, runs in by_peer.items()}
                for scenario, by_peer in self.runs.items()
            },
        }  # fmt: skip


def measure(
    place: Path, files: int, peers: Sequence[Peer], turns: int, *, last: str | None = None,
    patient: bool = False, settle: float = SETTLE_SECONDS, say: Callable[[str], None] = print,
) -> Found:  # fmt: skip
    """All scenarios over a repository of so many files; answers are compared with those of the first peer.

    `last`: the edit after which a turn ends. `patient`: those that take hours take part as well.
    """
    found = Found(files)
    root = place / "repository"
    root.mkdir()
    tree = repository(files)
    plant(root, tree.items())
    repo = Repository(root, tree)
    taking_part = [peer for peer in peers if _may(peer, files, found, patient)]
    time.sleep(settle)
    try:
        for turn in range(turns):
            for name, seconds in limits.measured(str(root), str(place / "limits")).items():
                found.limits.setdefault(name, []).append(seconds)
            for peer in taking_part:
                state = place / f"state-{_plain(peer.name)}"
                if state.exists():
                    peer.close()
                    shutil.rmtree(state)
                peer.prepare(str(root), str(state))
            _all_build(place, taking_part, COLD, found, turn, say)
            _all_build(place, taking_part, RESTART, found, turn, say)
            for name, edit in repo.edits():
                found.edits.append(f"{name}: {edit.path} ({len(edit.changes)} changes)")
                _all_build(place, taking_part, name, found, turn, say)
                if name == last:
                    break
        for peer in taking_part:
            found.sizes[peer.name] = size_of(place / f"state-{_plain(peer.name)}")
    finally:
        for peer in taking_part:
            peer.close()
    return found


def _may(peer: Peer, files: int, found: Found, patient: bool) -> bool:
    reason = peer.lacking()
    if not reason and not patient and files > peer.most_files:
        reason = f"takes too long above {peer.most_files:,} files"
    if reason:
        found.left_out[peer.name] = reason
    return not reason


def _all_build(
    place: Path, peers: Sequence[Peer], scenario: str, found: Found, turn: int, say: Callable[[str], None]
) -> None:
    """Each peer once, every turn in another order, but ours first: the others are compared with it."""
    root = str(place / "repository")
    first, *others = peers
    turned = turn % len(others) if others else 0
    right: Run | None = None
    for peer in (first, *others[turned:], *others[:turned]):
        run = peer.build(root, str(place / f"state-{_plain(peer.name)}"))
        if run.answer is not None:
            right = right or run
            if run.answer != right.answer:
                raise WrongAnswer(f"{scenario}: {peer.name} says {run.answer}, {first.name} {right.answer}")
        found.add(scenario, peer.name, run)
        times = f"{run.seconds:9.3f} s, {run.processor:9.3f} s of processor"
        say(f"  {turn + 1} {scenario:<16} {peer.name:<26} {times}")


def size_of(place: Path) -> int:
    """Bytes of all files below a directory."""
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file() and not path.is_symlink())


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
