"""Commands: the version of a tool, as an input that changes when its executable does.

Invariants
    T1  No shell. The arguments are passed as they are; nothing is read from standard input.
    T2  A tool gets a small environment of its own, so that its answer does not depend on the caller's.
    T3  It ends by itself, or is ended with its children after `TIMEOUT_S` or `MAX_OUTPUT_BYTES`.
    T4  A tool that is missing or fails is an answer, a `ToolError`, until the executable changes. That
        somebody ended it is none.

Only the executable itself is looked at. A wrapper that chooses the real tool (pyenv, asdf) hides a change
of what it chooses: name the real one.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import threading
import time
from typing import ClassVar

from engine import Durability, EngineError, input, root
from engine.rules.stat import settled, stamp_of

TIMEOUT_S = 10.0  # a cold start of a JVM takes two; nobody waits longer for a version
MAX_OUTPUT_BYTES = 64 * 1024  # a version is a line; gcc -v prints some kilobytes
PASSED_ON = ("PATH", "HOME", "TMPDIR")  # without which tools do not start
_ENDED = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # which come from outside
_NOT_RUNNABLE = (errno.ENOEXEC, errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.E2BIG, errno.ELOOP)


class ToolError(EngineError):
    """The version of a tool cannot be told. `command` is what was run, `kind` what came of it."""

    headline = "a tool did not tell its version"
    exit_code: ClassVar[int] = 1  # a query failed

    def __init__(self, command: tuple[str, ...], kind: str) -> None:
        super().__init__(command=" ".join(command), result=kind)
        self.args = (command, kind)  # what copy and pickle call the class with
        self.command = command
        self.kind = kind


class ToolMissing(ToolError):
    """There is no such executable."""

    hint = "Install it, or put its directory on PATH."


def executable_stamp(*command: str) -> bytes:
    """Where the executable was found, and its stamp there. Nothing is run."""
    full = _executable(command)
    return b"a" if full is None else stamp_of(full) + b"a" + os.fsencode(full)


@input(stamp=executable_stamp, settled=settled, durability=Durability.MEDIUM)
def tool_version(*command: str) -> str:
    """What a tool prints about its version: `tool_version("git")` runs `git --version`.

    With more than one argument they are the whole command: `tool_version("go", "version")`. A name with
    a slash is looked up from the root, any other on PATH. Standard error counts too: some print it there.
    """
    full = _executable(command)
    if full is None:
        raise ToolMissing(command, "missing")
    arguments = command[1:] or ("--version",)
    status, output = _run([full, *arguments], command)
    if -status in _ENDED:  # for want of memory, or with all of the service that runs it
        raise ChildProcessError(f"{' '.join(command)!a} was ended by signal {-status}")
    if status != 0:
        raise ToolError(command, f"exit status {status}" if status > 0 else f"killed by signal {-status}")
    return output.decode("utf-8", "backslashreplace").rstrip()


def _executable(command: tuple[str, ...]) -> str | None:
    """The file that would be run, or None."""
    if not command or not command[0] or "\0" in command[0]:
        return None
    name = command[0]
    if "/" in name:
        return shutil.which(os.path.join(root(), name))
    # os.environ, not `variable`: inputs read no queries, and the result is part of the stamp. A relative
    # directory on PATH is one below the root, where the tool runs: what is stamped has to be what is run.
    directories = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return shutil.which(name, path=os.pathsep.join(os.path.join(root(), one) for one in directories))


def _run(argv: list[str], command: tuple[str, ...]) -> tuple[int, bytes]:
    """Exit status and output. Raises TimeoutError (transient: the machine may be busy)."""
    process = _started(argv, command)
    ended = time.monotonic() + TIMEOUT_S
    # A pipe cannot be read with a time limit; ending the whole group ends the read.
    timer = threading.Timer(TIMEOUT_S, os.killpg, (process.pid, signal.SIGKILL))
    timer.daemon = True
    timer.start()
    output, status = b"", 0
    try:
        assert process.stdout is not None
        with process.stdout:
            output = process.stdout.read(MAX_OUTPUT_BYTES + 1)
        if len(output) > MAX_OUTPUT_BYTES:
            raise ToolError(command, f"more than {MAX_OUTPUT_BYTES} bytes of output")
        timer.cancel()
        timer.join()  # from here on nobody else sends a signal to this number
        status = process.wait(max(ended - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:  # it closed its output and stays
        pass
    finally:
        timer.cancel()
        timer.join()
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if time.monotonic() >= ended:
        raise TimeoutError(f"{' '.join(command)!a} did not end within {TIMEOUT_S:g} s")
    return status, output


def _started(argv: list[str], command: tuple[str, ...]) -> subprocess.Popen[bytes]:
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment | {"LC_ALL": "C"},
            cwd=root(),
            start_new_session=True,  # a group of its own, to be ended as a whole
        )
    except ValueError as error:  # a NUL in an argument
        raise ToolError(command, "bad argument") from error
    except OSError as error:
        if error.errno in _NOT_RUNNABLE:
            raise ToolError(command, os.strerror(error.errno)) from error
        raise
