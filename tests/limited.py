"""A query that counts how many run at once, and threads that ask together: for tests of limits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.workers import Rules

Make = Callable[[str], Rules]

COUNTED = """
running = most = 0

@query(workers="thread", limit="one")
def counted(n: int) -> int:
    global running, most
    running += 1
    most = max(most, running)
    time.sleep(0.02)
    running -= 1
    return n
"""


def together(*asks: Callable[[], Any]) -> list[Any]:
    """What they return when several threads call them. Raises what one of them raises."""
    found: list[Any] = [None] * len(asks)
    failures: list[BaseException] = []

    def run(at: int) -> None:
        try:
            found[at] = asks[at]()
        except BaseException as error:  # whatever it is: the test raises it
            failures.append(error)

    started = [threading.Thread(target=run, args=(at,), daemon=True) for at in range(len(asks))]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(120)
        assert not thread.is_alive(), "they wait for each other"
    for failure in failures:
        raise failure
    return found
