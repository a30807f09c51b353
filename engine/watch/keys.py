"""Keys: the thread that brings what is watched up to date, and tells what changed.

Invariants
    K1  Nothing runs before everything was looked at once (install, look, run).
    K2  A revision is told after everything watched is right and committed.
    K3  A batch that arrives meanwhile cancels what it makes outdated, and this thread begins again with it.
    K4  A watch is live after what its first pass read before it was watched was looked at once more.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from attrs import evolve

from engine.errors import StoreError
from engine.watch.delta_processor import Edited
from engine.watch.events import Figures, FileDelta, Revised, Started, Trouble
from engine.watch.graph_updater import Pass, text_of
from engine.watch.inputs import Due
from engine.watch.pipeline import STEP_SECONDS, Pipeline

QUIET_SECONDS = 3.0  # without a change, after which the next one is not expected at once
BRIEF_SECONDS = 0.1  # likewise, where a commit would have to do what is put off until then
LEARNED_AT_ONCE = 16  # files: some 50 ms, the longest that learning makes an update wait


class Keys:
    """`run` is the body of the thread, `wake` gives it work."""

    def __init__(self, pipeline: Pipeline, worked: Callable[[], None] = lambda: None) -> None:
        self._pipeline = pipeline
        self._worked = worked  # told after every refresh
        self._news = threading.Condition()
        self._due: list[Due] = []
        self._wanted = True  # the first pass
        self._untold: list[Due] = []  # batches whose deltas were not told yet
        self._working = False  # a refresh is under way
        self._tidy_in: float | None = None  # seconds without a change; None: nothing was committed since
        self._told = 0  # the revision that was told last
        self._looked_again = False  # at what was read before its directory was watched
        self._unlearned: deque[str] = deque()  # files whose version is not known yet, for deltas

    def wake(self, due: Due | None = None) -> None:
        """There is something to bring up to date."""
        with self._news:
            if due is not None:
                self._due.append(due)
            self._wanted = True
            self._news.notify_all()

    def oldest(self) -> float | None:
        """When the oldest change was saved that is in place and not in what was told, seconds since 1970."""
        saved = [one.saved for one in (*self._untold, *self._due) if one.saved]
        return min(saved, default=None) if self._wanted or self._working else None

    def pending(self) -> int:
        """How many keys may be outdated."""
        return len(self._pipeline.updater.watched) if self._wanted else 0

    def run(self) -> None:
        """Until the watch ends."""
        pipeline = self._pipeline
        while True:
            with self._news:
                self._wait()
                if pipeline.ended.is_set():
                    return
                wanted = self._wanted and pipeline.files.looked and not pipeline.files.root_is_gone
                self._wanted = self._wanted and not wanted
                if wanted:
                    self._untold += self._due
                    self._due.clear()
            try:
                self._working = wanted
                if wanted:
                    self._refresh(self._untold)
                    self._tidy_in = self._patience()
                    self._worked()
                    self._working = False
                    if self._tidy_in == 0:
                        self._tidy()  # while edits come without end there is no quiet moment
                elif self._unlearned:
                    count = min(LEARNED_AT_ONCE, len(self._unlearned))
                    pipeline.processor.learn([self._unlearned.popleft() for _ in range(count)])
                    pipeline.updater.discount()
                else:
                    self._tidy()
            except BaseException as error:  # a rule may call sys.exit
                if pipeline.is_over(error):
                    return
                pipeline.report("a refresh", error)
                self.wake()

    def _wait(self) -> None:
        """Until there is something to do. The condition is held."""
        pipeline = self._pipeline
        while not (self._wanted and pipeline.files.looked and not pipeline.files.root_is_gone):  # K1
            if pipeline.ended.is_set() or self._unlearned:
                return
            seconds = STEP_SECONDS if pipeline.files.root_is_gone else self._tidy_in
            if not self._news.wait(seconds) and not pipeline.files.root_is_gone:
                return

    def _tidy(self) -> None:
        """What the store put off, while nobody waits."""
        self._tidy_in = None
        store = self._pipeline.core.store
        if store is not None:
            try:
                store.tidy()
            except StoreError as error:
                self._pipeline.publish(Trouble(str(store.path), text_of(error), error.hint))

    def _patience(self) -> float:
        """How long to wait before `_tidy`; 0: what was just told was all that may come before it."""
        store = self._pipeline.core.store
        try:
            if store is not None and store.is_pressing:
                return 0.0
            return BRIEF_SECONDS if store is not None and store.is_untidy else QUIET_SECONDS
        except StoreError:
            return BRIEF_SECONDS  # `_tidy` meets it too, and tells

    def _refresh(self, due: list[Due]) -> None:
        pipeline, updater = self._pipeline, self._pipeline.updater
        began = time.time()
        graph = pipeline.core.graph
        edited = [node for one in reversed(due) if one.graph is graph for node in one.nodes]
        observed = len(pipeline.core.observed)
        done = updater.refresh(edited, lambda: not pipeline.ended.is_set(), graph)
        if done.counts.executed:
            pipeline.echo.worked(began, time.time())
        trouble: Exception | None = None
        try:
            pipeline.files.cover()
        except Exception as error:  # what was found is told first: it is in no list any more
            trouble = error
        waits = {str(key): pipeline.try_again(key, f"key {key}") for key in done.retry}
        done.failures = [evolve(one, again_in=waits.get(one.key, 0.0)) for one in done.failures]
        pipeline.scheduler.healed([key for key in list(updater.watched) if key not in updater.failing])
        pipeline.tracker.observed(len(pipeline.files.places), pipeline.files.directories())
        fresh = len(pipeline.core.observed) != observed
        if pipeline.live.is_set() and not done.lost:
            trouble = self._tell(due, done) or trouble
        elif pipeline.live.is_set() or trouble or not fresh or not self._differs_by_now():
            self._begin(done, began)  # else in the next pass, for which there is work now
        pipeline.tracker.verified(done.counts.verified)
        self._tell_notes()
        if trouble is not None:
            raise trouble

    def _differs_by_now(self) -> bool:
        """Whether something changed after it was read for the first time and before it was watched.

        Asked once: a start waits for this look, or the first save after it would have to.
        """
        if self._looked_again:
            return False
        self._looked_again = True
        pipeline = self._pipeline
        ticket = pipeline.scheduler.flush()
        while not ticket.wait(STEP_SECONDS):
            if pipeline.ended.is_set() or pipeline.core.closed:
                return False
        return ticket.differing > 0

    def _tell_notes(self) -> None:
        """What the engine notes for people (a full disk, a store set aside) is told now, not at the end."""
        core = self._pipeline.core
        with core.lock:
            notes, core.telling.notes = core.telling.notes, []
        place = str(core.store.path) if core.store is not None else "the engine"
        for note in notes:
            self._pipeline.publish(Trouble(place, " ".join(note.split())))

    def _begin(self, done: Pass, began: float) -> None:
        pipeline = self._pipeline
        pipeline.updater.telling = True
        self._told = done.revision
        started = Started(
            done.revision,
            tuple([str(key) for key in list(pipeline.updater.watched)]),
            pipeline.files.backend.mode,
            len(pipeline.files.places),
            pipeline.files.directories(),
            round(max(0.0, time.time() - began), 3),
            tuple(done.failures),
        )
        self._untold = []
        pipeline.tracker.started(started)
        pipeline.live.set()
        pipeline.publish(started)
        if pipeline.deltas:
            self._unlearned.extend(pipeline.processor.texts())

    def _tell(self, due: list[Due], done: Pass) -> Exception | None:
        """Tell of a pass. Returns what went wrong with the deltas, which are left out then."""
        pipeline = self._pipeline
        if done.revision == self._told:
            watched = {str(key) for key in list(pipeline.updater.watched)}
            if not any(one.key in watched for one in done.changed):
                self._untold = [one for one in due if one.edited]
                return None  # others were asked for the first time: no news of a change
        with self._news:  # what came while the keys were refreshed is in this revision too
            late, self._due = self._due, []
            due += late
        deltas, trouble = self._deltas(due, done)
        event = Revised(
            done.revision,
            self._told,
            tuple(done.inputs),
            tuple(done.changed),
            done.omitted,
            tuple(done.failures),
            tuple(deltas),
            figures_of(due, done),
            next((one.crawl for one in due if one.crawl), ""),
        )
        self._told = done.revision
        self._untold = []
        pipeline.tracker.revised(event)
        pipeline.publish(event)
        return trouble

    def _deltas(self, due: list[Due], done: Pass) -> tuple[list[FileDelta], Exception | None]:
        processor = self._pipeline.processor
        if not self._pipeline.deltas:
            return [], None
        edited: dict[str, Edited] = {}
        for one in (one for some in due for one in some.edited):
            first = edited.get(one.path)
            edited[one.path] = one if first is None else evolve(first, exists=one.exists)
        for path in done.first_read:
            edited.setdefault(path, processor.first_seen(path, done.listed))
        try:
            return processor.compare(list(edited.values())), None
        except Exception as error:  # reported with the keys that failed
            return [], error
        finally:
            self._pipeline.updater.discount()


def figures_of(due: list[Due], done: Pass) -> Figures:
    """What a refresh and the batches before it cost."""
    saved = min((one.saved for one in due if one.saved), default=0.0)
    return Figures(
        looked_at=sum(one.looked_at for one in due),
        inputs=len(done.inputs),
        executed=done.counts.executed,
        cut_off=done.counts.cut_off,
        verified=done.counts.verified,
        failed=done.counts.failed,
        applied=round(sum(one.applied for one in due), 3),
        refreshed=round(done.seconds * 1000, 3),
        latency=round(max(0.0, time.time() - saved) * 1000, 3) if saved else 0.0,
    )
