"""Serving: commands answered by the watch that holds the store, as if they had done the work themselves."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.cli.answers import answer
from engine.watch import client, server
from engine.watch.client import NotServed, ask
from engine.watch.server import Server
from engine.watch.wire import Message
from tests.watch_serving import (
    Serving,
    by_watch,
    project,
    request_of,
    run,
    serving,
)

__all__ = ["project", "serving"]  # fixtures


# -- the same answers --------------------------------------------------------------------------

VALUES = [
    ("rules.py:report",),
    ("rules.py:lines", "a.txt"),
    ("rules.py:echo", "hi", "3", "-a", "color=BLUE"),
    ("rules.py:echo", "--", "-x", "-3"),
    ("rules.py:echo", "gr\xfc\xdfe\udcff"),
    ("rules:noisy",),
    ("rules.py:mixed",),
    ("rules.py:nothing",),
    ("rules.py:none",),
    ("rules.py:empties",),
    ("rules.py:long", "20000"),
    ("rules.py:opaque",),
]
FAILURES = [
    (1, ("rules.py:fails", "3")),
    (1, ("rules.py:above", "3")),
    (1, ("rules.py:unkeyable",)),
    (1, ("rules.py:loop",)),
    (1, ("rules.py:leaves",)),
    (1, ("rules.py:opaque", "--json")),
    (2, ("rules.py:echoo", "hi")),
    (2, ("rules.py:echo", "hi", "three")),
    (2, ("rules.py:echo",)),
    (2, ("rules.py:echo", "hi", "-a", "colour=RED")),
    (2, ("missing.py:echo",)),
    (2, ("rules.py",)),
    (2, ("report",)),
]
VARYING = ("counts", "revision")  # of the JSON document: what was done before this request


@pytest.mark.parametrize("arguments", VALUES, ids=lambda value: "-".join(value).encode(errors="replace"))
def test_standard_output_is_byte_for_byte_what_it_is_without_a_watch(
    serving: Serving, arguments: tuple[str, ...]
) -> None:
    served = run("run", *arguments)
    alone = run("run", "--store", "another", *arguments)
    assert by_watch(served), served.stderr
    if arguments[0] != "rules.py:opaque":  # an address
        assert (served.stdout, served.returncode) == (alone.stdout, alone.returncode)
    assert not by_watch(alone)
    assert "printed by a query" not in served.stdout


@pytest.mark.parametrize("arguments", VALUES[:-1], ids=lambda value: "-".join(value).encode(errors="replace"))
def test_a_json_document_differs_in_counts_and_revision_only(
    serving: Serving, arguments: tuple[str, ...]
) -> None:
    options = ("run", "--json", "--quiet")
    served = run(*options, *arguments)
    alone = run(*options, "--store", "another", *arguments)
    assert (served.returncode, alone.returncode) == (0, 0), served.stderr
    documents = [json.loads(found.stdout) for found in (served, alone)]
    for document, found in zip(documents, (served, alone), strict=True):
        assert found.stdout == json.dumps(document, sort_keys=True) + "\n"
        assert [set(document.pop(name)) if name == "counts" else document.pop(name) for name in VARYING]
    assert documents[0] == documents[1]
    assert serving.fake.synced == [False]


@pytest.mark.parametrize(("code", "arguments"), FAILURES, ids=lambda value: str(value))
def test_what_fails_says_the_same_and_ends_with_the_same_code(
    serving: Serving, code: int, arguments: tuple[str, ...]
) -> None:
    served = run("run", "-q", *arguments)
    alone = run("run", "-q", "--store", "another", *arguments)
    assert served.returncode == alone.returncode == code
    assert served.stdout == alone.stdout == ""
    assert served.stderr == alone.stderr
    assert "Traceback" not in served.stderr or code == 1
    assert serving.fake.synced == [False], "the watch was not asked"


def test_a_failure_that_is_kept_is_told_alike_however_often_it_is_asked_for(serving: Serving) -> None:
    told = {run("run", "-q", "rules.py:loop").stderr for _ in range(3)}
    assert len(told) == 1
    assert told.pop().count("raised at") == 1


def test_a_served_run_sees_what_was_saved_before_it(serving: Serving) -> None:
    assert run("run", "rules.py:lines", "a.txt").stdout == "2\n"
    for count in range(3, 6):
        Path("a.txt").write_text("x\n" * count)
        assert run("run", "rules.py:lines", "a.txt").stdout == f"{count}\n"
    assert serving.fake.synced == [False] * 4


def test_no_sync_takes_what_the_watch_saw_and_crawl_looks_at_everything(serving: Serving) -> None:
    run("run", "rules.py:lines", "a.txt")
    Path("a.txt").write_text("x\n")
    assert run("run", "rules.py:lines", "a.txt", "--no-sync").stdout == "2\n"
    assert run("run", "rules.py:lines", "a.txt", "--crawl").stdout == "1\n"
    assert serving.fake.synced == [False, True]
    assert run("run", "rules.py:lines", "a.txt", "--crawl", "--no-sync").returncode == 2


def test_paths_are_those_of_who_asks(serving: Serving, project: Path) -> None:
    below = project / "below"
    below.mkdir()
    (below / "more.py").write_text("from engine import query\n@query\ndef one() -> int:\n    return 1\n")
    found = run("run", "more.py:one", "--root", "..", cwd=below)
    assert (found.stdout, by_watch(found)) == ("1\n", True), found.stderr
    assert "below.more:one()" in run("why", "more.py:one", "--root", "..", cwd=below).stdout


def test_the_summary_counts_what_the_request_did(serving: Serving) -> None:
    first = run("run", "rules.py:report").stderr
    assert re.fullmatch(r"executed 3, cut off 0, .* in \d+\.\d\d s, revision 1, by the watch\n", first), first
    assert run("run", "rules.py:report").stderr.startswith("executed 0, cut off 0, verified 0, read 0 in ")
    assert run("run", "rules.py:report", "-q").stderr == ""


@pytest.mark.parametrize("option", ["--read-only", "--no-store"])
def test_options_that_are_about_another_engine_never_reach_the_watch(serving: Serving, option: str) -> None:
    found = run("run", "rules.py:report", option)
    assert (found.returncode, by_watch(found)) == (0, False)
    assert serving.fake.synced == []


def test_options_that_the_watch_cannot_honour_are_told(serving: Serving) -> None:
    assert "note" not in run("run", "rules.py:report", "--workers", "1").stderr
    told = run("run", "rules.py:report", "--workers", "4", "--strict").stderr
    assert "note: the watch works with workers = 1, so 4 has no effect\n" in told
    assert "note: the watch works with strict = false, so true has no effect\n" in told


@pytest.mark.parametrize("command", ["why", "deps", "rdeps"])
@pytest.mark.parametrize("key", ["rules:lines('a.txt')", "rules.py:both", "rules.py:lines('zzz')"])
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_looking_prints_the_same_from_the_watch_and_from_the_store(
    serving: Serving, command: str, key: str, form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("run", "rules.py:both")
    asked: list[str] = []
    monkeypatch.setattr(serving.server, "answer", noting(asked))
    served = run(command, key, *form)
    assert asked == [command]
    serving.server.close()
    alone = run(command, key, *form)
    assert (served.stdout, served.stderr, served.returncode) == (alone.stdout, alone.stderr, alone.returncode)
    assert served.returncode == 0


def noting(asked: list[str]) -> server.Answer:
    def noted(request: Message, served: server.Served) -> Generator[Message, None, None]:
        asked.append(request["do"])
        return answer(request, served)

    return noted


@pytest.mark.parametrize("key", ["rules.py:zzz", "rules:lines('a.txt'", "zzz.py:lines", "zzz:lines"])
def test_a_key_that_makes_no_sense_is_told_in_the_words_of_the_command(serving: Serving, key: str) -> None:
    run("run", "rules.py:report")
    served = run("why", key)
    serving.server.close()
    alone = run("why", key)
    assert (served.returncode, served.stderr) == (alone.returncode, alone.stderr)
    assert served.returncode == 2


def test_status_shows_the_watch_and_null_without_one(serving: Serving) -> None:
    run("run", "rules.py:report")
    document = json.loads(run("status", "--json").stdout)
    assert document["watch"] == serving.fake.status()
    assert (document["exists"], document["revision"], document["nodes"]) == (True, 1, 5)
    shown = run("status").stdout
    assert "watch: process None, started never\n  keeps right rules:report\n" in shown
    serving.server.close()
    without = json.loads(run("status", "--json").stdout)
    assert without.pop("watch") is None
    assert without == {name: value for name, value in document.items() if name != "watch"}


def test_sync_is_a_request(serving: Serving) -> None:
    run("run", "rules.py:lines", "a.txt")
    Path("a.txt").write_text("x\n")
    assert client.sync(serving.store) == 1
    assert client.sync(serving.store, crawl=True) == 0
    assert serving.fake.synced == [False, False, True]


# -- new code ----------------------------------------------------------------------------------


def test_a_loaded_module_is_never_loaded_again_but_a_new_one_is(serving: Serving) -> None:
    assert run("run", "rules.py:none").returncode == 0
    before = sys.modules["rules"]
    Path("rules.py").write_text("raise RuntimeError\n")
    assert run("run", "rules.py:none").stdout == "None\n"
    assert sys.modules["rules"] is before
    Path("new.py").write_text("from engine import query\n@query\ndef one() -> int:\n    return 1\n")
    assert run("run", "new.py:one").stdout == "1\n"


def test_while_loaded_rules_are_outdated_nothing_is_answered_from_them(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("run", "rules.py:none")
    serving.fake.stale = 3
    assert by_watch(run("run", "rules.py:none"))
    assert serving.fake.synced == [False] * 5
    assert serving.fake.stale == -1
    serving.fake.stale = 1_000_000
    monkeypatch.setattr(client, "RETRY_SECONDS", 0.2)
    with pytest.raises(NotServed, match=r"rules changed: rules\.py"):
        ask(serving.store, request_of("none"))


def test_the_watch_can_replace_itself_while_clients_wait(serving: Serving) -> None:
    """`pause`, then another server on the same listening socket: nobody is refused, nobody gets half."""
    serving.server.pause()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, serving.store, request_of("echo", str(n))) for n in range(8)]
        time.sleep(0.1)
        assert not any(one.done() for one in waiting)
        inherited = socket.socket(fileno=os.dup(serving.server._listener.fileno()))
        serving.server.close()
        successor = Server(inherited, serving.fake, answer)
        assert [one.result().out for one in waiting] == [f"{n} 0 RED\n" for n in range(8)]
        successor.close()


def test_a_dropped_connection_is_tried_again_and_nothing_is_printed_twice(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    drops = iter([True, True, False])

    def dropping(request: Message, served: server.Served) -> Generator[Message, None, None]:
        if next(drops):
            yield {"out": "half of "}
            return
        yield from answer(request, served)

    monkeypatch.setattr(serving.server, "answer", dropping)
    found = run("run", "rules.py:none")
    assert (found.stdout, by_watch(found)) == ("None\n", True)
