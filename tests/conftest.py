"""Shared by all tests: a watchdog, Hypothesis profiles, and replay of recorded timelines.

pytest --replay=FILE        runs a recorded timeline 100 times, and nothing else
pytest --edits=NUMBER       how many random edits tests/test_python_edits.py makes, of 300 files, all compared
pytest --soak=SECONDS       how long tests/test_watch_soak.py edits a watched tree
HYPOTHESIS_PROFILE=nightly  random, and many more examples
"""

from __future__ import annotations

import faulthandler
import os
import zlib
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

LIMIT = 120.0  # seconds a test may take: the slowest takes 40 on 2 busy cores
STDERR = pytest.StashKey[int]()

hypothesis.settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, report_multiple_bugs=False
)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=2_000, report_multiple_bugs=False)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--replay", metavar="FILE", help="run a recorded timeline of tests/test_machine.py")
    parser.addoption("--edits", metavar="NUMBER", default="0", help="of tests/test_python_edits.py; 0: a few")
    parser.addoption("--soak", metavar="SECONDS", default="4", help="how long tests/test_watch_soak.py takes")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[STDERR] = os.dup(2)  # captured while tests run, and not now
    config.addinivalue_line("markers", "limit(seconds): how long a test may take; a hang is a failure")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    replay = config.getoption("--replay") is not None
    items[:] = [item for item in items if (item.name == "test_replay") == replay]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A hang is a failure: the process ends, with the stacks of all threads."""
    marker = item.get_closest_marker("limit")
    seconds = float(marker.args[0]) if marker else LIMIT
    faulthandler.dump_traceback_later(seconds, exit=True, file=item.config.stash[STDERR])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say how to run a failed timeline again."""
    report = yield
    for note in getattr(call.excinfo.value, "__notes__", ()) if call.excinfo else ():
        if note.startswith('{"settings"'):
            file = Path(
                item.config.rootpath
                / ".pytest_cache"
                / "replays"
                / f"{zlib.crc32(item.nodeid.encode()):08x}.json"
            )
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(note)
            report.sections.append(("replay", f"pytest --replay={file}"))
    return report
