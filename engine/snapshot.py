"""Snapshot: consistent reads of one revision while the engine goes on to the next ones.

The engine saves the old memo of a node before it replaces it, for every snapshot that is open. What was
not computed at that revision is computed here, from the inputs as they were, and kept by the snapshot.

Invariants
    H1  Every answer is the from-scratch answer for the inputs of `revision`.
    H2  Nothing that a snapshot computes enters the engine.
    H3  What needed an input that is lost is lost as well, also where a query or a table caught the error.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from engine.care import PASSING
from engine.core import Core
from engine.earlier_rows import gives_rows, pack_rows, unpack_rows
from engine.errors import Closed, CycleError, SnapshotLost, WrongValue
from engine.failure import Failure, is_transient
from engine.frame import CURRENT
from engine.graph import ABSENT, ERROR, INPUT, MARKED, MUTABLE, TRANSIENT
from engine.key import display
from engine.locate import find
from engine.mark import spread
from engine.observe import look
from engine.query import QueryInfo
from engine.raising import own
from engine.reach import closure
from engine.recall import recall
from engine.request import rebind
from engine.snapshot_frame import Rows, SnapshotFrame, hand_out, hold
from engine.stack import HOP, run_on_fresh_stack
from engine.store.canonical import Unpackable, known, pack, unpack
from engine.store.codec import DamagedValue, fingerprint
from engine.tables.kept import KeptRows


class Snapshot:
    """The engine as it was at `revision`. Use as a context manager, or `close()` it."""

    def __init__(self, core: Core, *, takes_rows: bool = True) -> None:
        """`takes_rows=False`, for an audit: members of tables are computed, whatever rows are kept."""
        self._core = core
        self._takes_rows = takes_rows
        self._lock = threading.RLock()
        self._saved: dict[int, tuple[Any, int]] = {}  # node -> value as held, flags
        self._memo: dict[tuple[str, object], Any] = {}  # computed here: value or Failure
        self._seen: dict[tuple[str, object], Any] = {}  # of the world, by us: it is looked at once
        self._rings: dict[tuple[str, object], Exception] = {}  # keys that stand on a cycle
        self._knots: dict[tuple[str, object], set[tuple[str, object]]] = {}  # all that are tied to such a key
        self._loss: SnapshotLost | None = None  # what the request of now needed is nowhere any more
        self.passed = 0  # failures that are not kept
        self.lost = False  # the lists were built anew: what it held is gone
        self.code_changed = False  # a query was bound since, with other code: memos are not of our code
        self._running: dict[tuple[str, object], str] = {}
        self._rows: dict[str, KeptRows] = {}  # by name of the table
        self._lent: KeptRows | None = None  # those of them that are the engine's
        with self._locked(holds=False):
            spread(core)
            self.revision = core.revision
            self._comparisons = core.queries.comparisons
            self._status = bytes(core.graph.status)
            self._doubtful = core.reach.doubtful  # not settled: what rests on these is not known
            core.snapshots.append(self)

    def get(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """The value of a key at this revision; raises the error that was its value."""
        if self._core.closed:
            raise Closed()
        if self not in self._core.snapshots:
            raise Closed(hint="Take another snapshot.")
        with self._lock:
            return self._whole(lambda: hand_out(self._value(info, args)))

    def fresh(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """What the function gives for what it reads at this revision, whatever the engine has kept of it."""
        with self._lock:
            return self._whole(lambda: hand_out(self._value(info, args, anew=True)))

    def take_rows(self, table: str, rows: KeptRows) -> None:
        """Let lookups look into these rows of a table, the engine's, which are not computed for that."""
        self._rows[table] = self._lent = rows

    def save(self, node: int) -> None:
        """Keep the memo of `node` before the engine replaces it. The engine's lock is held."""
        if node not in self._saved and self._knew(node):
            self._saved[node] = self._as_held(node), self._core.graph.flags[node]

    def _knew(self, node: int) -> bool:
        """Whether a node had a memo at our revision; of an input, also one that was made since we opened."""
        if node in self._saved or (node < len(self._status) and not self._status[node] & MARKED):
            return True
        graph = self._core.graph
        is_input = graph.flags[node] & INPUT
        return bool(is_input) and 0 < graph.changed_at[node] <= self.revision <= graph.verified_at[node]

    def close(self) -> None:
        """Let go of what was kept for it."""
        if self in self._core.snapshots:
            self._core.snapshots.remove(self)

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _whole(self, compute: Callable[[], Any], *, again: bool = True) -> Any:
        """What a request comes to. Raises `SnapshotLost` where anything below it did (H3)."""
        frame = CURRENT.get()
        if isinstance(frame, SnapshotFrame) and frame.snapshot is self:
            again = False
        else:
            self._loss = None
            self._running.clear()  # what an interrupt left: it would be on a cycle for ever
            self._follow_code()
        try:
            value = compute()
        except Exception:  # of a query: what it came to without the lost input is no answer (H3)
            self.check_loss()
            if not again or not self._core.queries.can_compare():
                raise
        else:
            self.check_loss()
            if not again or not self._core.queries.can_compare():
                return value
        finally:
            if CURRENT.get() is not frame:
                CURRENT.set(frame)  # see `attempt`
        return self._whole(compute, again=False)  # as in `answer_once`

    def _follow_code(self) -> None:
        """Once a module was loaded anew, what is kept is of older code, or of the classes of then."""
        queries = self._core.queries
        if queries.are_newest and self._comparisons == queries.comparisons:
            return
        with self._locked(holds=False):
            if not queries.are_newest and not self._core.torn:
                rebind(self._core)
            if self._comparisons != queries.comparisons:
                self._comparisons = queries.comparisons
                for node, (held, flags) in self._saved.items():
                    self._saved[node] = self._renewed(held, flags), flags
                for kept in (self._memo, self._rings, self._knots, self._rows):
                    kept.clear()
                self._memo.update({name: self._renewed(held, INPUT) for name, held in self._seen.items()})

    def _renewed(self, held: Any, flags: int) -> Any:
        """A value of the classes of now; ABSENT: it is computed again. Inputs stay where that cannot be."""
        if held is ABSENT or flags & MUTABLE:  # its bytes are kept
            return held
        if not isinstance(held, Failure | Rows):
            try:
                return unpack(pack(held), known)
            except (Unpackable, ValueError):  # of a class that has no bytes, or other fields now
                pass
        return held if flags & INPUT else ABSENT

    def check_loss(self) -> None:
        """Raise what the request of now has met already, if that is lost."""
        if self._loss is not None:
            raise self._loss from None

    def _value(
        self, info: QueryInfo, args: tuple[Any, ...], *, in_any_order: bool = False, anew: bool = False
    ) -> Any:
        name = info.name, info.memo_key(args)
        if name in self._memo:
            if name in self._rings:
                self._join_ring(name)
            return self._memo[name]
        if name in self._running:
            return Failure.of(self._close_ring(name))
        held = ABSENT if anew else self._held(info, args)
        if isinstance(held, Rows):
            held = held.rows if in_any_order else ABSENT
        elif isinstance(held, Failure) and isinstance(held.error, CycleError):
            held = ABSENT  # found anew: a key on its ring that catches the error would give a value
        if held is ABSENT:
            before = self.passed
            held = self._compute(info, args, name)
            if before == self.passed:  # else it may rest on a failure that is not kept
                self._memo[name] = held
                if info.observed:
                    self._seen[name] = held
        return held

    @contextmanager
    def _locked(self, *, holds: bool = True) -> Iterator[None]:
        """With the engine's lists, which an interrupt may leave half changed. `holds`: we rest on them."""
        try:
            with self._core.lock:
                # Other threads go on while we compute. And lists that an interrupt left are no answer.
                if holds and (self.lost or self._core.torn):
                    cause = "the store was collected or rebuilt"
                    self._loss = SnapshotLost(cause=cause, hint="Take another snapshot.")
                    raise self._loss
                yield
        except KeyboardInterrupt as error:
            self._core.interrupted(error)
            raise

    def _held(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """What the engine had at our revision, in the form readers get it; ABSENT where it had nothing."""
        core = self._core
        with self._locked():
            if core.closed:
                raise Closed()  # its lists are gone: what the host set would be taken for its default
            node = find(core, info, args)
            if not node or not self._knew(node):
                return ABSENT
            if self.code_changed and not core.graph.flags[node] & INPUT:
                return ABSENT
            if node in self._saved:
                held, flags = self._saved[node]
                if closure(core, flags) & self._doubtful:
                    return ABSENT
                if held is ABSENT and flags & INPUT:
                    self._loss = SnapshotLost(key=display(info.name, args), revision=self.revision)
                    raise self._loss
            else:
                if closure(core, core.graph.flags[node]) & self._doubtful:
                    return ABSENT
                held, flags = self._as_held(node), core.graph.flags[node]
        if flags & TRANSIENT:
            return ABSENT  # a failure that is not kept: it is tried again, here as well
        if isinstance(held, bytes) and flags & MUTABLE:
            return info.codec.decode(held)
        return held

    def _as_held(self, node: int) -> Any:
        """The value of a node as the engine holds it now; of a member of a table, its rows."""
        core = self._core
        if core.graph.values[node] is ABSENT:
            with suppress(DamagedValue):  # a class of it has other fields by now: it is computed again
                recall(core, node)
        held = core.graph.values[node]
        if (
            held is ABSENT
            and self._takes_rows
            and gives_rows(core, node)
            and not core.graph.flags[node] & ERROR
        ):
            rows = unpack_rows(core, node, pack_rows(core, node))
            return ABSENT if rows is None else Rows(rows)
        return held

    def _compute(self, info: QueryInfo, args: tuple[Any, ...], name: tuple[str, object]) -> Any:
        try:
            value = self._run(info, args, name)
            self.check_loss()
            return hold(info, value)
        except Exception as error:  # of the query: its value
            self.check_loss()
            kept = self._rings.get(name, error)
            if isinstance(kept, WrongValue):
                kept.fields.setdefault("key", info.display(args))  # as the engine says it: see execute
            if is_transient(kept):
                self.passed += 1
                raise
            return Failure.of(kept, (), error.__traceback__)

    def _run(self, info: QueryInfo, args: tuple[Any, ...], name: tuple[str, object]) -> Any:
        """What a query or an input gives. One on a ring fails, also if its function catches that."""
        try:
            self._running[name] = display(info.name, args)
            if info.is_input:
                value = self._look(info, args)
            elif len(self._running) % HOP:
                value = self._call(info, args, name)
            else:
                value = run_on_fresh_stack(self._core, lambda: self._call(info, args, name))
            self.stopped(name)
            return value
        finally:
            self._running.pop(name, None)

    def _look(self, info: QueryInfo, args: tuple[Any, ...]) -> Any:
        """What an input gives now. It is lost where it gave something else at our revision."""
        try:
            value, error, _ = look(self._core.outside, info, args)
        except Exception as passing:  # of the world for now: that is no value of then, unless it was so then
            value, error = ABSENT, passing
        if self._is_another(info, args, value, error):
            self._loss = SnapshotLost(key=display(info.name, args), revision=self.revision)
            raise self._loss
        if error is not None:
            raise error
        return value

    def _is_another(
        self, info: QueryInfo, args: tuple[Any, ...], value: Any, error: Exception | None
    ) -> bool:
        core = self._core
        digest = fingerprint(info.codec.freeze(value)[0]) if error is None and info.codec.storable else b""
        with self._locked():
            node = find(core, info, args)
            if not node or not self._knew(node):
                return False  # nobody had read it
            if node in self._saved:
                return True  # the engine has read something else since we asked
            failed = bool(core.graph.flags[node] & ERROR)
            is_same = failed if error is not None else not failed and digest == core.graph.fingerprint[node]
            if error is not None and is_transient(error):
                is_same = core.care.transients.get(node, PASSING) != PASSING  # it was so then as well
            if not is_same:
                core.care.moved[node] = None  # the next request reads it: an audit would begin anew for ever
            return not is_same

    def _close_ring(self, name: tuple[str, object]) -> CycleError:
        """A running key is asked for: every key from it down to here is on the ring, and gets its error."""
        running = list(self._running)
        ring = running[running.index(name) :]
        names = [self._running[member] for member in ring]
        start = names.index(min(names))
        error = CycleError((*names[start:], *names[:start], names[start]))
        self._tie(ring, error)
        return error

    def _join_ring(self, name: tuple[str, object]) -> None:
        """The error of a ring is read, of which a key may still run above that asked for a group (see rings).

        Then the way from that key down to here is on a ring as well.
        """
        running, knot = list(self._running), self._knots[name]
        first = next((at for at, member in enumerate(running) if member in knot), len(running))
        self._tie([name, *running[first:]], self._rings[name])

    def _tie(self, ring: list[tuple[str, object]], error: Exception) -> None:
        knot = set(ring).union(*(self._knots.get(member, ()) for member in ring))
        self._knots.update(dict.fromkeys(knot, knot))
        for member in ring:
            self._rings.setdefault(member, error)

    def stopped(self, name: tuple[str, object]) -> None:
        """Raise the error of a running key that is known to stand on a ring: it reads nothing more."""
        if name in self._rings:
            raise own(self._rings[name])

    def _call(self, info: QueryInfo, args: tuple[Any, ...], name: tuple[str, object]) -> Any:
        token = CURRENT.set(SnapshotFrame(self, name))
        try:
            return info.call(args)
        finally:
            CURRENT.reset(token)
