"""Stack: queries nested deeper than one Python stack allows go on in a fresh thread.

The recursion limit is never raised: with a large limit hostile input overflows the C stack and kills the
process. Instead every 64th level continues in a thread of its own, which has the whole limit again
(rustc does the like with `ensure_sufficient_stack`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from engine.core import Core
from engine.errors import DepthLimit
from engine.roomy import roomy

HOP = 64  # levels per thread: 6 frames of ours and 2 of the user's each, of the 1,000 that Python allows


def run_on_fresh_stack(core: Core, work: Callable[[], Any]) -> Any:
    """Run `work` in a new thread and give back what it returns or raises.

    An interrupt of the waiting thread outdates the work's frames, waits for it to unwind, and goes on.
    """
    outcome: list[Any] = []
    failure: list[BaseException] = []
    context = copy_context()

    @roomy
    def run() -> None:
        try:
            outcome.append(context.run(work))
        except BaseException as error:  # carried over to the waiting thread and raised there
            failure.append(error)

    thread = threading.Thread(target=run, name="engine-stack", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise DepthLimit(cause=f"no further thread can be started: {error}") from error
    try:
        thread.join()
    except BaseException:  # an interrupt of who waits
        core.outdate()  # its frames unwind at their next read
        thread.join(timeout=5.0)  # seconds; a function that reads nothing may go on, its result is dropped
        raise
    if failure:
        raise failure[0]
    return outcome[0]
