"""Inputs: the thread that turns batches into revisions.

Invariants
    I1  One batch, one look, at most one revision. What is watched is left to the other thread (`keys`).
    I2  A ticket is finished when everything hinted before it is in place, or with the error that prevents it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from attrs import evolve, frozen

from engine.attempt import Gate, insist
from engine.errors import Closed, RootGone
from engine.first_look import load_observed
from engine.graph import Graph
from engine.key import Key
from engine.look import Looked, take
from engine.message import escaped
from engine.persist import load, readers_of
from engine.recover import recover
from engine.watch.delta_processor import Edited
from engine.watch.events import Trouble
from engine.watch.file_watcher import STARTING
from engine.watch.pipeline import STEP_SECONDS, Pipeline
from engine.watch.update_scheduler import AUDIT, Batch

# A file's own time counts as the moment it was saved if it lies this close to its event.
RECENT_SECONDS = 10.0
DIGESTED_AT_ONCE = 1_000  # records of what ran, between two batches: 5 ms
FEW = 100  # files of a batch whose times are looked at, for latency and echoes


@frozen(slots=True)
class Due:
    """What a batch leaves to the keys thread: why, what it cost, what was edited last, most urgent first.

    saved       when its oldest change was saved, seconds since 1970; 0 where nobody knows
    """

    crawl: str
    looked_at: int
    applied: float
    saved: float
    edited: list[Edited]
    nodes: list[int]
    graph: Graph  # the lists that these are numbers of


class Inputs:
    """`run` is the body of the thread. `wake` hands what is due to the keys thread."""

    def __init__(self, pipeline: Pipeline, wake: Callable[[Due | None], None]) -> None:
        self._pipeline = pipeline
        self._wake = wake
        self.steps: list[Callable[[], None]] = []  # called every STEP_SECONDS or so

    def run(self) -> None:
        """Until the watch ends."""
        pipeline = self._pipeline
        try:
            self._first_crawl()
        except BaseException as error:  # a rule may call sys.exit
            if pipeline.is_over(error):
                return
            pipeline.report("the first look", error)
        while not pipeline.ended.is_set():
            try:
                pipeline.files.step()
                pipeline.updater.digest(DIGESTED_AT_ONCE if pipeline.live.is_set() else None)
                for step in self.steps:
                    step()
                batch = self._next_batch()
                if batch is not None:
                    self._work_on(batch)
                    pipeline.worked()
            except BaseException as error:  # a rule may call sys.exit
                if pipeline.is_over(error):
                    return
                pipeline.report("a batch", error)  # everything is looked at, and keys are tried again

    def _first_crawl(self) -> None:
        core = self._pipeline.core
        with core.sync_lock, core.lock:
            if not core.synced:
                load_observed(core)
        self._crawl(Batch((), (), "the watch begins", (), time.monotonic()))

    def _next_batch(self) -> Batch[Any] | None:
        scheduler = self._pipeline.scheduler
        with scheduler.changed:
            wait = scheduler.due()
            if wait is None or wait > 0:
                scheduler.changed.wait(STEP_SECONDS if wait is None else min(wait, STEP_SECONDS))
        return scheduler.take()

    def _work_on(self, batch: Batch[Any]) -> None:
        error: Exception | None = None
        differing = 0
        try:
            if self._pipeline.files.look_at_root():
                batch = evolve(batch, crawl="the root was replaced")  # a cookie says nothing of the root
            if self._pipeline.files.root_is_gone:
                error = RootGone(root=self._pipeline.core.root)
            elif batch.crawl:
                differing = self._crawl(batch)
            else:
                differing = self._look(batch)
        except BaseException as failed:  # any: who waits for the batch is told
            error = failed if isinstance(failed, Exception) else Closed()
            raise
        finally:
            for ticket in batch.tickets:
                ticket.finish(differing, error)

    def _crawl(self, batch: Batch[Any]) -> int:
        files, tracker = self._pipeline.files, self._pipeline.tracker
        if files.state != STARTING:  # else `begin_crawl` lists and covers all places
            files.nodes_of(batch.paths)  # covers directories among them that were replaced: only then look
        files.begin_crawl(batch.crawl)
        started = time.monotonic()
        differing = self._revise(None, batch, self._pipeline.core.graph)
        seconds = time.monotonic() - started
        files.end_crawl(seconds)
        if batch.crawl == AUDIT and not batch.paths:
            files.audited(differing)
        tracker.crawled(time.time(), batch.crawl, seconds, len(files.places))
        # Keys that failed for a reason that may have passed are tried again.
        if self._pipeline.updater.retrying or not self._pipeline.live.is_set():
            self._wake(None)
        return differing

    def _look(self, batch: Batch[Any]) -> int:
        pipeline, files = self._pipeline, self._pipeline.files
        graph = pipeline.core.graph  # what the numbers of nodes belong to
        nodes = dict.fromkeys(files.nodes_of(batch.paths))
        keys = [node for node in batch.nodes if isinstance(node, Key)]
        nodes.update(dict.fromkeys(node for node in batch.nodes if not isinstance(node, Key)))
        if batch.tickets:
            nodes.update(dict.fromkeys(files.uncovered()))
            meanwhile, crawl = pipeline.scheduler.asked_meanwhile()
            nodes.update(dict.fromkeys(meanwhile))
            if crawl:  # who waits must not be let go before what came up just now
                return self._crawl(evolve(batch, crawl=crawl))
        differing = self._revise(list(nodes), batch, graph) if nodes else 0
        if keys or (batch.tickets and pipeline.updater.retrying):
            self._wake(None)
        return differing

    def _revise(self, nodes: list[int] | None, batch: Batch[Any], graph: Graph) -> int:
        """Look, and make one revision of what differs; leave the keys to the other thread."""
        pipeline, core = self._pipeline, self._pipeline.core
        began = time.perf_counter()
        commits = not pipeline.live.is_set()  # later, the keys thread commits: once for each revision

        def hurried() -> bool:
            return bool(batch.tickets) or pipeline.scheduler.is_waited_for()

        def attempt(gate: Gate) -> tuple[Looked, list[int], int]:
            with core.sync_lock, gate:
                with core.lock:
                    if core.torn:
                        recover(core)
                    wanted = nodes if core.graph is graph else None  # numbers of lists that are no more
                looked = pipeline.processor.look(wanted)
                edited = pipeline.processor.edited(looked) if pipeline.deltas and not commits else []
                different = self._different(looked)
                note = batch.crawl or _named(batch.paths, looked)
                saved = self._saved_at(batch, different, looked.graph) if different else 0.0
                differing = take(core, looked, note, commits=commits, hurried=hurried)
                if looked.changes or looked.retry:  # at once: the other thread may tell of it now
                    applied = (time.perf_counter() - began) * 1000
                    crawl, stamped = batch.crawl, looked.stamped
                    self._wake(Due(crawl, stamped, applied, saved, edited, different, looked.graph))
                return looked, different, differing

        looked, different, differing = insist(core, attempt)
        for node in looked.retry:
            with core.lock:
                if core.graph is not looked.graph:  # the other thread may begin anew at any time
                    break
                name = core.name_of(node)
            pipeline.try_again(node, f"input {name} could not be read")
        pipeline.scheduler.healed(change.node for change in looked.changes)
        pipeline.files.differ(different, looked.graph)
        if looked.changes or looked.retry:
            self._stop_echoes(different, looked.graph)
        return differing

    def _different(self, looked: Looked) -> list[int]:
        """The inputs whose content is another one, before that is put in place; most urgent first."""
        core = self._pipeline.core
        with core.lock:
            if core.graph is not looked.graph:
                return []
            load(core, [change.node for change in looked.changes])
            known = core.graph.fingerprint
            return [change.node for change in looked.changes if change.digest != known[change.node]]

    def _stop_echoes(self, different: list[int], graph: Graph) -> None:
        """Find files that queries keep writing, tell of them, and wait with them."""
        pipeline, core = self._pipeline, self._pipeline.core
        with core.lock:
            nodes = different[:FEW] if core.graph is graph else []
            places = {place: node for node in nodes if (place := _place_of(pipeline, node)) is not None}
        for path, seconds in pipeline.echo.of(places).items():
            pipeline.scheduler.postpone(path, seconds)
            if pipeline.echo.is_new(path):
                cause = (
                    f"{self._reader_of(places[path], graph)} changes its own input {path}, or a callback does"
                )
                remedy = "Write it somewhere else, or do not read it. It is looked at less and less often."
                pipeline.publish(Trouble(path, cause, remedy))

    def _reader_of(self, node: int, graph: Graph) -> str:
        core = self._pipeline.core
        with core.lock:
            if core.graph is not graph:
                return "a query"
            readers = readers_of(core, node)
            return core.name_of(readers[0]) if readers else "a query"

    def _saved_at(self, batch: Batch[Any], different: list[int], graph: Graph) -> float:
        """When the oldest change of a batch was saved, by the wall clock; 0 where nobody knows."""
        if not batch.paths:
            return 0.0
        with self._pipeline.core.lock:
            nodes = different[:FEW] if self._pipeline.core.graph is graph else []
            places = {_place_of(self._pipeline, node) for node in nodes}
        hinted = time.time() - (time.monotonic() - batch.first)
        times = [self._pipeline.files.saved_at(path) for path in places.intersection(batch.paths) if path]
        near = [at for at in times if at is not None and hinted - RECENT_SECONDS < at <= hinted]
        return min(near, default=hinted)


def _place_of(pipeline: Pipeline, node: int) -> str | None:
    core = pipeline.core
    info = core.info_of(node)
    return None if info is None else info.place_of(core.args_of(node))


def _named(paths: tuple[str, ...], looked: Looked) -> str:
    """A batch in a few words, for the log of revisions."""
    found = list(paths[:1]) or [str(Key(change.info, change.args)) for change in looked.changes[:1]]
    more = max(len(paths), 1 if paths else len(looked.changes)) - 1
    return f"{escaped(found[0], limit=100)}{f' and {more} more' if more > 0 else ''}" if found else "a retry"
