"""`engine changes`: each change once, from the store, from a watch, and on and on while it follows."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.cli.feed import lines
from tests.watch_process import SCRIPT, Asked, Watching, environment, save

RULES = """\
from collections.abc import Iterable
from typing import NamedTuple
from engine import query, table, fold, Sum
from engine.rules.directories import glob
from engine.rules.files import read_text

class Word(NamedTuple):
    text: str
    line: int

@query
def files() -> tuple[str, ...]:
    return tuple(glob("*.txt"))

@query
def count(path: str) -> int:
    return len(read_text(path).split())

@table(each=files, index=("text",), identity=("text",))
def words(path: str) -> Iterable[Word]:
    for number, line in enumerate(read_text(path).splitlines()):
        for word in line.split():
            yield Word(word, number)

total = fold(each=files, of=count, into=Sum())

@query
def number() -> int:
    return int(read_text("n.txt"))
"""
CURSOR = ("--cursor", "x")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name, text in {
        "rules.py": RULES,
        "engine.toml": 'rules = ["rules.py"]\n',
        "a.txt": "one two\n",
        "b.txt": "three\n",
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def documents(text: str | list[str]) -> list[dict[str, Any]]:
    several = text.splitlines() if isinstance(text, str) else text
    found = [json.loads(line) for line in several]
    assert all(one["schema"] == 1 for one in found)
    return found


def told(place: Path, *arguments: str) -> list[dict[str, Any]]:
    found = Asked(place, "changes", "words", *CURSOR, "--json", *arguments)
    assert found.code == 0, found.err
    return documents(found.out)


def row(text: str, line: int = 0) -> dict[str, Any]:
    return {"text": text, "line": line}


# -- once ----------------------------------------------------------------------------------------


def test_a_new_consumer_gets_all_rows_and_then_only_what_changed(place: Path) -> None:
    (first,) = told(place)
    assert first == {
        "schema": 1,
        "table": "rules:words",
        "revision": 1,
        "position": first["position"],
        "reset": True,
        "added": [row("one"), row("two"), row("three")],
        "removed": [],
        "changed": [],
    }
    assert told(place) == []
    save(place / "a.txt", "one\ntwo\nfour\n")
    (place / "b.txt").unlink()
    (second,) = told(place)
    assert (second["reset"], second["added"], second["removed"]) == (False, [row("four", 2)], [row("three")])
    assert second["changed"] == [{"before": row("two"), "after": row("two", 1)}]
    assert told(place) == []


def test_people_see_rows_with_signs_below_their_revision(place: Path) -> None:
    assert Asked(place, "changes", "words", *CURSOR).out == (
        "R1 rules:words, all rows\n+ text='one', line=0\n+ text='two', line=0\n+ text='three', line=0\n"
    )
    save(place / "a.txt", "one\ntwo\n\x1b[31m\n")
    (place / "b.txt").unlink()
    assert Asked(place, "changes", "words", *CURSOR).out == (
        "R2 rules:words\n- text='three', line=0\n~ text='two', line=0 -> text='two', line=1\n"
        "+ text='\\x1b[31m', line=2\n"
    )
    found = Asked(place, "changes", "words", *CURSOR)
    assert (found.code, found.out, found.err) == (0, "", "nothing changed\n")


def test_a_fold_and_a_key_have_their_newest_value_told(place: Path) -> None:
    found = Asked(place, "changes", "total", *CURSOR, "--json")
    (first,) = documents(found.out)
    assert (first["key"], first["value"], first["error"]) == ("rules:count.Sum()", 3, None)
    save(place / "a.txt", "one\n")
    assert Asked(place, "changes", "total", *CURSOR).out == "R2 rules:count.Sum()\n  2\n"
    assert Asked(place, "changes", "count", "a.txt", *CURSOR).out == "R2 rules:count('a.txt')\n  1\n"
    for same in (("count('a.txt')",), ("rules.py:count", "-a", "path=a.txt")):
        assert Asked(place, "changes", *same, *CURSOR).err == "nothing changed\n"
    for command in ("changes", "run"):  # one way to name arguments
        wrong = Asked(place, command, "count", "-a", "x=a.txt", *(CURSOR if command == "changes" else ()))
        assert (wrong.code, "there is no parameter x" in wrong.err) == (2, True), wrong.err
    save(place / "n.txt", "x")
    assert "failed: ValueError" in Asked(place, "changes", "number", *CURSOR).out


def test_what_the_reader_never_took_is_told_again(place: Path) -> None:
    process = subprocess.Popen(
        [*SCRIPT, "changes", "words", *CURSOR, "--json"],
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(120) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert [one["reset"] for one in told(place)] == [True]


def test_a_consumer_that_keeps_its_position_goes_on_from_there(place: Path) -> None:
    (first,) = told(place)
    save(place / "a.txt", "two\n")
    (second,) = told(place, "--after", first["position"])
    assert second["removed"] == [row("one")]
    assert told(place, "--after", second["position"]) == []
    back = Asked(place, "changes", "words", *CURSOR, "--after", first["position"])
    assert (back.code, back.out) == (2, "")
    assert "goes backwards" in back.err
    other = Asked(place, "changes", "words", "--cursor", "other", "--after", first["position"])
    assert (other.code, other.out) == (2, "")
    assert "of another store, or of another consumer" in other.err
    odd = Asked(place, "changes", "words", *CURSOR, "--after", "yesterday")
    assert (odd.code, odd.out) == (2, "")
    assert not any("Traceback" in one.err for one in (back, other, odd))


def test_a_limit_ends_it_and_what_is_left_is_told_next(place: Path) -> None:
    told(place)
    for number in range(3):  # two consumers, so that each revision is an entry of its own
        save(place / "a.txt", f"{number}\n")
        Asked(place, "run", "words.count")
    several = told(place, "--limit", "2")
    assert [one["added"] for one in several] == [[row("0")], [row("1")]]
    assert [one["added"] for one in told(place)] == [[row("2")]]


def test_a_closed_cursor_begins_anew(place: Path) -> None:
    told(place)
    closed = Asked(place, "changes", "words", *CURSOR, "--close")
    assert (closed.code, closed.out, closed.err) == (0, "", "the cursor x is forgotten\n")
    assert [one["reset"] for one in told(place)] == [True]


@pytest.mark.parametrize(
    "arguments",
    [
        ("words",),
        ("words", "--cursor", "x", "--close", "--follow"),
        ("words", "--cursor", "x", "--limit", "0"),
        ("nothing", "--cursor", "x"),
        ("count", "--cursor", "x"),
        ("no.py:words", "--cursor", "x"),
    ],
)
def test_a_request_that_is_wrong_is_refused(place: Path, arguments: tuple[str, ...]) -> None:
    found = Asked(place, "changes", *arguments)
    assert (found.code, found.out) == (2, "")
    assert "Traceback" not in found.err


def test_a_failing_key_of_the_table_is_told_as_such(place: Path) -> None:
    save(place / "rules.py", RULES.replace('tuple(glob("*.txt"))', '(1 / 0, "a.txt")'))
    found = Asked(place, "changes", "words", *CURSOR)
    assert (found.code, found.out) == (1, "")
    assert "ZeroDivisionError" in found.err


# -- by a watch ----------------------------------------------------------------------------------


def test_a_watch_answers_as_the_store_does(place: Path) -> None:
    told(place)
    with Watching(place, "total") as watch:
        watch.ready()
        save(place / "a.txt", "one\n")
        (found,) = told(place)
        assert (found["removed"], found["reset"]) == ([row("two")], False)
        assert told(place) == []
        assert Asked(place, "changes", "total", *CURSOR).out.endswith("\n  2\n")
        assert Asked(place, "changes", "rules.py:count", "a.txt", *CURSOR).out.endswith("('a.txt')\n  1\n")
        back = Asked(place, "changes", "words", *CURSOR, "--after", "nonsense")
        assert (back.code, back.out) == (2, "")
        assert "no position that a delta had" in back.err
        assert Asked(place, "changes", "words", *CURSOR, "--close").err == "the cursor x is forgotten\n"
        assert [one["reset"] for one in told(place, "--limit", "1")] == [True]
        assert watch.ends(signal.SIGINT) == 130
    assert told(place) == []


def test_a_follower_hears_of_every_change_from_the_watch_and_goes_on_without_it(place: Path) -> None:
    with Watching(place, "total") as watch:
        watch.ready()
        with Watching(place, "words", *CURSOR, "--json", "--follow", command="changes") as follower:
            follower.until(lambda: len(follower.out) == 1)
            save(place / "a.txt", "one\n")
            follower.until(lambda: len(follower.out) == 2)
            save(place / "new.txt", "five\n")  # a file that nobody read before
            follower.until(lambda: len(follower.out) == 3)
            save(place / "new.txt", "six\n")
            follower.until(lambda: len(follower.out) == 4)
            assert watch.ends(signal.SIGINT) == 130
            time.sleep(0.3)
            save(place / "new.txt", "seven\n")
            follower.until(lambda: len(follower.out) == 5)
            assert follower.ends(signal.SIGTERM) == 143
            last = documents(follower.out)[-1]
            assert (last["added"], last["removed"]) == ([row("seven")], [row("six")])
            assert "5 deltas were told" in follower.told()
    assert told(place) == []


# -- following -----------------------------------------------------------------------------------


def test_a_follower_tells_each_change_once_until_it_is_interrupted(place: Path) -> None:
    def has_told(lines: int) -> bool:
        return len(follower.out) == lines

    with Watching(place, "words", *CURSOR, "--json", "--follow", command="changes") as follower:
        follower.until(partial(has_told, 1))
        for number in range(3):
            save(place / "a.txt", f"{number}\n")
            follower.until(partial(has_told, number + 2))
        assert follower.ends(signal.SIGINT) == 130
        assert "Traceback" not in follower.told()
        assert documents(follower.out)[-1]["added"] == [row("2")]
    assert told(place) == []


def test_a_follower_goes_on_with_changed_rules(place: Path) -> None:
    (first,) = told(place)
    arguments = ("words", *CURSOR, "--json", "--follow", "--after", first["position"])
    with Watching(place, *arguments, command="changes") as follower:
        time.sleep(1.0)
        save(place / "a.txt", "two\n")
        follower.until(lambda: len(follower.out) == 1)
        save(place / "rules.py", RULES.replace("yield Word(word, number)", "yield Word(word, number + 1)"))
        follower.until(lambda: len(follower.out) == 2)
        assert follower.ends(signal.SIGTERM) == 143
        assert documents(follower.out)[1]["changed"] == [
            {"before": row("two"), "after": row("two", 1)},
            {"before": row("three"), "after": row("three", 1)},
        ]


def test_a_follower_waits_until_a_table_that_fails_is_right_again(place: Path) -> None:
    with Watching(place, "number", *CURSOR, "--follow", command="changes") as follower:
        follower.until(lambda: any("failed" in line for line in follower.out))
        save(place / "n.txt", "5\n")
        follower.until(lambda: "  5" in follower.out)
        assert follower.ends(signal.SIGINT) == 130


def test_a_consumer_that_is_killed_again_and_again_has_what_the_table_has(place: Path) -> None:
    """It mirrors the rows in a file, each delta with its position in one write."""
    chance = random.Random(11)
    mirror: Counter[tuple[str, int]] = Counter()
    position: str | None = None
    for _ in range(12):
        save(place / chance.choice(["a.txt", "b.txt", "c.txt"]), " ".join(chance.choices("pqrst", k=4)))
        after = ["--after", position] if position else []
        process = subprocess.Popen(
            [*SCRIPT, "changes", "words", *CURSOR, "--json", "--follow", *after],
            cwd=place,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        time.sleep(chance.random())
        process.kill()
        for line in process.stdout:
            if not line.endswith("\n"):
                break  # cut off in the middle: it was not told
            position = _apply(mirror, json.loads(line))
        process.stdout.close()
        process.wait()
    for delta in told(place, *(["--after", position] if position else [])):
        _apply(mirror, delta)
    rows = json.loads(Asked(place, "run", "words", "--json").out)["value"]
    assert mirror == Counter((one["text"], one["line"]) for one in rows)


def _apply(mirror: Counter[tuple[str, int]], delta: dict[str, Any]) -> str:
    def one(found: dict[str, Any]) -> tuple[str, int]:
        return found["text"], found["line"]

    if delta["reset"]:
        mirror.clear()
    for gone in [*delta["removed"], *(pair["before"] for pair in delta["changed"])]:
        mirror[one(gone)] -= 1
        assert mirror[one(gone)] >= 0
    mirror.update(one(came) for came in [*delta["added"], *(pair["after"] for pair in delta["changed"])])
    for gone in [key for key, number in mirror.items() if not number]:
        del mirror[gone]
    return str(delta["position"])


def test_no_control_character_of_a_row_or_an_error_reaches_a_terminal() -> None:
    document = {"revision": 1, "key": "k\x1b", "error": "bad\x1b[31m", "value": None}
    assert list(lines(document)) == ["R1 k\\x1b failed: bad\\x1b[31m"]
