"""DeltaProcessor: new content against the version that the store holds.

First it looks: stamps decide whether a hinted input has to be read, digests whether it differs. Afterwards,
for consumers that asked, it says which lines and definitions of a changed file are others. Both on as many
threads as asked for: one is best where files are in memory (two were measured to take twice as long, for
Python's lock).

Invariants
    P1  Looking changes nothing; what was found becomes a revision in the GraphUpdater's hands (`look.take`).
    P2  The version before is the one of memos that were right before the batch: it is taken before the
        inputs change.
    P3  What cannot be compared is told as "new to us" or left out; a file in any broken state stops nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from attrs import frozen

from engine.core import Core
from engine.errors import Transient
from engine.failure import Failure
from engine.graph import ABSENT, ERROR, TRANSIENT
from engine.locate import find
from engine.look import Looked, look_at
from engine.persist import load
from engine.query import Query, info_of
from engine.recall import recall
from engine.request import demand
from engine.rules.directories import listing
from engine.rules.files import FileError, FileMissing, read_bytes, read_text
from engine.rules.lines import line_digests
from engine.rules.python.chunks import chunks
from engine.watch.differences import Version, file_delta
from engine.watch.events import FileDelta

TEXTS = (read_text, read_bytes)  # the inputs whose files are compared
PYTHON = (".py", ".pyi")
LISTING_NAME = info_of(listing).name
TEXT_NAMES = frozenset(info_of(query).name for query in TEXTS)
OWN = frozenset((info_of(line_digests).name, info_of(chunks).name))  # asked for by nobody else, as a rule


@frozen(slots=True)
class Edited:
    """A file whose content differs, its version before the batch, and whether it is there now."""

    path: str
    before: Version | None
    existed: bool
    exists: bool


class DeltaProcessor:
    """Looks and compares. `close` ends its threads."""

    def __init__(self, core: Core, *, threads: int = 1) -> None:
        self._core = core
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._gone: set[str] = set()  # files that were told as removed

    def look(self, nodes: Iterable[int] | None) -> Looked:
        """Which of these inputs differ from what is known; None: of all.

        The core's `sync_lock` is held, not its lock.
        """
        return look_at(self._core, nodes, threads=self._threads)

    def edited(self, looked: Looked) -> list[Edited]:
        """The files among what differs, with their versions of before (P2)."""
        core = self._core
        found: dict[str, Edited] = {}
        with core.lock:
            graph = core.graph
            for change in looked.changes if graph is looked.graph else ():
                node = change.node
                load(core, (node,))
                if change.info.name not in TEXT_NAMES or change.digest == graph.fingerprint[node]:
                    continue
                path: str = change.args[0]
                failure = graph.values[node] if graph.flags[node] & ERROR else None
                existed = bool(graph.verified_at[node]) and not _is_missing(failure)
                if failure is ABSENT:  # not kept in memory: most files that cannot be read are not there
                    existed = self._known(line_digests, path) is not None
                existed = existed and path not in self._gone
                known = found.get(path)
                exists = not _is_missing(change.failure) or (known is not None and known.exists)
                found[path] = Edited(path, self._version(path), existed, exists)
        return list(found.values())

    def first_seen(self, path: str, listed: Collection[str]) -> Edited:
        """A file that queries read for the first time: a new one, if its directory was `listed` anew."""
        existed = path.rpartition("/")[0] not in listed and path not in self._gone
        with self._core.lock:
            return Edited(path, self._version(path) if existed else None, existed, exists=True)

    def texts(self) -> list[str]:
        """The files whose content is known."""
        core = self._core
        with core.lock:
            rows = core.queries.rows(TEXT_NAMES)
            known = (node for node in core.observed if core.graph.query[node] in rows)
            return list(dict.fromkeys(core.args_of(node)[0] for node in known))

    def compare(self, edited: Sequence[Edited]) -> list[FileDelta]:
        """What is different in each file, in their order."""
        found: list[FileDelta] = self._map(self._delta, edited)
        for delta in found:
            if delta.what == "removed":
                self._gone.add(delta.path)
            else:
                self._gone.discard(delta.path)
        return found

    def learn(self, paths: Sequence[str]) -> None:
        """Make the versions of files known, so that their next change can be told."""
        self._map(self._version_now, paths)

    def _map(self, function: Callable[[Any], Any], asked: Sequence[Any]) -> list[Any]:
        if len(asked) < 2 or self._threads < 2:
            return [function(one) for one in asked]
        self._pool = self._pool or ThreadPoolExecutor(self._threads, thread_name_prefix="engine-delta")
        return list(self._pool.map(function, asked))

    def _delta(self, edited: Edited) -> FileDelta:
        after = self._version_now(edited.path) if edited.exists else None
        return file_delta(edited.path, edited.before, after, existed=edited.existed)

    def _version_now(self, path: str) -> Version | None:
        lines = self._value(line_digests, path)
        if lines is None:
            return None
        return Version(lines, self._value(chunks, path) if path.endswith(PYTHON) else None)

    def _value(self, query: Query[[str], Any], path: str) -> Any:
        try:
            return demand(self._core, info_of(query), (path,))
        except (FileError, Transient, OSError):  # gone, or changing, right now: the next batch has it
            return None

    def _version(self, path: str) -> Version | None:
        lines = self._known(line_digests, path)
        if lines is None:
            return None
        return Version(lines, self._known(chunks, path) if path.endswith(PYTHON) else None)

    def _known(self, query: Query[[str], Any], path: str) -> Any:
        """The value of a memo as it is, right or not. The lock is held."""
        core = self._core
        node = find(core, info_of(query), (path,))
        if not node:
            return None
        load(core, (node,))
        if not core.graph.verified_at[node] or core.graph.flags[node] & (ERROR | TRANSIENT):
            return None
        value = recall(core, node)
        return None if value is ABSENT else value

    def close(self) -> None:
        """End its threads; what they do at the moment they finish."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


def _is_missing(failure: object) -> bool:
    """Whether a failure says that there is no file. A file that is no text, say, is there."""
    return isinstance(failure, Failure) and isinstance(failure.error, FileMissing)
