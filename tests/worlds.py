"""World: an engine under test (`trial`), its model, and the state of everything outside.

After every `get` three things must hold: the answer is the oracle's, the keys that ran are exactly those of
the model, and the same question again runs and verifies nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from attrs import asdict, frozen

from engine import Durability
from engine.key import Key
from tests.expressions import Expression, value_of
from tests.live import WORLD, Live, Program
from tests.model import Model
from tests.oracle import Oracle
from tests.programs import Node
from tests.trial import Held, Opening, Trial


@frozen
class Settings(Opening):
    """How the engine of a world is opened, and what its programs may hold."""

    cyclic: bool = False  # queries may call any query; then only values are compared
    exotic: bool = False  # lists, values that are not stored, untracked queries


class NotLookedAt(Exception):
    """A snapshot would need an input that nobody looked at while it was current."""


class World(Trial, Live):
    """One engine under test and its model."""

    def __init__(self, settings: Settings, program: Program) -> None:
        Live.__init__(self, program)
        self.settings = settings
        self.pinned: set[Node] = set()
        self.unseen: set[int] = set()  # queries that were defined again, and no request came since
        self.model = Model(list(self.expressions), self.look, history=settings.history)
        Trial.__init__(self, settings, asdict(program), node_of)

    def open(self) -> None:
        super().open()
        self.synced = self.directory is None

    # -- steps ---------------------------------------------------------------------------------

    def take(self, step: list[Any]) -> None:
        WORLD.set(self)
        match step:
            case "get", q, n:
                self._get((q, n))
                return
            case "set", changes:
                self._set([((kind, i), value, durability) for kind, i, value, durability in changes])
            case "reset", kind, i:
                self._settle()
                self.engine.reset(self.key((kind, i)))
                self.pinned.discard((kind, i))
                self.model.change({(kind, i): self.look((kind, i))})
            case "write", i, content:
                self.files[i] = content, self.files[i][1] + 1
            case ("sync",):
                self._settle()
                self.engine.sync()
                self.synced = True
                self._model_sync()
            case "wild", value:
                self.wild = value
                self._set([(("cell", 0), self._known(("cell", 0)) + 1, None)])
                self.model.change({("wild", 0): ("value", value)})
            case "code", q, code:
                self._recode(q, code)
            case "forget", q:
                self.engine.forget(f"world:q{q}(*")
                self.model.forget([node for node in self.model.memos if node[0] == q])
            case "restart", changes:
                self._restart(changes, crash=False)
            case "crash", changes:
                self._restart(changes, crash=True)
            case ("hold",):
                self._hold()
            case "recall", which, q, n:
                if self.held:
                    self._recall(self.held[which % len(self.held)], (q, n))
            case ("release",):
                self.release()
            case _:
                raise AssertionError(f"no such step: {step}")
        assert not self.ran, f"{step[0]} ran {self.ran}"

    def _get(self, node: Node) -> None:
        self.unseen.clear()
        self._settle()
        self.probed.clear()
        found = self.ask(self.engine, node)
        ran = list(self.ran)
        if not self.settings.cyclic:
            self.model.executed.clear()
            for probe in self.probed:
                self.model.get(probe)
            self.model.get(node)
        wanted = Oracle(self.expressions, self._known).outcome(node)
        assert found == wanted, f"{node} is {found}, from scratch it is {wanted}"
        self._check_ran(node, ran)
        if self.kinds[node[0]] == "memory":
            return  # kept only while the work that needs it goes on
        if self.settings.cyclic and self.settings.workers > 1:
            return  # which member of a ring comes first is up to the threads: some may run a second time
        before = self.engine.counts()
        self.ran.clear()
        assert self.ask(self.engine, node) == found, f"{node} asked again"
        more = self.engine.counts() - before
        assert not self.ran, f"{node} asked again ran {self.ran}"
        if not self.settings.cyclic:
            assert (more.executed, more.verified, more.read) == (0, 0, 0), f"{node} asked again: {more}"

    def _check_ran(self, node: Node, ran: list[Node]) -> None:
        if self.settings.cyclic or "untracked" in self.kinds:
            return
        wanted = Counter(self.model.executed)
        assert max(wanted.values(), default=1) == 1, f"the model ran a key twice: {wanted}"
        if "memory" in self.kinds:
            missing = wanted - Counter(ran)
            assert not missing, f"{node} did not run {sorted(missing)}"
        else:
            real = Counter(ran)
            wrong = [one for one in real - wanted if not self._met_failure(one)] + list(wanted - real)
            assert not wrong, f"{node} ran {sorted(ran)} instead of {sorted(wanted)}"

    def _met_failure(self, node: Node) -> bool:
        """Whether a history may have missed a memo: to it a failure raised elsewhere is another one."""
        seen = self.model.memos[node].seen
        return self.settings.history > 0 and any(one[0] == "error" for group in seen for one in group)

    def _set(self, changes: list[tuple[Node, int, int | None]]) -> None:
        self._settle()
        levels = [None if level is None else Durability(level) for _, _, level in changes]
        if len(changes) == 1:
            self.engine.set(self.key(changes[0][0]), changes[0][1], durability=levels[0])
        else:
            with self.engine.batch():
                for (node, value, _), level in zip(changes, levels, strict=True):
                    self.engine.set(self.key(node), value, durability=level)
        self.pinned.update(node for node, _, _ in changes)
        self.model.change({node: ("value", value) for node, value, _ in changes})

    def _recode(self, q: int, code: Expression) -> None:
        if self.expressions[q] == code:
            return
        if q in self.unseen:  # else what was there before might come back, and nobody sees that it was gone
            self._take_over()
        self.unseen.add(q)
        self.release()
        self.expressions[q] = self.model.program[q] = code
        self._define(q)
        self.model.force([node for node in self.model.memos if node[0] == q])

    def _take_over(self) -> None:
        """Let the engine see the definitions of now."""
        with self.engine.snapshot():
            self.unseen.clear()

    def _restart(self, changes: Sequence[tuple[int, Expression]], *, crash: bool) -> None:
        self._take_over()

        def meanwhile() -> None:
            for q, code in changes:
                self._recode(q, code)

        self.restart(meanwhile, crash=crash)

    # -- what is known outside -----------------------------------------------------------------

    def _known(self, node: Node) -> int:
        memo = self.model.memos.get(node)
        return int(value_of(memo.outcome if memo is not None else self.look(node)))

    def _settle(self) -> None:
        """The first request after opening looks at the world."""
        if not self.synced:
            self.synced = True
            self.pinned = {node for node in self.pinned if node[0] != "file"}
            self._model_sync()

    def _model_sync(self) -> None:
        known = [node for node in self.model.memos if node[0] == "file" and node not in self.pinned]
        self.model.change({node: self.look(node) for node in known})

    # -- snapshots -----------------------------------------------------------------------------

    def _hold(self) -> None:
        self._settle()
        inputs = {node: memo.outcome for node, memo in self.model.memos.items() if isinstance(node[0], str)}
        self.hold(inputs)

    def _recall(self, held: Held, node: Node) -> None:
        def inputs(node: Node) -> int:
            if node not in held.inputs and node[0] == "file":
                raise NotLookedAt
            return int(value_of(held.inputs.get(node) or self.look(node)))

        try:
            wanted = Oracle(self.expressions, inputs).outcome(node)
        except NotLookedAt:
            return
        if "untracked" in self.kinds:
            return  # a snapshot cannot know what an untracked query would have seen
        found = self.ask(held.view, node)
        assert found == wanted, f"{node} in R{held.view.revision} is {found}, from scratch it is {wanted}"


def node_of(key: Key[Any]) -> Node:
    """The node of an engine's key: its query's number, or the kind of input."""
    name = key.query.name.partition(":")[2]
    return (int(name[1:]) if name[0] == "q" else name), key.args[0]
