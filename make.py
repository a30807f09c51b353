"""Set up what a task needs in .venv, once, and do the task. Needs Python >= 3.11 and a network, nothing else.

python3 make.py demo      the code graph of Python's own standard library, edited while you look
python3 make.py test      every test; what follows is handed on to pytest
python3 make.py check     lint, format, types
python3 make.py bench     the figures of docs/benchmarks.md
python3 make.py format    put the code in form
python3 make.py clean     remove what these made
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
RUN = str(VENV / "bin" / "python")
# What each task needs, of the dependency groups in pyproject.toml.
GROUPS = {"demo": "", "test": "test", "check": "test check", "bench": "test", "format": "check"}
MADE = ["build", "dist", "demo-work", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"]
PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
NO_VENV = """\
{python} cannot make an environment. On Debian and Ubuntu install its python3-venv package, or take
another Python: /path/to/python3 make.py {task}"""


def main(task: str = "", *more: str) -> int:
    tasks = {
        "demo": [["examples/demo.py"]],
        "test": [["-m", "pytest", *(more or ("-n", "auto", "--dist", "worksteal"))]],
        "check": [
            ["-m", "ruff", "check", "."],
            ["-m", "ruff", "format", "--check", "."],
            ["-m", "mypy"],
            ["-m", "pyright", "--pythonpath", RUN],
        ],
        "bench": [["-m", "benchmarks", *more]],
        "format": [["-m", "ruff", "check", "--fix", "."], ["-m", "ruff", "format", "."]],
        "clean": [],
    }
    if task not in tasks:
        print(__doc__)
        return 2
    if sys.version_info < OLDEST:
        print("This is Python", sys.version.split()[0] + ". Take 3.11 or later:", "python3.11 make.py", task)
        return 1
    os.chdir(str(HERE))
    if task == "clean":
        for name in (*MADE, VENV.name):
            shutil.rmtree(name, ignore_errors=True)
        return 0
    set_up(task)
    return next((code for code in map(run, tasks[task]) if code), 0)


def set_up(task: str) -> None:
    """Make the environment and install into it what is newer than what is there."""
    if not os.path.exists(RUN):
        print("setting up .venv with Python", sys.version.split()[0], flush=True)
        if run(["-m", "venv", "--clear", str(VENV)], sys.executable):
            sys.exit(NO_VENV.format(python=sys.executable, task=task))
    install("engine", "--editable", ".")
    for group in GROUPS[task].split():
        install(group, "--group", group)


def install(what: str, *how: str) -> None:
    """Install something, unless it was installed since pyproject.toml was changed last."""
    stamp = VENV / ("stamp-" + what)
    if stamp.exists() and stamp.stat().st_mtime >= os.stat("pyproject.toml").st_mtime:
        return
    print("installing", what if what == "engine" else "what is needed to " + what, flush=True)
    newer = ["pip>=25.1"] if "--group" in how else []  # the first that knows --group
    if (newer and run([*PIP, *newer])) or run([*PIP, *how]):
        sys.exit(1)
    stamp.touch()


def run(arguments: list[str], python: str = RUN) -> int:
    """The exit code of a Python program. Ctrl-C is the program's: it hears of it as well, and ends."""
    child = subprocess.Popen([python, *arguments])
    while True:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            continue
        return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
