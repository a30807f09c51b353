"""Proven: the half of a store that knows whether its file can be trusted, and lets nobody in before that.

Invariants
    Q9  While it is not proven that the main file is as it was left, who reads or writes waits for that; but
        for the thread that is in `early`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar
from weakref import WeakSet

from engine.errors import StoreDamaged
from engine.store.aside import told
from engine.store.asking import Readable
from engine.store.failures import is_doubtful, translated
from engine.store.merging import Opened
from engine.store.opening import audit, reason_of
from engine.store.seal import Seal, write_seal


class Proven(Readable):
    """Part of `Store`."""

    _all: ClassVar[WeakSet[Proven]] = WeakSet()

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._guard = threading.RLock()
        self._all.add(self)
        self._early: int | None = None  # the thread that may read before the proof
        self._condemned: str | None = None  # what the audit found: it need not read all again

    _opened: Opened
    _closed: bool
    _pid: int
    audited: bool

    @property
    @abstractmethod
    def path(self) -> Path:
        """Of the main file."""

    @abstractmethod
    def _usable(self) -> sqlite3.Connection:
        """The connection; raises where the store is closed, or belongs to the parent of this process."""

    @property
    def unproven(self) -> bool:
        """Whether the main file is still being compared with its seal, or was found to differ."""
        return self._opened.proof is not None and not self._closed

    def prove(self) -> bool:
        """Wait until the main file is known to be as it was sealed. False: nothing was left to do.

        Where it is not, all of it is read: True if it is in order, so it is sealed again and a note says so;
        StoreDamaged if not, now and whenever this store is used, until it starts over.
        """
        if os.getpid() != self._pid:  # before the guard: another thread may have held it during fork()
            self._usable()
        with self._guard:
            self._usable()
            proof = self._opened.proof
            if proof is None:
                return False
            if self._condemned is not None:
                raise StoreDamaged(store=self.path, reason=self._condemned)
            try:
                with translated(self.path):
                    holds = proof.holds()
                    if not holds:
                        self._opened.base = b""  # commits rest on no seal until there is a new one
                        try:
                            audit(self._opened)
                        except StoreDamaged as damage:
                            raise StoreDamaged(store=self.path, reason=reason_of(damage)) from damage
            except StoreDamaged as damage:
                if not is_doubtful(damage):
                    self._condemned = damage.fields["reason"]
                raise
            self._opened.proof = None
            if holds:
                self._seal_again(proof.sealed)
            self._learn()
            return not holds

    def _seal_again(self, sealed: Seal) -> None:
        """It was read, so the next opening need not read it (seal Z4)."""
        with suppress(OSError):  # it will, then
            if self._opened.raw.is_at(self.path):
                write_seal(self._opened.files.seal, sealed)

    @contextmanager
    def early(self) -> Iterator[None]:
        """In it, this thread reads rows before the proof: their checksums hold, but some may be missing.

        So nothing that leaves the engine may rest on them before `prove`. What is missing may be the cause of
        an exception: then the proof says first whether the store is damaged.
        """
        before, self._early = self._early, threading.get_ident()
        try:
            yield
        except Exception:  # any: see above
            self._early = before
            self.prove()
            raise
        finally:
            self._early = before

    def _trusted(self) -> sqlite3.Connection:
        """The connection, once the file is proven (Q9)."""
        if self.unproven and self._early != threading.get_ident():
            self.prove()
        return self._usable()

    def hand_over(self) -> list[str]:
        """The notes, to who will tell them: from now on they are his."""
        notes = [self.notes.pop(0) for _ in range(len(self.notes))]  # a thread may add one (ongoing)
        if self._opened.can_write and not self._closed:  # it holds the lock
            told(self._opened.files)
        return notes

    def _learn(self) -> None:
        """What became known of the file by now."""
        self.notes += self._opened.notes
        self._opened.notes.clear()
        self.audited = self._opened.audited

    @classmethod
    def after_fork(cls) -> None:
        """In a child: a thread of the parent, as one that merges, may have had the guard."""
        for store in cls._all:
            store._guard = threading.RLock()


os.register_at_fork(after_in_child=Proven.after_fork)
