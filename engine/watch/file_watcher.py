"""FileWatcher: where something may have happened, and when that can no longer be relied on.

    starting -> crawling -> live -> doubtful -> crawling (or starting, where the watch itself is made anew)

The kernel's events are hints: a path means "look there". Loss is expected: whatever hints at it makes the
watcher doubtful, and a crawl looks at every observed input.

Invariants
    F2  Every transition is logged and told, with its reason.

Not here: which directories are watched, and what is looked at when something happened there (coverage).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable
from typing import Final

from engine.core import Core
from engine.errors import RootGone
from engine.watch.backend import Factory
from engine.watch.cookies import Cookies
from engine.watch.coverage import HUGE_BATCH, Coverage, log
from engine.watch.events import Trouble, WatchEvent, Watching
from engine.watch.filesystem import Mounts, why_silent
from engine.watch.scanning import ScanningBackend
from engine.watch.update_scheduler import AUDIT, UpdateScheduler

STARTING: Final = "starting"
CRAWLING: Final = "crawling"
LIVE: Final = "live"
DOUBTFUL: Final = "doubtful"

# Voices say something every 0.1 s. After a longer silence, in which this process did not compute either, it
# was stopped or had no processor, and the kernel's queue may have overflowed.
GAP_SECONDS = 0.3
AUDIT_SECONDS = 60.0  # the longest that a change which no event told of may go unnoticed, by default
AUDIT_SHARE = 0.004  # of one core: audits are further apart where everything takes long to look at
# Where watchfiles compares files by itself, it compares whole seconds: of two saves in one it sees the first.
POLLING_AUDIT_SECONDS = 2.0
POLL_SECONDS = 1.0  # between looks at inputs that no event tells of
POLL_SHARE = 0.1  # of one core, at most
LOOK_SECONDS = 4e-6  # to look at one input whose stamp is what it was
RESTART_SECONDS = 1.0  # between two restarts of a watch that keeps failing


class FileWatcher(Coverage):
    """Hints to a scheduler. `step` has to be called every quarter of a second or so.

    backend     makes what suggests paths; it is made anew when it failed
    tell        gets `Watching` and `Trouble` events
    clock       seconds that go on while the machine sleeps
    """

    def __init__(
        self,
        core: Core,
        scheduler: UpdateScheduler[int],
        cookies: Cookies,
        backend: Factory,
        tell: Callable[[WatchEvent], None],
        *,
        audit_seconds: float = AUDIT_SECONDS,
        poll_seconds: float = POLL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(core, scheduler, tell, clock)
        self._cookies = cookies
        self._factory = backend
        self._audit_seconds = audit_seconds
        self._poll_seconds = poll_seconds
        self.state = STARTING
        self.root_is_gone = False
        self.looked = False  # whether everything was looked at once
        self.last_event = 0.0
        # Voice -> when it last spoke, and our processor time then.
        self._heard: dict[int, tuple[float, float]] = {}
        self._reinstall = True
        self._root_identity: tuple[int, int] | None = None
        self._installed_at = -RESTART_SECONDS
        self._crawled_at = clock()
        self._crawl_seconds = 0.0
        self._polled_at = clock()
        self._poll_cost = 0.0
        self._audits_that_found = 0  # in a row
        self._root_suspect = False  # something happened to the root itself
        self._mounts: Mounts | None = None
        self._observed = 0  # inputs there were at the last step
        self._closed = False

    # -- from the backend ----------------------------------------------------------------------

    def suggest(self, voice: int, paths: Iterable[str]) -> None:
        """Something may have happened at these absolute paths. Called by the backend, from any thread."""
        now, worked = self._clock(), time.process_time()
        heard, before = self._heard.get(voice, (now, worked))
        self._heard[voice] = now, worked
        # A long collection, say, keeps a voice from speaking: that is work, and no sleep.
        silent = now - heard - (worked - before)
        told = list(paths)
        cookies = [path for path in told if self._cookies.owns(path)]
        hinted = [path for path in told if not self._cookies.owns(path)]
        if hinted:
            self.last_event = now
            self._hint(hinted)
        if self.backend.crowded():
            self.doubt("the kernel's queue was so full that it may have lost something")
        elif silent > GAP_SECONDS:
            self.doubt(f"nothing was heard for {silent:.1f} s: this process, or the machine, slept")
        elif len(hinted) > HUGE_BATCH:
            self.doubt(f"{len(hinted)} paths at once: the kernel may have lost some")
        if self._cookies.directory in cookies and not self._cookies.are_there():
            self.fail("the directory of cookies was removed")  # as `git clean -dfx` does
        for path in cookies:  # last: who waits for one finds what came before it hinted, and doubted
            self._cookies.seen(voice, path)

    def why_not_to_rely_on_events(self) -> str:
        """Why a cookie proves nothing now; "" where it does."""
        self._look_at_mounts()
        backend = self.backend
        if self._reinstall:
            return "the watch has to be made anew"
        if backend.mode != "events":  # who compares files by itself may look at the cookie first
            return f"no events tell of changes ({backend.mode})"
        return "" if backend.voices() else "no events tell of changes"

    def _hint(self, paths: list[str]) -> None:
        relative = []
        places = self.places
        for path in paths:
            name = places.relative(path)
            if name is not None:
                relative.append(name)
                if not name:
                    self._root_suspect = True
                if name in places.links or self._became_a_link(path, name):
                    places.stale = True
        if relative:
            self._scheduler.hint(relative)

    def _became_a_link(self, path: str, name: str) -> bool:
        if not self.places.covers(name) and not any(True for _ in self.places.at(name)):
            return False
        try:
            return stat.S_ISLNK(os.lstat(path).st_mode)
        except OSError:
            return False

    def fail(self, cause: str) -> None:
        """The backend ended with an error. Called by the backend, from any thread."""
        self._reinstall = True
        self.doubt(cause)

    # -- states --------------------------------------------------------------------------------

    def doubt(self, reason: str, *, reinstall: bool = False) -> None:
        """Something may have been lost: look at everything."""
        if reinstall:  # else it is as it is: another thread may set it just now
            self._reinstall = True
        if self.state == LIVE:
            self._go(DOUBTFUL, reason)
        self._scheduler.crawl(reason)

    def _go(self, state: str, reason: str) -> None:
        before, self.state = self.state, state
        log.info("%s -> %s: %s", before, state, reason)
        self._tell(Watching(state, before, reason))

    def begin_crawl(self, reason: str) -> None:
        """Before all is looked at: what failed is installed anew (coverage F1), once a second at most."""
        # What was lost may have told of a replaced directory. An audit counted before.
        if reason != AUDIT and self.backend.missing() != 0:
            self._reinstall = True
        if self._reinstall and self._clock() - self._installed_at >= RESTART_SECONDS:
            if self.state != STARTING:
                self._go(STARTING, reason)
            self._install()
        self._go(CRAWLING, reason)

    def end_crawl(self, seconds: float) -> None:
        """Everything was looked at."""
        self._crawled_at = self._clock()
        self._crawl_seconds = seconds
        self.looked = True
        if self._reinstall:
            self._go(DOUBTFUL, "the watch has to be made anew")
        else:
            self._go(LIVE, f"looked at everything in {seconds:.2f} s")

    def audited(self, differing: int) -> None:
        """What an audit found. If no event had told of it, the watch is made anew: it may have gone deaf.

        Some writes are never told (through memory maps and links from elsewhere), and some are told a moment
        later; so only the second such audit in a row counts.
        """
        self._audits_that_found = self._audits_that_found + 1 if differing else 0
        if self.backend.mode == "events" and self._audits_that_found > 1:
            self._audits_that_found = 0
            self.doubt(f"the audit found {differing} changes that no event told of", reinstall=True)

    def _install(self) -> None:
        with self._lock:
            if self._closed:
                return
            self.backend.close()
            self._installed_at = self._clock()
            self._reinstall = False  # here: the new backend may fail while it is installed
            try:
                self._make()
            except BaseException:
                self._reinstall = True
                raise

    def _make(self) -> None:
        self._mounts = self._mounts or Mounts(self._core.root, self._mounts_changed)
        self._heard.clear()
        self._cookies.renew()
        silent = why_silent(self._core.root)
        if silent and self._factory is not ScanningBackend:
            self._once(Trouble(str(self._core.root), silent, "Files are looked at every few seconds."))
            self.backend = ScanningBackend("", self.suggest, self.fail)
        else:
            self.backend = self._factory(self._cookies.directory, self.suggest, self.fail)
        self._root_identity = _identity(self._core.root)
        self.places.stale = True
        self.places.grow()
        self._bare.clear()
        self._cover(self.places.directories)

    # -- as time goes by -----------------------------------------------------------------------

    def step(self) -> None:
        """Look after the watch itself: the root, the audit, silence, inputs without events."""
        self.look_at_root()
        if self.root_is_gone:
            return
        now = self._clock()
        self._look_at_mounts()
        for voice in list(self._heard):
            if voice not in self.backend.voices():
                del self._heard[voice]
        if self._reinstall and now - self._installed_at >= RESTART_SECONDS:
            self._scheduler.crawl("the watch is made anew")
        elif now - self._crawled_at >= self.audit_seconds():
            self._crawled_at = now
            short = self.backend.missing()
            if short:
                self.doubt(f"the kernel lacks {short} watches")  # the crawl makes them anew
            else:
                # Directories that came later have a voice of their own, which costs as much as the other one.
                if len(self.backend.voices()) > 1:
                    self._reinstall = True
                self._scheduler.crawl(AUDIT)
        while self._second_looks and self._second_looks[0][0] <= now:
            self._scheduler.look(self._second_looks.pop(0)[1])
        observed = len(self._core.observed)
        if observed == self._observed:  # nobody is computing much: `get` reads what the watch does not know
            self.cover()
        self._observed = observed
        if now - self._polled_at >= max(self._poll_seconds, self._poll_cost / POLL_SHARE):
            self._polled_at = now
            self._scheduler.look(self._polled(now))

    def _polled(self, now: float) -> list[int]:
        nodes = self.uncovered()
        self._poll_cost = self._clock() - now + len(nodes) * LOOK_SECONDS
        return nodes

    def audit_seconds(self) -> float:
        """The time between audits: as asked, or longer where a crawl takes long."""
        if self.backend.mode == "polling":
            return max(min(self._audit_seconds, POLLING_AUDIT_SECONDS), self._crawl_seconds / POLL_SHARE)
        return max(self._audit_seconds, self._crawl_seconds / AUDIT_SHARE)

    def look_at_root(self) -> bool:
        """Whether the root is another directory than it was, so that everything has to be made anew."""
        identity = _identity(self._core.root)
        if identity is None:
            if not self.root_is_gone:
                self.root_is_gone = True
                trouble = Trouble(str(self._core.root), RootGone.headline, "Put it back.")
                log.info("%s: %s", trouble.place, trouble.cause)
                self._tell(trouble)
                if self.state == LIVE:
                    self._go(DOUBTFUL, trouble.cause)
            return False
        replaced = self.root_is_gone or identity != self._root_identity
        if self._root_suspect:  # removed and made again at once, it may have the number that it had
            self._root_suspect = False
            replaced = replaced or self.backend.missing() != 0
        if replaced:
            self.root_is_gone = False
            self._root_identity = identity
            self.doubt("the root was replaced", reinstall=True)
        return replaced

    def _look_at_mounts(self) -> None:
        if self._mounts is not None:
            self._mounts.look()

    def _mounts_changed(self) -> None:
        """What is mounted over a directory hides the one that is watched; no event tells of that."""
        self.doubt("a file system was mounted or unmounted", reinstall=True)

    def since_last_event(self) -> float:
        """Seconds since the backend suggested something."""
        return self._clock() - self.last_event

    def close(self) -> None:
        """End the backend."""
        with self._lock:
            self._closed = True
            self.backend.close()
            if self._mounts is not None:
                self._mounts.close()


def _identity(root: str | os.PathLike[str]) -> tuple[int, int] | None:
    try:
        state = os.stat(root)
    except OSError:
        return None
    return (state.st_dev, state.st_ino) if stat.S_ISDIR(state.st_mode) else None


def boot_clock() -> Callable[[], float]:
    """Seconds that go on while the machine sleeps, where the system has such a clock."""
    number = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic if number is None else lambda: time.clock_gettime(number)
