"""Proof: whether the main file is as it was sealed, found out beside a start instead of before it.

Reading 250 MB takes 50 ms, and a start has other things to do meanwhile: it looks at the world, for which it
needs nothing of the store but what each row's checksum vouches for.

Invariants
    P1  Nothing is written, no log is merged and no row but those of `Store.early` is read before the proof.
    P2  Whoever waits learns what would have been known at the opening: it holds, or the audit decides.
    P3  The descriptor and the locks on it stay while the thread reads, and it ends before they go.
"""

from __future__ import annotations

import threading

from engine.store.ending import Ending
from engine.store.rawfile import RawFile
from engine.store.seal import Seal, stamp_of

WORTH_BYTES = 4 << 20  # smaller files are read in a millisecond: a thread is not worth it


def is_as_left(raw: RawFile, found: Seal) -> bool:
    """Whether nobody can have written to a large file since it was sealed: then it need not be read."""
    return raw.size() > WORTH_BYTES and found.stamp == stamp_of(raw.fd) != b""


class Proof:
    """Compares a file with its seal, in a thread of its own."""

    def __init__(self, raw: RawFile, found: Seal) -> None:
        self._raw = raw
        self._found = found._replace(stamp=stamp_of(raw.fd))  # before it is read (seal Z4)
        self._is_stopped = False
        self._end = Ending()
        self._shared = threading.Lock()  # taken by who gives the descriptor back
        self._holds = False
        self._error: Exception | None = None
        self._read_in_vain = False
        raw.share()  # P3: also where nobody waits for the end, as after an interrupt
        self._thread = threading.Thread(target=self._run, name="engine-proof", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no thread is to be had: then now
            self._run()

    def holds(self) -> bool:
        """Wait for the verdict. Raises what the reading raised; who asks after that reads once more.

        Only while the store is open, whose descriptor it is, and by one thread at a time.
        """
        self._end.wait()
        if self._read_in_vain:
            self._holds = self._raw.digest() == self._found.digest
            self._read_in_vain = False
        if self._error is not None:
            error, self._error, self._read_in_vain = self._error, None, True
            raise error
        return self._holds

    @property
    def sealed(self) -> Seal:
        """The seal of the file, if it holds."""
        return self._found

    def stop(self) -> None:
        """Nobody needs the verdict any more. When this returns, the descriptor is not used."""
        self._is_stopped = True
        # A store that was forgotten is closed by whichever thread finds that out, perhaps this very one.
        if threading.current_thread() is not self._thread:
            self._end.wait()
            self._give_back()

    def _run(self) -> None:
        try:
            digest = self._raw.digest(beside=True, stopped=lambda: self._is_stopped)
            self._holds = digest == self._found.digest
        except Exception as error:  # told to who waits
            self._error = error
        finally:
            self._end.tell()
            self._give_back()

    def _give_back(self) -> None:
        """Once, by whoever comes first: to wait for the other may mean to hold a lock that it needs."""
        if self._shared.acquire(blocking=False):
            self._raw.close()
