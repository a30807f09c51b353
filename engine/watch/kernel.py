"""Kernel: suggestions of the operating system, by way of watchfiles; or of watchfiles' own polling.

Every directory is watched for itself and never with what is below it: a recursive watch would take in ignored
trees, and it misses what happens in new directories before it gets to them (watchfiles 1.3: 17 of 20 files
created in fresh nested directories). watchfiles cannot add to a watch, so there are two: a large one, and a
small one for directories that came later, which is replaced as they come. What a replaced watch had not told
yet is made up for by its directories being looked at again (see `cover`).

So it is with inotify. Other systems watch whole trees: FSEvents is one stream, made anew for each path that
is added to it (notify's `fsevent.rs`). There only the topmost directories are watched, with all below them.

Invariants
    N1  A watch is installed before its predecessor is closed.
    N2  The directory of cookies is in every watch.
    N3  watchfiles drops overflows without a word (its issue 348); that is noticed elsewhere, by doubting.
    N4  No directory is watched by a name that leads through a link: inotify would tell of it by one of its
        two names, whichever was added last. Who reads through links asks for what they reach (see `places`).
    N5  Of trees, a directory is covered while one above it is: a top that is removed takes them all along.
    N6  A directory that is mounted in two places is told of by one of its names: a voice adds the other.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engine.errors import CannotWatch
from engine.watch.backend import Fail, Suggest
from engine.watch.inotify import instances, limits_hint, waiting, watched_inodes
from engine.watch.watchable import above, can_be_watched, inode_of, topmost, twins_among

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

# watchfiles looks for news every step and tells them when a step brought none: two steps from save to event.
# A step wakes a processor, for some 70 microseconds: 1% of a core at 7 ms, half of it at 15 ms.
STEP_MS = 7
SLOW_STEP_MS = 15  # after SLOW_SECONDS without an event: the next save takes 30 ms, and those after it 14 ms
SLOW_SECONDS = 60.0
DEBOUNCE_MS = 10  # the longest that watchfiles collects while there is no quiet step
TURN_SECONDS = 0.1  # between two signs of life
# Bytes that wait in the kernel's queue when they are counted: 2,000 of the 16,384 events that it holds. As a
# rule there are none, since watchfiles takes them out at once; it has fallen behind, maybe far.
CROWDED_BYTES = 64 << 10
POLL_MS = 300  # between two looks where the kernel tells nothing; watchfiles' own default
SMALL = 512  # directories (installed in 40 ms): up to here one watch is enough
JOIN_SECONDS = 1.0  # for a thread to end: it looks at each step
TRIES = 5  # directories vanish while they are being covered

# Over making and closing them: which one is ours is known by which ones there were. See
# test_watches_that_begin_at_the_same_time_know_which_instances_are_theirs.
_making = threading.Lock()

log = logging.getLogger("engine.watch")


def _in_child() -> None:
    """In a process that was forked: another thread may have held it, and does not run here."""
    global _making
    _making = threading.Lock()


os.register_at_fork(after_in_child=_in_child)


class KernelBackend:
    """Watches by inotify, or what the system has; with `polling`, watchfiles compares files by itself.

    trees    the system watches a directory together with all below it
    """

    def __init__(
        self,
        cookies: str,
        suggest: Suggest,
        fail: Fail,
        *,
        polling: bool = False,
        trees: bool = sys.platform != "linux",
    ) -> None:
        forced = polling or os.environ.get("WATCHFILES_FORCE_POLLING", "") not in ("", "false", "disabled")
        self.mode = "polling" if forced else "events"
        self._trees = trees and not forced
        self._cookies = cookies
        self._suggest = suggest
        self._fail = fail
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._large: _Voice | None = None
        self._small: _Voice | None = None
        self._covered: set[str] = set()
        self._closed = False

    def cover(self, directories: Iterable[str]) -> frozenset[str]:
        """See `Backend.cover`."""
        with self._lock:
            if self._closed:  # a thread of the watch may be on its way here when that ends
                return frozenset()
            places: dict[str, bool] = {}
            fresh = [
                path
                for path in dict.fromkeys(directories)
                if path not in self._covered and can_be_watched(path, places)
            ]
            told = frozenset(path for path in fresh if self._is_told_above(path))
            if told:
                self._covered |= told
                fresh = [path for path in fresh if path not in told]
            if not fresh and self._large is not None:
                return told
            if not os.path.isdir(self._cookies):  # N2: who makes it anew makes us anew
                self._fail("the directory of cookies was removed")
                return frozenset()
            later = [*(self._small.directories if self._small else ()), *fresh]
            large = len(self._large.directories) if self._large else 0
            everything = large + len(later) <= SMALL or len(later) > large // 4
            if everything and self._large is not None:
                later = [*self._large.directories, *later]
            try:
                voice = self._install(dict.fromkeys(later))
            except FileNotFoundError:
                self._fail("the directory of cookies was removed")  # just now, see above
                return frozenset()
            before = [self._small, self._large if everything else None]
            if everything:
                self._large, self._small = voice, None
            else:
                self._small = voice
            found = {*told, *voice.directories}
            for old in before:
                if old is not None:
                    old.end()
                    self._covered.difference_update(old.directories)
                    found.update(old.directories)  # also what was not there just now: it may be back already
            self._covered.update(voice.directories)
            return frozenset(found)

    def _is_told_above(self, path: str) -> bool:
        """Whether what happens in a directory is told by a voice of one above it, which takes it on then."""
        for voice in (self._large, self._small) if self._trees else ():
            if voice is not None and not self._covered.isdisjoint(voice.tops_above(path)):
                voice.directories.append(path)
                return True
        return False

    def _install(self, asked: Iterable[str]) -> _Voice:
        from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

        attempt = 0
        while True:
            attempt += 1
            places: dict[str, bool] = {}
            directories = [path for path in asked if can_be_watched(path, places)]
            tops = topmost(directories) if self._trees else directories
            with _making:
                known = instances()
                try:
                    notify = RustNotify(
                        [self._cookies, *tops], False, self.mode == "polling", POLL_MS, self._trees, False
                    )
                except (FileNotFoundError, PermissionError, NotADirectoryError):
                    if attempt > TRIES:
                        raise  # the directory of cookies
                    if attempt == TRIES:
                        asked = ()  # trees come and go faster than that: looked at instead (coverage F3)
                    continue
                # The second: of the directory of cookies.
                except (OSError, UnicodeEncodeError, WatchfilesRustInternalError) as error:
                    raise CannotWatch(
                        directories=len(directories), cause=_first_line(error), hint=limits_hint()
                    ) from error
                mine = instances() - known
            watches = sum(len(watched_inodes(one)) for one in mine)
            twins = twins_among(tops) if mine and watches <= len(tops) else []
            if attempt >= TRIES or not mine or watches > len(tops) - sum(len(names) - 1 for names in twins):
                break
            with _making:
                notify.close()  # a directory vanished meanwhile, or became a link to another one (N4)
        number, suggest = next(self._numbers), self._suggest
        return _Voice(number, notify, directories, tops, twins, mine, self._cookies, suggest, self._fail)

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

    def missing(self) -> int | None:
        """See `Backend.missing`. Costs some three microseconds a watch."""
        with self._lock:
            counts = [voice.missing() for voice in (self._large, self._small) if voice is not None]
        return sum(count for count in counts if count is not None) or (None if None in counts else 0)

    def voices(self) -> frozenset[int]:
        """See `Backend.voices`."""
        with self._lock:
            voices = [voice for voice in (self._large, self._small) if voice is not None]
            return frozenset(voice.number for voice in voices if not voice.ended)

    def crowded(self) -> bool:
        """See `Backend.crowded`."""
        found = False
        for voice in (self._large, self._small):
            if voice is not None and voice.crowded:
                voice.crowded, found = False, True
        return found

    def close(self) -> None:
        """See `Backend.close`."""
        with self._lock:
            self._closed = True
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
        tops: list[str],
        twins: list[list[str]],
        descriptors: set[int],
        cookies: str,
        suggest: Suggest,
        fail: Fail,
    ) -> None:
        self.number = number
        self.directories = directories
        self._tops = frozenset(tops)  # those of them that watchfiles was given
        self._twins = {path: names for names in twins for path in names}
        self._notify = notify
        self._descriptors = descriptors
        self._suggest = suggest
        self._fail = fail
        self.crowded = False  # its queue was so full that it may have overflowed
        self._cookies = cookies
        self._event_at = time.monotonic()
        self._spoken_at = 0.0
        self._slow = False  # steps are long now
        self._over = False
        # Some file systems number their files otherwise in /proc: then nothing can be learned from it.
        watched = self._inodes()
        self._told_inodes = bool(descriptors) and all(inode_of(path) in watched for path in directories[:100])
        self._thread = threading.Thread(target=self._listen, name=f"engine-watch-{number}", daemon=True)
        self._thread.start()

    def is_set(self) -> bool:
        """Asked by watchfiles at each step: whether to come back.

        That means the end: whatever watchfiles has at such a moment it throws away, and at a timeout too, so
        there is none. The voice says from here that it is alive (backend K4).
        """
        now = time.monotonic()
        if now - self._spoken_at >= TURN_SECONDS and not self._over:
            self._spoken_at = now
            self._suggest(self.number, ())
            if not self._slow and now - self._event_at > SLOW_SECONDS:
                self._slow = True
                self._rouse()
        return self._over

    def _rouse(self) -> None:
        """Make an event, because watchfiles takes another step with the next call only."""
        place = os.path.join(self._cookies, f"rouse-{self.number}")
        with contextlib.suppress(OSError):  # without the directory: the steps stay short
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            os.unlink(place)

    @property
    def ended(self) -> bool:
        return self._over

    def tops_above(self, path: str) -> frozenset[str]:
        return self._tops.intersection(above(path))

    def end(self) -> None:
        self._over = True

    def join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_SECONDS)

    def _listen(self) -> None:
        from watchfiles._rust_notify import WatchfilesRustInternalError

        try:
            while not self.ended:
                step = SLOW_STEP_MS if self._slow else STEP_MS
                found: Any = self._notify.watch(DEBOUNCE_MS, step, 0, self)
                if isinstance(found, str):
                    continue
                if any(os.path.dirname(path) != self._cookies for _, path in found):
                    self._event_at, self._slow = time.monotonic(), False
                self.crowded = self.crowded or any(waiting(one) > CROWDED_BYTES for one in self._descriptors)
                if not self.ended:  # the kind of change proves nothing
                    self._suggest(self.number, [name for _, path in found for name in self._names_of(path)])
        except Exception as error:  # also one of ours: a voice that nobody hears of would be missed by nobody
            if not self.ended:
                of_watchfiles = isinstance(error, WatchfilesRustInternalError | RuntimeError | OSError)
                if not of_watchfiles:
                    log.exception("a voice failed", exc_info=error)
                self._fail(f"{'watchfiles' if of_watchfiles else type(error).__name__}: {_first_line(error)}")
                self.end()  # only now: without this voice, a cookie of another would prove too much
        finally:
            with _making:
                self._notify.close()

    def _names_of(self, path: str) -> list[str]:
        """A path that was told, and its other names (N6)."""
        directory, name = os.path.split(path)
        return [os.path.join(twin, name) for twin in self._twins.get(directory, (directory,))]

    def missing(self) -> int | None:
        if not self._told_inodes:
            return None if self._descriptors else 0  # of another system, nothing is to be learned at all
        watched = self._inodes()
        return sum(1 for path in tuple(self.directories) if inode_of(path) not in watched)

    def _inodes(self) -> set[int]:
        return {inode for descriptor in self._descriptors for inode in watched_inodes(descriptor)} | {0}


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).split("\n")[0].split(" about [")[0][:200]
