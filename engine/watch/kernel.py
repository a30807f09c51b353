"""Kernel: suggestions of the operating system, by way of watchfiles; or of watchfiles' own polling.

Every directory is watched for itself and never with what is below it: a recursive watch would take in ignored
trees, and it misses what happens in new directories before it gets to them (watchfiles 1.3: 17 of 20 files
created in fresh nested directories). watchfiles cannot add to a watch, so there are two: a large one, and a small one
for directories that came later, which is replaced as they come. What a replaced watch had not told yet is made up
for by its directories being looked at again (see `cover`).

Invariants
    N1  A watch is installed before its predecessor is closed.
    N2  The directory of cookies is in every watch.
    N3  watchfiles drops overflows without a word (its issue 348); that is noticed elsewhere, by doubting.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engine.errors import CannotWatch
from engine.watch.backend import Fail, Suggest

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

# watchfiles looks for news every step and tells them when a step brought none: two steps from save to event.
# A step costs some 30 microseconds: 0.7% of a core at 5 ms, 2% at 2 ms.
IDLE_STEP_MS = 5
BUSY_STEP_MS = 2  # while something happened lately: the next save is likely to come soon
BUSY_TURNS = 8  # turns of TURN_MS that count as lately
DEBOUNCE_MS = 20  # the longest that watchfiles collects while there is no quiet step
TURN_MS = 250  # the longest wait for news; then the thread sees whether it is to end
POLL_MS = 300  # between two looks where the kernel tells nothing; watchfiles' own default
SMALL = 512  # directories: from here on (or a quarter of the large watch) the small watch joins the large one
TRIES = 5  # directories vanish while they are being covered


class KernelBackend:
    """Watches by inotify, or what the system has; with `polling`, watchfiles compares files by itself."""

    def __init__(self, cookies: str, suggest: Suggest, fail: Fail, *, polling: bool = False) -> None:
        forced = polling or os.environ.get("WATCHFILES_FORCE_POLLING", "") not in ("", "false", "disabled")
        self.mode = "polling" if forced else "events"
        self._cookies = cookies
        self._suggest = suggest
        self._fail = fail
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._large: _Voice | None = None
        self._small: _Voice | None = None
        self._covered: set[str] = set()

    def cover(self, directories: Iterable[str]) -> frozenset[str]:
        """See `Backend.cover`."""
        with self._lock:
            fresh = [path for path in dict.fromkeys(directories) if path not in self._covered]
            if not fresh:
                return frozenset()
            later = [*(self._small.directories if self._small else ()), *fresh]
            everything = self._large is None or len(later) > max(SMALL, len(self._large.directories) // 4)
            if everything and self._large is not None:
                later = [*self._large.directories, *later]
            voice = self._install(dict.fromkeys(later))
            before = [self._small, self._large if everything else None]
            if everything:
                self._large, self._small = voice, None
            else:
                self._small = voice
            for old in before:
                if old is not None:
                    old.end()
            self._covered.update(voice.directories)
            return frozenset(voice.directories)

    def _install(self, asked: Iterable[str]) -> _Voice:
        from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

        for attempt in itertools.count(1):
            directories = [path for path in asked if _can_be_watched(path)]
            known = _descriptors()
            try:
                notify = RustNotify(
                    [self._cookies, *directories], False, self.mode == "polling", POLL_MS, False, False
                )
                break
            except (FileNotFoundError, PermissionError, NotADirectoryError):
                if attempt == TRIES:
                    raise
            except (OSError, WatchfilesRustInternalError) as error:
                raise CannotWatch(
                    directories=len(directories), cause=_first_line(error), hint=limits_hint()
                ) from error
        mine = _descriptors() - known
        return _Voice(next(self._numbers), notify, directories, mine, self._suggest, self._fail)

    def uncover(self, directories: Iterable[str]) -> None:
        """See `Backend.uncover`."""
        with self._lock:
            gone = self._covered.intersection(directories)
            self._covered -= gone
            for voice in (self._large, self._small):
                if voice is not None and gone:
                    voice.directories = [path for path in voice.directories if path not in gone]

    def covers(self, directory: str) -> bool:
        """See `Backend.covers`."""
        return directory in self._covered

    def missing(self) -> int:
        """See `Backend.missing`. Costs about a microsecond a watch."""
        with self._lock:
            return sum(voice.missing() for voice in (self._large, self._small) if voice is not None)

    def voices(self) -> frozenset[int]:
        """See `Backend.voices`."""
        with self._lock:
            return frozenset(voice.number for voice in (self._large, self._small) if voice is not None)

    def close(self) -> None:
        """See `Backend.close`."""
        with self._lock:
            ended = [voice for voice in (self._large, self._small) if voice is not None]
            self._large = self._small = None
            self._covered.clear()
        for voice in ended:
            voice.end()
        for voice in ended:
            voice.join()


class _Voice:
    """One watch of watchfiles, and the thread that listens to it."""

    def __init__(
        self,
        number: int,
        notify: RustNotify,
        directories: list[str],
        descriptors: set[int],
        suggest: Suggest,
        fail: Fail,
    ) -> None:
        self.number = number
        self.directories = directories
        self._notify = notify
        self._descriptors = descriptors
        self._suggest = suggest
        self._fail = fail
        self._ended = False
        self._thread = threading.Thread(target=self._listen, name=f"engine-watch-{number}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended = True

    def join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join(4 * TURN_MS / 1000)

    def _listen(self) -> None:
        from watchfiles._rust_notify import WatchfilesRustInternalError

        busy = 0
        try:
            while not self._ended:
                step = BUSY_STEP_MS if busy else IDLE_STEP_MS
                found: Any = self._notify.watch(DEBOUNCE_MS, step, TURN_MS, None)
                if isinstance(found, str):
                    busy = max(0, busy - 1)
                    continue
                busy = BUSY_TURNS
                if not self._ended:
                    self._suggest(self.number, [path for _, path in found])  # the kind of change proves nothing
        except (WatchfilesRustInternalError, RuntimeError, OSError) as error:
            if not self._ended:
                self._ended = True
                self._fail(f"watchfiles: {_first_line(error)}")
        finally:
            self._notify.close()

    def missing(self) -> int:
        counted = sum(map(_watches_of, self._descriptors))
        expected = len(self.directories) + 1  # and the cookies
        if not self._descriptors or counted >= expected:
            return 0
        return max(0, sum(map(os.path.isdir, self.directories)) + 1 - counted)


def _can_be_watched(path: str) -> bool:
    try:
        path.encode()  # watchfiles takes no others
    except UnicodeEncodeError:
        return False
    return os.path.isdir(path) and os.access(path, os.R_OK)


def _descriptors() -> set[int]:
    """This process's inotify instances; none where the system has no such list."""
    found: set[int] = set()
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:inotify":
                    found.add(int(name))
    return found


def _watches_of(descriptor: int) -> int:
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as info:
            return info.read().count("inotify wd:")
    except OSError:
        return 0


def limits_hint() -> str:
    """What to do about the system's limits, with their present values."""
    told = []
    for name in ("max_user_watches", "max_user_instances"):
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
                told.append(f"fs.inotify.{name} = {int(file.read())}")
    raised = "sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512"
    return f"{'; '.join(told)}. Raise them: {raised}" if told else "Raise the system's limit of file watches."


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).split("\n")[0].split(" about [")[0][:200]
