"""Growth: the figures of several sizes as one picture, a panel for each scenario, a line for each peer."""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.edits import SCENARIOS

COLUMNS = 4
DOTS = 120  # an inch


def draw(records: Sequence[dict[str, Any]], file: Path, ours: str) -> None:
    """A picture of what `Found.record` said at several sizes."""
    matplotlib: Any = importlib.import_module("matplotlib")  # installed for benchmarks only
    matplotlib.use("Agg")
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    shown = [one for one in SCENARIOS if any(one in record["runs"] for record in records)]
    rows = -(-(len(shown) + 1) // COLUMNS)
    figure, grid = pyplot.subplots(rows, COLUMNS, figsize=(4.2 * COLUMNS, 3.4 * rows), squeeze=False)
    panels = list(grid.flat)
    peers = list(dict.fromkeys(peer for record in records for peer in record["runs"][SCENARIOS[0]]))
    handles = {}
    for panel, scenario in zip(panels, shown, strict=False):
        for number, peer in enumerate(peers):
            points = [
                (record["files"], statistics.median(run["seconds"] for run in record["runs"][scenario][peer]))
                for record in records
                if peer in record["runs"].get(scenario, {})
            ]
            (handles[peer],) = panel.plot(
                *zip(*sorted(points), strict=True), color=f"C{number}", marker="os"[number // 10],
                markersize=3, linewidth=2.4 if peer == ours else 1,
            )  # fmt: skip
        limit = "parse" if scenario == SCENARIOS[0] else "crawl"
        points = [(record["files"], statistics.median(record["limits"][limit])) for record in records]
        (handles["limit"],) = panel.plot(*zip(*sorted(points), strict=True), color="black", linestyle=":")
        panel.set_title(scenario)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.grid(visible=True, alpha=0.3)
        panel.set_xlabel("files")
        panel.set_ylabel("seconds")
    for panel in panels[len(shown) :]:
        panel.axis("off")
    panels[len(shown)].legend(handles.values(), handles.keys(), loc="center")
    figure.tight_layout()
    figure.savefig(file, dpi=DOTS)
    pyplot.close(figure)
