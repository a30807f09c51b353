"""The command line as a process: start-up, signals, streams that go away, hostile folders."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.collector import GARBAGE_AFTER
from engine.errors import CannotAnswer

ROOT = Path(__file__).resolve().parent.parent
START = "import sys; sys.path.insert(0, {!r}); from engine.__main__ import main; main()"
SCRIPT = [sys.executable, "-P", "-c", START.format(str(ROOT))]  # what the console script does

RULES = """\
import time
from engine import query

@query
def step(n: int) -> int:
    print("step", n, flush=True)
    time.sleep(0.01)
    return n

@query
def steps() -> int:
    return sum(step(n) for n in range(1_000))

@query
def stuck() -> int:
    step(1)
    print("stuck", flush=True)
    time.sleep(3600)
    return 1

@query
def deaf() -> int:
    step(1)
    while True:
        try:
            print("deaf", flush=True)
            time.sleep(3600)
        except BaseException:  # an interrupt and sys.exit too
            pass

@query
def words() -> tuple[str, ...]:
    return tuple("word" * 100 for _ in range(20_000))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "rules.py").write_text(RULES)
    return tmp_path


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SCRIPT, *arguments], capture_output=True, text=True, timeout=600)


class Started:
    """A process that runs a query, and what it has printed so far on standard error."""

    def __init__(self, query: str) -> None:
        self.process = subprocess.Popen(
            [*SCRIPT, "run", f"rules.py:{query}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, line: str) -> None:
        assert self.process.stderr is not None
        for found in self.process.stderr:
            if found.strip() == line:
                time.sleep(0.2)  # from 3.14 on a signal between this and a call that waits is heard after it
                return
        raise AssertionError(f"it ended without {line!r}")

    def end(self) -> tuple[int, str, list[str]]:
        """Exit code, standard output, and those lines of standard error that the query did not print."""
        out, err = self.process.communicate(timeout=600)
        said = [line for line in err.splitlines() if line.split()[0] not in ("step", "stuck", "deaf")]
        return self.process.returncode, out, said


def check_store() -> int:
    """The store is whole; returns how many nodes it holds."""
    from engine.store import open_store

    with open_store(Path(".engine"), read_only=True) as store:
        store.check_invariants()
        return store.statistics().rows["node"]


# -- start-up ----------------------------------------------------------------------------------


def test_the_version_is_told_without_the_command_line_library(project: Path) -> None:
    lean = ["click", "rich", "sqlite3", "asyncio", "sqlite_utils", "tomllib"]
    show = f"import atexit, sys; atexit.register(lambda: print([m for m in {lean} if m in sys.modules]))\n"
    code = [*SCRIPT[:-1], show + START.format(str(ROOT)), "--version"]
    found = subprocess.run(code, capture_output=True, text=True, timeout=600)
    assert found.stdout.splitlines()[0].startswith("engine ")
    assert found.stdout.splitlines()[1] == "[]"


def test_importing_the_engine_does_not_import_its_command_line(project: Path) -> None:
    text = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import engine; engine.Engine(None).close()\n"
    text += "print(sorted(m for m in sys.modules if m.startswith(('engine.cli', 'click', 'rich'))))"
    found = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=600)
    assert found.stdout == "[]\n", found.stderr


def test_the_command_line_looks_for_garbage_less_often_and_the_library_does_while_a_request_runs(
    project: Path,
) -> None:
    text = "import gc, engine\n\n@engine.query\ndef young() -> int:\n    return gc.get_threshold()[0]\n"
    (project / "garbage.py").write_text(text)
    assert run("run", "garbage.py:young").stdout == f"{GARBAGE_AFTER}\n"
    host = f"import gc, sys; before = gc.get_threshold(); sys.path[:0] = [{str(ROOT)!r}, '.']\n"
    host += (
        "import engine, garbage; print(engine.Engine(None).get(garbage.young), gc.get_threshold() == before)"
    )
    found = subprocess.run([sys.executable, "-c", host], capture_output=True, text=True, timeout=600)
    assert found.stdout == f"{GARBAGE_AFTER} True\n", found.stderr


def test_a_hostile_folder_is_not_imported_from(project: Path) -> None:
    canary = "raise SystemExit('imported from the working directory')\n"
    for name in ("rules", "store", "sitecustomize", "click", "json", "rich", "msgspec"):
        (project / f"{name}.py").write_text(canary)
    (project / "engine").mkdir()
    (project / "engine" / "__init__.py").write_text(canary)
    assert run("--version").stdout.startswith("engine ")
    for command in (("status",), ("config",), ("--help",)):
        found = run(*command)
        assert (found.returncode, found.stderr) == (0, ""), command
    assert run("run", "one").returncode == 2


def test_rules_beside_files_named_like_our_libraries_still_run(project: Path) -> None:
    for name in ("random", "json", "sqlite3"):
        (project / f"{name}.py").write_text("raise RuntimeError\n")
    assert run("run", "rules.py:step", "3").stdout == "3\n"


# -- signals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_cleanly_and_keeps_what_was_computed(
    project: Path, number: signal.Signals, code: int
) -> None:
    started = Started("steps")
    started.wait_for("step 20")
    started.process.send_signal(number)
    found, out, said = started.end()
    assert (found, out) == (code, "")
    assert len(said) == 1
    kept = int(said[0].removeprefix("interrupted: ").removesuffix(" results kept"))
    assert kept >= 20
    assert check_store() >= kept


def test_signals_at_any_moment_leave_one_line_and_a_whole_store(project: Path) -> None:
    for delay in (0.0, 0.03, 0.11, 0.19):
        started = Started("steps")
        started.wait_for("step 0")
        time.sleep(delay)
        started.process.send_signal(signal.SIGINT)
        code, out, said = started.end()
        assert (code, out, len(said)) == (130, "", 1), said
        assert said[0].startswith("interrupted: ")
        check_store()
        shutil.rmtree(".engine")


def test_a_query_that_reads_nothing_is_interrupted_after_a_moment(project: Path) -> None:
    started = Started("stuck")
    started.wait_for("stuck")
    started.process.send_signal(signal.SIGINT)
    assert started.end() == (130, "", ["interrupted: 1 results kept"])  # and not after an hour
    assert check_store() >= 1


def test_the_second_signal_ends_at_once(project: Path) -> None:
    started = Started("deaf")
    started.wait_for("deaf")
    started.process.send_signal(signal.SIGINT)
    started.wait_for("deaf")  # it was interrupted, and goes on
    started.process.send_signal(signal.SIGINT)
    code, _, said = started.end()
    assert (code, said) == (130, ["interrupted"])
    assert "executed" in run("run", "rules.py:step", "1").stderr


def test_a_signal_before_the_engine_is_open_ends_without_a_traceback(project: Path) -> None:
    (project / "slow.py").write_text("import sys, time\nprint('step', file=sys.stderr)\ntime.sleep(3600)\n")
    process = subprocess.Popen(
        [*SCRIPT, "run", "slow.py:x"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "step\n"
    time.sleep(0.2)  # see `wait_for`
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=600) == ("", "interrupted\n")
    assert process.returncode == 130


# -- streams -----------------------------------------------------------------------------------


def test_a_reader_that_goes_away_ends_the_command_quietly(project: Path) -> None:
    process = subprocess.Popen(
        [*SCRIPT, "run", "rules.py:words", "-q"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"word")
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=600) == 0
    process.stderr.close()


@pytest.mark.parametrize("asked", [("--version",), ("--help",), ("run", "--help"), ("config",)])
def test_what_is_said_of_the_command_line_itself_fails_like_an_answer(
    project: Path, asked: tuple[str, ...]
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    gone = subprocess.run([*SCRIPT, *asked], stdout=theirs, stderr=subprocess.PIPE, timeout=600)
    os.close(theirs)
    assert (gone.returncode, gone.stderr) == (0, b"")
    with open("/dev/full", "w") as full:
        found = subprocess.run([*SCRIPT, *asked], stdout=full, stderr=subprocess.PIPE, timeout=600)
    told = found.stderr.decode().splitlines()
    assert (found.returncode, told[:2]) == (73, [CannotAnswer.headline, "  reason: No space left on device"])


def test_closed_streams_are_no_reason_to_fail(project: Path) -> None:
    line = " ".join(["exec", *map(repr, SCRIPT), "run", "rules.py:step", "3", ">&-", "2>&-"])
    found = subprocess.run(["sh", "-c", line], timeout=600)
    assert found.returncode in (0, 1)
    assert check_store() == 1


def test_output_in_a_c_locale_is_escaped_not_lost(project: Path) -> None:
    (project / "rules.py").write_text(
        "from engine import query\n@query\ndef one() -> str:\n    return 'gr\\xfc\\xdfe'\n"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    found = subprocess.run(
        [*SCRIPT, "run", "rules.py:one", "-q"], capture_output=True, timeout=600, env=environment
    )
    assert found.returncode == 0
    assert found.stdout in (b"gr\\xfc\\xdfe\n", "grüße\n".encode())


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a pseudo terminal."""
    pty = pytest.importorskip("pty")
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_progress_moves_on_a_terminal_and_the_summary_stays(project: Path, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    (project / "rules.py").write_text(
        "import time\nfrom engine import query\n@query\ndef wait(n: int) -> int:\n"
        "    time.sleep(0.05)\n    return n\n@query\ndef waits() -> int:\n"
        "    return sum(wait(n) for n in range(30))\n"
    )
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [*SCRIPT, "run", "rules.py:waits"], stdout=subprocess.PIPE, stderr=theirs, env=environment
    )
    out, _ = process.communicate(timeout=600)
    seen = os.read(ours, 1 << 20).decode()
    assert (process.returncode, out) == (0, b"435\n")
    assert "rules:wait(" in seen
    assert "executed 31, cut off 0" in seen.splitlines()[-1]
    assert "\x1b[3" not in seen  # NO_COLOR: the cursor moves, nothing is coloured
