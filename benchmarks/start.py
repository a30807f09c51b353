"""Starting: `import engine`, what it pulls in, and `engine --version` as a whole process."""

from __future__ import annotations

import importlib.util
import resource
import time
from collections.abc import Iterator

from benchmarks.harness import Figure, Scale, interleaved, python

# Each costs 10 to 60 ms, and most programs that import the engine need none of them.
UNWANTED = ("asyncio", "click", "rich", "sqlite3", "sqlite_utils", "watchfiles")
MODULES = """import sys; before = set(sys.modules); import engine
print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"""


def wall(*arguments: str) -> float:
    started = time.perf_counter()
    python(*arguments)
    return time.perf_counter() - started


def processor(*arguments: str) -> float:
    """Processor time of the process, in seconds: what is left of `wall` where nobody disturbs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    python(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(scale: Scale) -> Iterator[Figure]:
    pulled = set(python("-c", MODULES).split())
    unwanted = sorted(pulled.intersection(UNWANTED))
    cases = {
        "empty": lambda: wall("-c", "pass"),
        "import": lambda: wall("-c", "import engine"),
        "empty cpu": lambda: processor("-c", "pass"),
        "import cpu": lambda: processor("-c", "import engine"),
    }
    has_command = importlib.util.find_spec("engine.__main__") is not None
    if has_command:
        python("-m", "engine", "--version")
        cases["version"] = lambda: wall("-m", "engine", "--version")
    found = interleaved(cases, scale.runs * 3)
    yield found.figure("empty", "an interpreter that does nothing, whole process", "ms")
    yield found.figure("import", "import engine (less the empty interpreter)", "ms", less="empty", goal=80)
    yield found.figure("import cpu", "import engine, processor time (less the same)", "ms", less="empty cpu")
    if has_command:
        yield found.figure("version", "engine --version, whole process", "ms", limit="empty", goal=150)
    yield Figure(
        name=f"of {', '.join(UNWANTED)}", value=len(unwanted),
        unit="", goal=0, note=", ".join(unwanted),
    )  # fmt: skip
    yield Figure(name="top-level modules pulled", value=len(pulled), unit="", note=" ".join(sorted(pulled)))
