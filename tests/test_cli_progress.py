"""What a log is told while queries run: what is done, once, and now and then how far it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.watch_process import SCRIPT, Asked, Watching

SOON = "from engine.cli import progress; progress.FIRST_SECONDS = progress.NEXT_SECONDS = 0.2; from engine."
HASTY = (*SCRIPT[:-1], SCRIPT[-1].replace("from engine.", SOON))
SLOW = """\
import time
from engine import query
@query
def wait(n: int) -> int:
    time.sleep(0.05)
    return n
@query
def waits() -> int:
    return sum(wait(n) for n in range(30))
@query
def ready() -> int:
    return 1
"""
QUESTIONS = [("run", "rules.py:waits"), ("graph", "definitions", "greet", "--rules", "rules.py")]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "rules.py").write_text(SLOW)
    for number in range(400):
        (tmp_path / f"m{number}.py").write_text("def greet():\n    return other()\n" * 40)
    return tmp_path


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("watched", [False, True])
def test_a_log_is_told_once_what_is_done_and_then_how_far_it_is(
    place: Path, question: tuple[str, ...], watched: bool
) -> None:
    if not watched:
        check(place, question)
        return
    with Watching(place, "rules.py:ready") as watch:
        watch.ready()
        check(place, question)


def check(place: Path, question: tuple[str, ...]) -> None:
    found = Asked(place, *question, "--json", start=HASTY)
    assert (found.code, json.loads(found.out)["schema"]) == (0, 1)
    told = found.err.splitlines()
    begun = [line for line in told if line.startswith("computing ")]  # a question may need several keys
    assert begun, told
    assert len(set(begun)) == len(begun), told
    assert any(line.startswith("executed ") and " after " in line for line in told), told


@pytest.mark.parametrize("more", [(), ("--follow", "--limit", "1")])
def test_a_log_is_told_how_far_the_changes_are_that_are_to_be_told(
    place: Path, more: tuple[str, ...]
) -> None:
    question = ("changes", "rules.py:waits", "--cursor", "log", *more)
    found = Asked(place, *question, "--json", start=HASTY)
    assert (found.code, json.loads(found.out)["value"]) == (0, 435)
    told = found.err.splitlines()
    assert [line for line in told if line.startswith("computing ")] == ["computing rules:waits()"], told
    assert any(line.startswith("executed ") and " after " in line for line in told), told
    assert Asked(place, *question[:3], "quiet", *more, "--json", "-q", start=HASTY).err == ""


@pytest.mark.parametrize("question", QUESTIONS)
def test_quiet_commands_tell_no_progress(place: Path, question: tuple[str, ...]) -> None:
    assert Asked(place, *question, "--json", "-q", start=HASTY).err == ""


@pytest.mark.parametrize("question", [("run",), ("why",), ("run", "-q"), ("verify", "-q")])
def test_a_store_that_takes_long_to_open_is_told_while_it_is_opened_but_not_by_quiet_commands(
    place: Path, question: tuple[str, ...]
) -> None:
    assert Asked(place, "run", "rules.py:ready").code == 0
    (place / ".engine" / "store.seal").unlink()  # not closed in order: all of it is checked
    slowly = "from engine.store import repair; import time; check = repair.audit; "
    slowly += "repair.audit = lambda connection: (time.sleep(1.0), check(connection)); from engine.__"
    start = (*SCRIPT[:-1], HASTY[-1].replace("from engine.__", slowly))
    found = Asked(place, *question, "rules.py:ready", "--json", start=start)
    assert (found.code, json.loads(found.out)["schema"]) == (0, 1)
    told = f"opening the store {place / '.engine'}: all of it is read once\n"
    assert found.err.startswith(told) == (told in found.err) == ("-q" not in question)
