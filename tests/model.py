"""Model: a textbook red-green engine, to say exactly which keys must run. No marks, no ids, no store.

Memos are verified on demand, in the order of their dependencies, all members of a group together; a value
that is equal keeps its stamp. Slow, recursive, and short enough to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.expressions import Expression, Outcome, outcome_of, value_of
from tests.programs import Node, evaluate


@dataclass
class Memo:
    outcome: Outcome
    changed_at: int
    verified_at: int
    reads: list[tuple[Node, ...]]  # in order; a group is one entry


@dataclass
class Model:
    program: list[Expression]
    look: Callable[[Node], Outcome]  # an input that nobody has set or looked at yet
    revision: int = 1
    memos: dict[Node, Memo] = field(default_factory=dict)
    forced: set[Node] = field(default_factory=set)
    executed: list[Node] = field(default_factory=list)

    def change(self, inputs: dict[Node, Outcome]) -> None:
        """One batch: a new revision if anything differs."""
        for node in inputs:
            self.fetch(node)
        different = {node for node, outcome in inputs.items() if self.memos[node].outcome != outcome}
        if different:
            self.revision += 1
        for node in different:
            self.memos[node] = Memo(inputs[node], self.revision, self.revision, [])

    def force(self, nodes: Iterable[Node]) -> None:
        """They run at the next demand, whatever their dependencies say."""
        self.revision += 1
        self.forced.update(node for node in nodes if node in self.memos)

    def get(self, node: Node) -> Outcome:
        """Bring a key up to date, noting in `executed` what ran."""
        self.fetch(node)
        return self.memos[node].outcome

    def fetch(self, node: Node) -> Memo:
        memo = self.memos.get(node)
        if isinstance(node[0], str):
            if memo is None:
                memo = self.memos[node] = Memo(self.look(node), self.revision, self.revision, [])
        elif memo is None or node in self.forced or self._may_differ(memo):
            memo = self._execute(node, memo)
        memo.verified_at = self.revision
        return memo

    def _may_differ(self, memo: Memo) -> bool:
        if memo.verified_at == self.revision:
            return False
        for group in memo.reads:
            if any(stamp > memo.verified_at for stamp in [self.fetch(read).changed_at for read in group]):
                return True
        return False

    def _execute(self, node: Node, old: Memo | None) -> Memo:
        self.executed.append(node)
        self.forced.discard(node)
        frame = Frame(self)
        outcome = outcome_of(lambda: evaluate(self.program[node[0]], node[1], frame))
        equal = old is not None and old.outcome == outcome
        stamp = old.changed_at if old is not None and equal else self.revision
        memo = self.memos[node] = Memo(outcome, stamp, self.revision, frame.reads)
        return memo


class Frame:
    """What a running key reads, in order."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.reads: list[tuple[Node, ...]] = []

    def read(self, node: Node) -> int:
        return self.group([node])[0]

    def group(self, nodes: Sequence[Node]) -> list[int]:
        self.reads.append(tuple(nodes))
        return [value_of(outcome) for outcome in [self.model.fetch(node).outcome for node in nodes]]
