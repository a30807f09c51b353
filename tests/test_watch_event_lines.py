"""An event is a line of JSON that others can rely on, and comes back from it."""

from __future__ import annotations

import json
import re
import sys

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import BadEvent
from engine.watch.events import Figures, Revised, Trouble, WatchEvent
from engine.watch.events_json import NAMES, from_json, to_json
from tests.telling import CHECKOUT, EXAMPLES, HOSTILE, REVISED, STARTED, with_rounded_times, with_texts


@pytest.mark.parametrize(("event", "line"), EXAMPLES.items(), ids=lambda one: type(one).__name__)
def test_the_json_of_an_event_is_a_promise(event: WatchEvent, line: str) -> None:
    assert to_json(event) == line


def test_every_kind_of_event_has_its_promise_and_is_in_the_documentation() -> None:
    assert {type(event) for event in EXAMPLES} == set(NAMES.values())
    page = (CHECKOUT / "docs" / "events.md").read_text(encoding="utf-8")
    for line in EXAMPLES.values():
        assert f"\n{line}\n" in page


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda one: type(one).__name__)
def test_an_event_comes_back_from_its_line_whatever_its_texts_are(event: WatchEvent) -> None:
    hostile = with_texts(event, HOSTILE)
    line = to_json(hostile)
    assert line.isascii()
    assert line.isprintable()
    assert from_json(line) == with_rounded_times(hostile)
    assert to_json(from_json(line.encode())) == line


@given(
    st.text(st.characters(exclude_categories=())).filter(lambda text: not re.search("[\ud800-\udbff]", text))
)
def test_any_text_comes_back(text: str) -> None:
    event = Trouble(text, text, text)
    line = to_json(event)
    assert line.isascii()
    assert line.isprintable()
    assert from_json(line) == event


def test_a_clock_that_failed_is_written_as_unknown() -> None:
    figures = Figures(latency=float("nan"), applied=float("inf"))
    event = from_json(to_json(attrs.evolve(REVISED, figures=figures)))
    assert isinstance(event, Revised)
    assert (event.figures.latency, event.figures.applied) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("", "Expecting value"),
        ("[1]", "not an object"),
        ("{}", "its schema is None"),
        ('{"event": "stopped", "revision": 1, "reason": "", "schema": 2}', "its schema is 2, and 1 is known"),
        ('{"event": "stopped", "revision": 1, "reason": "", "schema": true}', "its schema is True"),
        ('{"event": "exploded", "schema": 1}', "no event is called 'exploded'"),
        ('{"event": ["stopped"], "schema": 1}', "no event is called"),
        ('{"event": "stopped", "schema": 1, "revision": 1}', "missing required field `reason`"),
        ('{"event": "stopped", "schema": 1, "revision": "1", "reason": ""}', "Expected `int`"),
        ('{"event": "skipped", "schema": 1, "revision": NaN, "events": 1}', "NaN is not JSON"),
        ("[" * 200_000, "recursion" if sys.version_info < (3, 14) else "Stack overflow"),
        (b"\xff\xfe\xfd", "decode"),
    ],
)
def test_what_is_not_an_event_is_refused_with_its_cause(line: str | bytes, cause: str) -> None:
    with pytest.raises(BadEvent, match=re.escape(cause)):
        from_json(line)


def test_fields_that_a_newer_engine_added_are_left_alone() -> None:
    line = json.dumps({**json.loads(EXAMPLES[STARTED]), "colour": {"red": 1}})
    assert from_json(line) == with_rounded_times(STARTED)
