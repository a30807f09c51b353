"""Outcome: what a run came to, a value or a failure, and the bytes by which it is told from another one.

Invariants
    U1  A value is what readers will see, also after a restart; its bytes are those of that.
    U2  Who stands on a cycle has the error of the cycle, whatever its function made of it (rings S2).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from engine.core import Core
from engine.errors import READ_ONCE, UnstorableValue
from engine.failure import Failure, is_transient
from engine.frame import CURRENT
from engine.graph import ABSENT
from engine.query import QueryInfo
from engine.store.codec import fingerprint, read_once

if TYPE_CHECKING:
    from engine.running import Running


class Outcome:
    """What a run came to: a value or a failure, and its canonical bytes where it has any."""

    # Defaults in the class: most runs set three of them.
    value: Any = ABSENT
    data: bytes | None = None
    digest = b""
    failure: Failure | None = None
    transient = False
    microseconds = 0
    stamp: bytes | None = None
    restored = False  # an earlier memo: nothing ran
    recorded = False  # and it is still one of those that are kept
    rows: tuple[Any, ...] | None = None  # of a restored member: for its table only, see earlier_rows
    equal = False  # by the user's `eq`, or by `==` where there are no bytes


def conclude(core: Core, frame: Running, info: QueryInfo, value: Any, old: Any, outcome: Outcome) -> None:
    """What a function returned becomes an outcome, unless it stands on a cycle."""
    if frame.cycle is not None:
        raise frame.cycle.raised()  # also when the function caught it: see rings S2
    codec = info._codec or info.codec
    if codec.storable:
        try:
            outcome.data, outcome.value = codec.freeze(value)
            outcome.digest = fingerprint(outcome.data)
        except UnstorableValue as error:
            may_be_without_bytes(info, value, error)
            _without_bytes(core, info, value, str(error), outcome)
    else:
        may_be_without_bytes(info, value, None)
        _without_bytes(core, info, value, codec.why_not, outcome)
    if old is not ABSENT:
        _compare(core, info, old, outcome)


def _without_bytes(core: Core, info: QueryInfo, value: Any, why: str, outcome: Outcome) -> None:
    outcome.value = value
    if info.persist:
        core.telling.note(
            f"values of {info.name} are kept in memory only: {why}", once=f"unstorable {info.name}"
        )


def may_be_without_bytes(info: QueryInfo, value: Any, error: UnstorableValue | None) -> None:
    """Raise what forbids that a value is kept as it is, without bytes.

    A generator, `map(...)`, an open file, also inside: whoever reads it second would find nothing in it.
    """
    if (once := read_once(value)) is not None:
        raise once
    if error is not None and error.fields.get("reason") == READ_ONCE:
        # In what the annotation takes for a list or a dict, such as an OrderedDict.
        error.hint = "Return what is in it: a tuple, say."
        raise error
    if info.needs_bytes:
        raise error or UnstorableValue(query=info.name, cause=info.codec.why_not)


def fail(frame: Running, outcome: Outcome, error: Exception) -> None:
    """A failure becomes an outcome: that of the cycle that the frame stands on, where there is one."""
    ring: Collection[int] = ()
    trace = error.__traceback__
    if frame.cycle is not None:
        error = frame.cycle.error
        ring = frame.core.claims.knots.get(frame.node, frame.cycle.ring)
    passed_on, raised = frame.met or (None, None)
    is_same = raised is error if frame.cycle is None else passed_on is not None and passed_on.error is error
    if passed_on is not None and is_same and (not ring or _is_same(passed_on.ring, ring)):
        # The same failure: one traceback and one fingerprint, however far it goes.
        outcome.failure = passed_on
    else:
        outcome.failure = Failure.of(error, tuple(sorted(ring)), trace)
    outcome.data = outcome.failure.data
    outcome.digest = outcome.failure.digest
    outcome.value = ABSENT
    outcome.transient = is_transient(error)


def _is_same(ring: tuple[int, ...], other: Collection[int]) -> bool:
    """Whether two rings are one: they share all keys or none, and grow."""
    return len(ring) == len(other) and ring[0] in other


def _compare(core: Core, info: QueryInfo, old: Any, outcome: Outcome) -> None:
    """Ask the user's `eq`, or `==` where there are no bytes. Runs without the lock, and may read nothing."""
    if info.eq is None and outcome.digest:
        return
    token = CURRENT.set(core.outside)
    try:
        if info.eq is not None:
            outcome.equal = bool(info.eq(old, outcome.value))
        else:
            outcome.equal = bool(type(old) is type(outcome.value) and old == outcome.value)
    except Exception:
        outcome.equal = False  # values whose comparison fails (arrays, say) count as different
    finally:
        CURRENT.reset(token)
    if outcome.equal:
        outcome.value = old  # readers keep what they saw
        if outcome.data is not None:
            outcome.data = info.codec.encode(old)
            outcome.digest = fingerprint(outcome.data)
