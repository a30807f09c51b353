"""Tables: what was measured, as Markdown for docs/peers.md."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

from benchmarks.peers.edits import COLD, RESTART, SCENARIOS
from benchmarks.peers.peer import Run
from benchmarks.peers.scenarios import Found

LIMIT_OF = {COLD: ("parse",)}  # all else: a crawl and a commit, or a crawl alone where nothing changed


def lines(found: Found, ours: str) -> Iterator[str]:
    """All tables of one size. A peer whose name goes on after a comma is another way to run that one."""
    yield from _table(found, "seconds", lambda run: run.seconds)
    yield ""
    yield from _table(found, "seconds of processor", lambda run: run.processor)
    yield ""
    yield from _ratios(found, ours)
    yield ""
    yield from _memory(found)
    if found.left_out:
        yield ""
        yield "| left out | why |"
        yield "|---|---|"
        yield from (f"| {name} | {reason} |" for name, reason in found.left_out.items())


def _table(found: Found, what: str, value: Callable[[Run], float]) -> Iterator[str]:
    shown = [one for one in SCENARIOS if one in found.runs]
    yield f"| {found.files:,} files, {what} | {' | '.join(shown)} |"
    yield "|---" + "|--:" * len(shown) + "|"
    for peer in found.runs[COLD]:
        yield f"| {peer} | {' | '.join(_shown(median(found, one, peer, value)) for one in shown)} |"
    if what == "seconds":
        yield f"| limit | {' | '.join(_shown(limit(found, one)) for one in shown)} |"


def _ratios(found: Found, ours: str) -> Iterator[str]:
    columns = ("x the limit", "best peer", "x the best peer", "best by processor time", "x that")
    yield f"| {found.files:,} files | {ours} | {' | '.join(columns)} |"
    yield "|---|--:|--:|---|--:|---|--:|"
    for scenario in SCENARIOS:
        if scenario not in found.runs:
            continue
        mine = median(found, scenario, ours, _seconds)
        parts = [f"{mine / limit(found, scenario):.2f}"]
        for value in (_seconds, _processor):
            others = {
                peer: median(found, scenario, peer, value)
                for peer, runs in found.runs[scenario].items()
                if peer != ours and not peer.startswith(f"{ours}, ") and runs[0].answer is not None
            }
            best = min(others, key=lambda peer: others[peer], default=None)
            if best is None:
                parts += ["", ""]
            else:
                ratio = median(found, scenario, ours, value) / others[best]
                parts += [f"{best}, {_shown(others[best])} s", f"{ratio:.2f}"]
        yield f"| {scenario} | {_shown(mine)} s | {' | '.join(parts)} |"


def _memory(found: Found) -> Iterator[str]:
    yield f"| {found.files:,} files | memory, cold build | memory, nothing changed | kept on the disk |"
    yield "|---|--:|--:|--:|"
    for peer in found.runs[COLD]:
        several = (median(found, one, peer, lambda run: run.memory) for one in (COLD, RESTART))
        built, restarted = (f"{value / 2**20:,.0f} MiB" for value in several)
        yield f"| {peer} | {built} | {restarted} | {found.sizes.get(peer, 0) / 2**20:,.1f} MiB |"


def median(found: Found, scenario: str, peer: str, value: Callable[[Run], float]) -> float:
    """Of all runs of a peer."""
    return statistics.median(value(run) for run in found.runs[scenario][peer])


def limit(found: Found, scenario: str) -> float:
    """What the machine needs for it at least."""
    parts = LIMIT_OF.get(scenario, ("crawl",) if scenario == RESTART else ("crawl", "commit"))
    return sum(statistics.median(found.limits[part]) for part in parts)


def _seconds(run: Run) -> float:
    return run.seconds


def _processor(run: Run) -> float:
    return run.processor


def _shown(seconds: float) -> str:
    return f"{seconds:.3f}" if seconds < 1 else f"{seconds:.2f}" if seconds < 100 else f"{seconds:,.0f}"
