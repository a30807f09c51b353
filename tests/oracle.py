"""Oracle: the naive from-scratch evaluator that defines correct. No store, nothing kept between questions.

A key that is on a ring of reads has the value CycleError, also where its expression rescues: the answer must
not depend on the key a request came in by. It reads nothing more once it is known to be on one, but for the
rest of the group that it asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from graphlib import CycleError

from tests.expressions import Expression, Outcome, outcome_of, value_of
from tests.programs import Node, evaluate


class Oracle:
    """Answers one question: `Oracle(program, inputs).outcome(key)`."""

    def __init__(self, program: Sequence[Expression], inputs: Callable[[Node], int]) -> None:
        self.program, self.inputs = program, inputs
        self.stack: list[Node] = []
        self.ringed: set[Node] = set()
        self.stopped: set[int] = set()  # places on the stack that are on a ring
        self.known: dict[Node, Outcome] = {}
        self.lowest = 0  # the lowest place on the stack that was read again
        self.steps = 0

    def outcome(self, node: Node) -> Outcome:
        return outcome_of(lambda: self.read(node))

    def read(self, node: Node) -> int:
        if len(self.stack) - 1 in self.stopped:
            raise CycleError
        return self._read(node)

    def _read(self, node: Node) -> int:
        if isinstance(node[0], str):
            return self.inputs(node)
        if node in self.stack:
            place = self.stack.index(node)
            self.ringed.update(self.stack[place:])
            self.stopped.update(range(place, len(self.stack)))
            self.lowest = min(self.lowest, place)
            raise CycleError
        return int(value_of(self.known.get(node) or self._compute(node)))

    def _compute(self, node: Node) -> Outcome:
        self.steps += 1
        assert self.steps < 50_000, "too large for the oracle"
        above, self.lowest = self.lowest, len(self.stack)
        self.stack.append(node)
        answer = outcome_of(lambda: evaluate(self.program[node[0]], node[1], self))
        self.stack.pop()
        self.stopped.discard(len(self.stack))
        if node in self.ringed:
            answer = "error", "CycleError", ()
        if self.lowest >= len(self.stack):
            self.known[node] = answer  # read nothing that is still being computed: holds wherever it is read
        self.lowest = min(above, self.lowest)
        return answer

    def group(self, nodes: Sequence[Node]) -> list[int]:
        for node in nodes:  # all are asked for, also behind one that fails
            outcome_of(partial(self._read, node))
        return [self.read(node) for node in nodes]
