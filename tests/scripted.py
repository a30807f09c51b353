"""Scripted: backends that tell what a test wants, and a backend that spoils what a real one tells."""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Iterable
from typing import Any

from attrs import frozen

from engine.errors import CannotWatch
from engine.watch.backend import Fail, Suggest
from engine.watch.kernel import KernelBackend


class ByHand:
    """Tells what a test tells it to. Make it with `ByHand()`, and give the instance as the factory."""

    mode = "events"

    def __init__(self) -> None:
        self.covered: dict[str, None] = {}
        self.calls: list[tuple[str, ...]] = []  # what `cover` was asked, each time
        self.made = self.closed = 0
        self.lacking: int | None = 0  # watches that the kernel lost; None: it does not tell
        self.most: int | None = None  # watches that the system allows
        self.failure: Exception | None = None  # what the next `cover` raises
        self.full = False  # the kernel's queue
        self.voice = 1
        self.cookies = ""
        self._suggest: Suggest = lambda voice, paths: None
        self._fail: Fail = lambda cause: None

    def __call__(self, cookies: str, suggest: Suggest, fail: Fail) -> ByHand:
        self.made += 1
        self.cookies, self._suggest, self._fail = cookies, suggest, fail
        self.covered.clear()
        return self

    def say(self, *paths: str) -> None:
        self._suggest(self.voice, paths)

    def die(self, cause: str) -> None:
        self._fail(cause)

    def cover(self, directories: Iterable[str]) -> frozenset[str]:
        asked = tuple(directories)
        self.calls.append(asked)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        fresh = [path for path in asked if path not in self.covered and os.path.isdir(path)]
        if self.most is not None and len(self.covered) + len(fresh) > self.most:
            raise CannotWatch(directories=len(fresh), cause="no room", hint="Raise the limit.")
        self.covered.update(dict.fromkeys(fresh))
        return frozenset(fresh)

    def uncover(self, directories: Iterable[str]) -> None:
        for path in directories:
            self.covered.pop(path, None)

    def covers(self, directory: str) -> bool:
        return directory in self.covered

    def missing(self) -> int | None:
        return self.lacking

    def crowded(self) -> bool:
        return self.full

    def voices(self) -> frozenset[int]:
        return frozenset([self.voice])

    def close(self) -> None:
        self.closed += 1


@frozen
class Script:
    """How often each thing happens to a suggestion. Cookies pass, unless everything is dropped."""

    seed: int
    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0  # told with a later one, or after a moment
    shuffle: bool = False
    invent: float = 0.0  # of paths that do not exist
    error: float = 0.0  # that the backend dies


class Spoiled(KernelBackend):
    """The kernel's suggestions, as a script spoils them. Its count of watches is not to be trusted either."""

    LATER = 0.02  # seconds until what was delayed is told at the latest

    def __init__(self, script: Script, cookies: str, suggest: Suggest, fail: Fail) -> None:
        self._script = script
        self._random = random.Random(script.seed)
        self._kept: list[str] = []
        self._guard = threading.Lock()
        self._timers: list[threading.Timer] = []
        self._told, self._told_failure = suggest, fail
        self._here = cookies
        self.dropped = 0
        super().__init__(cookies, self._spoil, fail)

    def _spoil(self, voice: int, paths: Iterable[str]) -> None:
        script, chance = self._script, self._random.random
        with self._guard:
            told, self._kept = self._kept, []
            for path in paths:
                if path.startswith(self._here) and script.drop < 1.0:
                    told.append(path)
                elif chance() < script.drop:
                    self.dropped += 1
                elif chance() < script.delay:
                    self._kept.append(path)
                else:
                    told += [path] * (2 if chance() < script.duplicate else 1)
            if chance() < script.invent:
                told.append(f"{self._here}/../invented/{next(_NUMBERS)}")
            if script.shuffle:
                self._random.shuffle(told)
            if self._kept:
                timer = threading.Timer(self.LATER, self._spoil_later, (voice,))
                timer.daemon = True
                self._timers = [one for one in self._timers if one.is_alive()] + [timer]
                timer.start()
            died = bool(told) and chance() < script.error
        if died:
            self._told_failure("scripted")
        else:
            self._told(voice, told)

    def _spoil_later(self, voice: int) -> None:
        with self._guard:
            told, self._kept = self._kept, []
        self._told(voice, told)

    def close(self) -> None:
        super().close()
        for timer in self._timers:
            timer.cancel()
            timer.join()


_NUMBERS = itertools.count()


def spoiled(script: Script) -> Any:
    """A factory of such backends."""
    return lambda cookies, suggest, fail: Spoiled(script, cookies, suggest, fail)
