"""`engine watch` as a process, for tests: started, listened to, asked, ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from tests.patience import PATIENCE, until

ROOT = Path(__file__).resolve().parent.parent
START = "import sys; sys.path.insert(0, {!r}); from engine.__main__ import main; main()"
SCRIPT = (sys.executable, "-P", "-c", START.format(str(ROOT)))  # what the console script does
# The same, which waits for a watch on however slow a machine: half a second may be short there.
PATIENT = (
    *SCRIPT[:-1],
    START.format(str(ROOT)).replace(
        "from engine",
        "from engine.cli import remote, search; search.PATIENCE_SECONDS = remote.LOOK_SECONDS = 120; "
        "remote.engine_unless_watched.__kwdefaults__['patience'] = 120; from engine",
    ),
)

RULES = """\
import os, time
import helper
from tests.patience import PATIENCE, until
from engine import each, query
from engine.rules.directories import glob
from engine.rules.env import variable
from engine.rules.files import exists, read_text

def ran(name):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "ran.log"), "a") as file:
        file.write(name + "\\n")

@query
def lines(path: str) -> int:
    ran("lines " + path)
    return len(read_text(path).splitlines())

@query
def total() -> int:
    ran("total")
    return sum(each(lines, glob("*.txt"))) + helper.extra()

@query
def other() -> int:
    ran("other")
    return 1

@query
def first() -> str:
    ran("first")
    return read_text("a.txt").splitlines()[0]

@query
def number() -> int:
    return int(read_text("a.txt"))

@query
def shell() -> str:
    return variable("COLOUR") or "none"

@query
def steps() -> int:
    for n in range(100_000):
        exists(f"x{n % 500}")
        time.sleep(0.01)
    return 1

@query
def deaf() -> int:
    ran("deaf")
    time.sleep(600)
    return 1

@query
def spins() -> int:
    ran("spins")
    until = time.monotonic() + 600
    while time.monotonic() < until:
        pass
    return 1
"""
TRIPLED = RULES.replace("return sum(", "return 3 * sum(")  # other code, other values
HELPER = "def extra():\n    return 100\n"


def project(place: Path) -> Path:
    """A small project: rules.py, helper.py, a.txt with one line, b.txt with two."""
    place.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "rules.py": RULES,
        "helper.py": HELPER,
        "engine.toml": 'rules = ["rules.py"]\n',
        "a.txt": "1\n",
        "b.txt": "1\n2\n",
    }.items():
        (place / name).write_text(text)
    return place


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return project(tmp_path / "a project")  # with a space


def save(path: Path, text: str) -> None:
    """As editors do: no moment at which the file is empty."""
    swap = path.with_name(path.name + "~")
    swap.write_text(text)
    swap.replace(path)


def take_log(place: Path) -> list[str]:
    """The queries that ran since the last call, sorted."""
    log = place / "ran.log"
    found = sorted(log.read_text().split("\n")[:-1]) if log.exists() else []
    log.write_text("")
    return found


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would make a difference."""
    known = {name: value for name, value in os.environ.items() if not name.startswith(("ENGINE", "_ENGINE"))}
    return {**known, "PYTHONPATH": "", **more}


class Watching:
    """A process; a context manager that kills it at the end."""

    def __init__(
        self,
        place: Path,
        *arguments: str,
        start: Sequence[str] = SCRIPT,
        env: dict[str, str] | None = None,
        stdout: int | IO[str] = subprocess.PIPE,
        stderr: int | IO[str] = subprocess.PIPE,
        command: str = "watch",
    ) -> None:
        self.place = place
        self.process = subprocess.Popen(
            [*start, command, *arguments],
            cwd=place,
            env=env or environment(),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines))
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
            if stream is not None
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: IO[str], lines: list[str]) -> None:
        with stream:
            for line in stream:
                lines.append(line.rstrip("\n"))

    def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Wait for a condition; an end of the process is the last moment for it."""

        def is_over() -> bool:
            return self.process.poll() is not None and not any(one.is_alive() for one in self._readers)

        def holds() -> str:
            return "yes" if condition() else "no more" if is_over() else ""

        found = until(holds, lambda: f"{what}{self.told()}")
        assert found == "yes" or condition(), f"ended with {self.process.returncode}: {what}{self.told()}"

    def told(self) -> str:
        return "\n-- out\n" + "\n".join(self.out[-50:]) + "\n-- err\n" + "\n".join(self.err[-80:])

    def says(self, text: str, times: int = 1) -> None:
        """Wait until standard error has had a text so often."""
        self.until(lambda: "\n".join(self.err).count(text) >= times, f"{text!r} x {times}")

    def prints(self, *lines: str) -> None:
        """Wait until standard output has these lines, and no others."""
        self.until(lambda: len(self.out) >= len(lines), f"{lines}")
        assert self.out == [*lines]

    def ready(self, times: int = 1) -> None:
        """Wait until everything is right in the interpreter with this number."""
        self.says("  watching ", times)

    def ends(self, number: int | None = None) -> int:
        """Send a signal; the exit code."""
        if number is not None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end{self.told()}") from None
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()


class Asked:
    """What another command said."""

    def __init__(
        self,
        place: Path,
        *arguments: str,
        start: Sequence[str] = SCRIPT,
        env: dict[str, str] | None = None,
    ) -> None:
        found = subprocess.run(
            [*start, *arguments],
            cwd=place,
            env=env or environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.code = found.returncode
        self.out = found.stdout
        self.err = found.stderr
        self.by_watch = found.stderr.endswith(", by the watch\n")


def events_of(file: Path) -> list[dict[str, Any]]:
    """The events in a file of them."""
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]
