"""Shared by all tests: a watchdog, Hypothesis profiles, replay of timelines, an engine of each kind.

pytest --replay=FILE        runs a recorded timeline 100 times, and nothing else
pytest --edits=NUMBER       how many random edits tests/test_python_edits.py makes, of 300 files, all compared
pytest --checkout=NUMBER     of how many files tests/test_checkout.py checks out another state
pytest --soak=SECONDS       how long tests/test_watch_soak.py edits a watched tree
HYPOTHESIS_PROFILE=nightly  random, and many more examples
"""

from __future__ import annotations

import compileall
import faulthandler
import itertools
import os
import signal
import sys
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from engine import Engine
from engine.query import REGISTRY
from engine.watch.inotify import instances
from tests.patience import until
from tests.watching import Watch

LIMIT = 900.0  # seconds a test may take: the slowest takes 40 on 2 busy cores, and others are slower
STDERR = pytest.StashKey[int]()

hypothesis.settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],  # it is the machine that is slow
)
hypothesis.settings.register_profile(
    "nightly", hypothesis.settings.get_profile("ci"), derandomize=False, max_examples=2_000
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--replay", metavar="FILE", help="run a recorded timeline of tests/test_machine.py")
    parser.addoption("--edits", metavar="NUMBER", default="0", help="of tests/test_python_edits.py; 0: a few")
    parser.addoption("--checkout", metavar="NUMBER", default="200", help="files, in tests/test_checkout.py")
    parser.addoption("--soak", metavar="SECONDS", default="4", help="how long tests/test_watch_soak.py takes")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # of xdist
        # Python may be told to write no bytecode; each of the hundreds of processes that tests start would
        # compile the engine anew, for more than half of its time.
        for folder in ("engine", "store", "rules"):
            compileall.compile_dir(config.rootpath / folder, quiet=2)
    config.stash[STDERR] = os.dup(2)  # captured while tests run, and not now
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So shells start what runs in the background, and the processes that tests interrupt inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # so `nohup` starts everything
    config.addinivalue_line(
        "markers", "limit(seconds): how long a test may take, if more than LIMIT; a hang is a failure"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    replay = config.getoption("--replay") is not None
    items[:] = [item for item in items if (item.name == "test_replay") == replay]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A hang is a failure: the process ends, with the stacks of all threads."""
    marker = item.get_closest_marker("limit")
    seconds = max(LIMIT, float(marker.args[0])) if marker else LIMIT
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


@pytest.fixture(params=["memory", "stored", "strict", "workers"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine of each kind."""
    with Engine(
        tmp_path / "store" if request.param == "stored" else None,
        root=tmp_path,
        strict=request.param == "strict",
        workers=3 if request.param == "workers" else 1,
        history=0,  # so that what runs is the same for all; see test_history
    ) as engine:
        yield engine


@pytest.fixture(autouse=True)
def no_watch_left() -> Iterator[None]:
    """Whatever a test does with watches, in the end none is open. The next test would pay for it."""
    yield
    # Its thread looks every few milliseconds whether it is to end.
    until(lambda: not instances(), "the end of a watch of this test: it is open still")


@pytest.fixture(autouse=True)
def no_definition_left() -> Iterator[None]:
    """What a test defines in itself goes with it: each engine of later tests would have a table for it."""
    before = len(REGISTRY)
    yield
    for name in list(itertools.islice(reversed(REGISTRY), max(0, len(REGISTRY) - before))):
        if "<locals>" in name or name.partition(":")[0] not in sys.modules:
            del REGISTRY[name]


@pytest.fixture
def watch(db: Engine) -> Watch:
    return Watch(db)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where a store can be."""
    return tmp_path / "store"
