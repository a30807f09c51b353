"""Cookies: files whose event proves that everything saved before them was told (an idea of watchman).

Invariants
    O1  A cookie is complete when every voice of the backend has told of it (each is in order, see `backend`).
    O2  The directory lies outside of everything that queries read. Its name is this process's alone.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

PREFIX = "cookies-"


class Cookie:
    """One file, and the voices that did not tell of it yet."""

    def __init__(self, path: str, voices: frozenset[int]) -> None:
        self.path = path
        self.waiting = set(voices)
        self.complete = threading.Event()

    def keep(self, voices: frozenset[int]) -> None:
        """Expect no more than these: what others had to tell is looked at by who replaced them."""
        self.waiting &= voices
        if not self.waiting:
            self.complete.set()


class Cookies:
    """Makes cookies in a directory of its own: below `place` (the store's directory), or a temporary one."""

    def __init__(self, place: Path | None) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[str, Cookie] = {}
        self.directory = ""  # not made yet

    def renew(self) -> None:
        """Make the directory; again, if somebody removed it."""
        if self.are_there():
            return
        if self._place is not None and not self.directory:
            with contextlib.suppress(FileNotFoundError):  # as below
                for old in self._place.glob(PREFIX + "*"):  # of watches that were killed: we may write there
                    shutil.rmtree(old, ignore_errors=True)
        place = self._place if self._place is not None and _can_hold(self._place) else None
        try:
            made = tempfile.mkdtemp(prefix=PREFIX, dir=place)
        except OSError:  # the store is being removed, or its disk is full
            made = tempfile.mkdtemp(prefix=PREFIX)
        self.directory = os.path.realpath(made)

    def are_there(self) -> bool:
        """Whether the directory is where it was made."""
        return os.path.isdir(self.directory)

    def drop(self, voices: Iterable[int]) -> Cookie:
        """Put down a cookie that these voices will tell of. Raises OSError where it cannot be made."""
        path = os.path.join(self.directory, f"{next(self._numbers)}")
        cookie = Cookie(path, frozenset(voices))
        with self._lock:
            self._open[path] = cookie
        try:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except OSError:
            self.forget(cookie)
            raise
        return cookie

    def owns(self, path: str) -> bool:
        """Whether a path is a cookie or the directory of them."""
        return path == self.directory or path.startswith(self.directory + os.sep)

    def seen(self, voice: int, path: str) -> None:
        """A voice told of a path."""
        with self._lock:
            cookie = self._open.get(path)
            if cookie is not None:
                cookie.waiting.discard(voice)
                if not cookie.waiting:
                    cookie.complete.set()

    def forget(self, cookie: Cookie) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self._open.pop(cookie.path, None)
        with contextlib.suppress(OSError):  # it may never have been made
            os.unlink(cookie.path)

    def close(self) -> None:
        """Remove the directory."""
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)


def _can_hold(place: Path) -> bool:
    """Whether we may write there, and watchfiles takes its name."""
    try:
        os.path.realpath(place).encode()
    except UnicodeEncodeError:
        return False
    return os.access(place, os.W_OK)
