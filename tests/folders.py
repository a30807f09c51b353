"""A root for tests of files, a user for whom permissions count, and a file system whose clock is coarse."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.rules import stat
from engine.rules.files import FileError

NOBODY = 65534
HOSTILE = [
    "/etc/passwd", "//etc/passwd", "/", "..", "../", "../x", "../../etc/passwd", "a/../../b", "./../b",
    "a/./../../b", "a/b/../../../c", "../" * 40 + "etc/passwd", "/proc/self/mem", "//host/share/x",
    "d/../../x", "..//x", ".//..//x", "inside/../../../x", "/dev/zero", "/./etc/passwd", "/../etc/passwd",
    "out", "out/secret", "out/../out/secret", "to-secret", "chain", "out/deeper/secret", "absolute",
    "a\0b", "\0", "out/\0", "../\0", "/\0", ".", "./", "a/", "a//b", "a/.", "./a", "", "/" * 5000,
    "/".join(["x"] * 5000), "/".join([".."] * 5000), "~/x", "~root/x", "$HOME/x", "%2e%2e/x", "..\\x",
    "C:\\x", "C:/x", "\\\\host\\x", "file:///etc/passwd", "\ud800", "\udcff", "a\nb", "\u202e", "．．/x",
    "x" * 100_000, "/etc/passwd\0.py", "../secret",
]  # fmt: skip


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root that is the working directory, and that every user may enter (pytest's own is private)."""
    path = Path(os.path.realpath(tempfile.mkdtemp()))
    path.chmod(0o755)
    monkeypatch.chdir(path)
    before = os.umask(0o022)  # files, too
    yield path
    os.umask(before)
    if Path("closed").exists():
        Path("closed").chmod(0o755)
    shutil.rmtree(path)


def grow(*paths: str) -> None:
    """Make files below the working directory, with their directories; "d/" makes an empty directory."""
    for path in paths:
        directory, _, name = path.rpartition("/")
        if directory:
            os.makedirs(directory, exist_ok=True)
        if name:
            Path(path).write_text("x")


@contextmanager
def without_privileges() -> Iterator[None]:
    """As a user for whom permissions count: root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stamp is believed at once, so that only the stamp itself can show a change."""
    monkeypatch.setattr(stat, "RACY_WINDOW_NS", 0)


def answer(call: Callable[[], object]) -> object:
    """The value, or the kind of the error."""
    try:
        return call()
    except FileError as error:
        return (error.kind,)


def coarse(monkeypatch: pytest.MonkeyPatch, tick_ns: int) -> None:
    """Let file times come from a clock with that tick, and inodes tell nothing."""
    exact = stat.record_of

    def rounded(state: os.stat_result) -> bytes:
        return exact(
            SimpleNamespace(  # type: ignore[arg-type]  # all of a stat_result that is read
                st_mode=state.st_mode,
                st_mtime_ns=state.st_mtime_ns // tick_ns * tick_ns,
                st_ctime_ns=state.st_ctime_ns // tick_ns * tick_ns,
                st_size=state.st_size,
                st_ino=1,
            )
        )

    monkeypatch.setattr(stat, "record_of", rounded)
