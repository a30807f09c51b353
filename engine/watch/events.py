"""Events of a watch: what consumers are told, in order. Plain values that go over a pipe as JSON.

Invariants
    E1  A consumer sees revisions in ascending order. `Revised.since` is the revision of the event before it,
        so that a gap shows; a `Skipped` says which events a slow consumer lost.
    E2  Whatever an event says is committed: a process that opens the store after reading it sees it.
"""

from __future__ import annotations

from attrs import frozen


@frozen(slots=True)
class Changed:
    """A key whose value became another one.

    before, after   fingerprints in hex; "" where there was no value, or it has no bytes
    cause           why it ran or was looked at, in words
    """

    key: str
    query: str
    before: str
    after: str
    cause: str


@frozen(slots=True)
class Failed:
    """A key whose value is an error now, or an input that cannot be read.

    watched     whether somebody watches this very key
    again_in    seconds until it is tried again; 0 where the next change does that
    """

    key: str
    error: str
    watched: bool = False
    again_in: float = 0.0


@frozen(slots=True)
class FileDelta:
    """What changed in one file against the version that the store knew.

    what        "added", "removed", "changed", or "new to us" where no earlier version was known
    lines       first and last line of each changed range in the new text, counted from 1; a range that only
                lost lines is (n, n - 1): lines went away before line n
    added, removed, changed     definitions as "kind qualified" ("method Shape.area"), sorted. One that only
                moved, or was indented differently, is in none of them.
    """

    path: str
    what: str
    lines: tuple[tuple[int, int], ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


@frozen(slots=True)
class Figures:
    """The work of one revision. Times in milliseconds.

    applied     from the batch to the inputs being in place
    refreshed   from there to all watched keys being right and committed
    latency     from the moment the oldest change of the batch was saved to the commit; 0 where that is
                unknown
    """

    looked_at: int = 0
    inputs: int = 0
    executed: int = 0
    cut_off: int = 0
    verified: int = 0
    failed: int = 0
    applied: float = 0.0
    refreshed: float = 0.0
    latency: float = 0.0


@frozen(slots=True)
class Started:
    """The watch runs: everything watched is right as of `revision`.

    mode        "events", "polling" or "scanning"
    files, directories      observed inputs that have a place, and directories with a watch on them
    """

    revision: int
    watched: tuple[str, ...]
    mode: str
    files: int
    directories: int
    seconds: float
    failures: tuple[Failed, ...] = ()


@frozen(slots=True)
class Revised:
    """Everything watched is right again, and committed.

    since       the revision of the last `Started` or `Revised`
    inputs      observed inputs that differ; `changed` other keys that do; `omitted` how many more there are
    crawl       "" for a batch of events; else why everything was looked at
    """

    revision: int
    since: int
    inputs: tuple[Changed, ...]
    changed: tuple[Changed, ...]
    omitted: int
    failures: tuple[Failed, ...]
    deltas: tuple[FileDelta, ...]
    figures: Figures
    crawl: str = ""


@frozen(slots=True)
class Watching:
    """The file watcher went from one state to another: "starting", "crawling", "live", "doubtful"."""

    state: str
    before: str
    reason: str


@frozen(slots=True)
class Trouble:
    """Something that people should know: `place`, `cause` and `remedy`; it heals itself where it can.

    gave_up     whether the watch stopped trying until the next change
    """

    place: str
    cause: str
    remedy: str = ""
    gave_up: bool = False


@frozen(slots=True)
class RulesChanged:
    """Files that define the running queries changed. Their new code runs in a fresh interpreter only."""

    paths: tuple[str, ...]


@frozen(slots=True)
class Skipped:
    """This consumer was too slow: `events` of them, up to `revision`, were dropped. Read the values again."""

    events: int
    revision: int


@frozen(slots=True)
class Stopped:
    """The last event."""

    revision: int
    reason: str


WatchEvent = Started | Revised | Watching | Trouble | RulesChanged | Skipped | Stopped
