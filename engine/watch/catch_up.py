"""Catching up: wait until everything saved before now is in place. What `sync` does while a watch runs.

Invariants
    C1  It returns after everything saved before the call is in place; it waits for no watched key.
    C2  A cookie proves that everything was told only where events can be relied on. Where they cannot, or the
        cookie is late, every observed input is looked at instead.
"""

from __future__ import annotations

import time

from engine.errors import Closed
from engine.watch.cookies import Cookies
from engine.watch.pipeline import STEP_SECONDS, Pipeline

# A cookie later than this is lost: everything is looked at instead (watchman waits 60 s).
COOKIE_SECONDS = 1.0


def catch_up(pipeline: Pipeline, cookies: Cookies, *, crawl: bool) -> int:
    """How many inputs differed in the batch that was waited for. Raises what the batch failed by, `Closed`.

    crawl   look at every observed input, whatever is known of events
    """
    why = "asked for" if crawl else _wait_for_cookie(pipeline, cookies)
    ticket = pipeline.scheduler.flush(why)
    while not ticket.wait(STEP_SECONDS):
        if pipeline.ended.is_set() or pipeline.core.closed:
            raise Closed(hint=None if pipeline.core.closed else "Begin another watch.")
    if ticket.error is not None:
        raise ticket.error
    return ticket.differing


def _wait_for_cookie(pipeline: Pipeline, cookies: Cookies) -> str:
    """Wait until everything told up to now has been hinted.

    Returns why that cannot be relied on, or "".
    """
    doubt = pipeline.files.why_not_to_rely_on_events()
    if doubt:
        return doubt
    voices = pipeline.files.backend.voices()
    try:
        cookie = cookies.drop(voices)
    except OSError as error:
        pipeline.files.doubt(f"no cookie could be made: {error}", reinstall=True)
        return "no cookie could be made"
    try:
        deadline = time.monotonic() + COOKIE_SECONDS
        while not cookie.complete.wait(0.05):
            cookie.keep(pipeline.files.backend.voices())  # a voice that was replaced says nothing any more
            doubt = pipeline.files.why_not_to_rely_on_events()
            if doubt or pipeline.ended.is_set():
                return doubt
            if time.monotonic() >= deadline:
                pipeline.files.doubt("a cookie was late")
                return "a cookie was late"
    finally:
        cookies.forget(cookie)
    return ""
