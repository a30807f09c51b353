"""Serving: commands answered by the watch that holds the store, as if they had done the work themselves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine import Engine
from engine.cli import remote
from engine.cli.answers import answer
from engine.watch import client, server, wire
from engine.watch.client import NotServed, ask
from engine.watch.server import Server
from engine.watch.unix_socket import connect, listen, withdraw
from engine.watch.wire import Lines, Malformed, Message

ROOT = Path(__file__).resolve().parent.parent
START = "import sys; sys.path.insert(0, {!r}); from engine.__main__ import main; main()"
SCRIPT = [sys.executable, "-P", "-c", START.format(str(ROOT))]

RULES = """\
import enum, os, sys, time
from attrs import frozen
from engine import each, query
from engine.rules.files import read_text

@frozen
class Row:
    name: str
    lines: int

class Color(enum.Enum):
    RED = 1
    BLUE = 2

@query
def lines(path: str) -> int:
    return len(read_text(path).splitlines())

@query
def report() -> tuple[Row, ...]:
    return tuple(Row(path, lines(path)) for path in ("a.txt", "b.txt"))

@query
def both() -> int:
    return lines("a.txt") + lines("b.txt")

@query
def echo(text: str, number: int = 0, *, color: Color = Color.RED) -> str:
    return f"{text} {number} {color.name}"

@query
def noisy() -> str:
    print("printed by a query")
    return "one\\n\\x1b[31mtwo\\u202e\\n\\ngr\\xfc\\xdfe \\U0001f600"

@query
def mixed() -> dict[str, object]:
    return {"b": (1, 2.5, None), "a": {"x": True}, "color": Color.BLUE, "nan": float("nan"), "big": 10**400}

@query
def nothing() -> str:
    return ""

@query
def none() -> None:
    return None

@query
def empties() -> tuple[str, ...]:
    return ("", "", "x", "")

@query
def long(count: int) -> str:
    return "\\n".join("x" * 99 for _ in range(count))

@query
def fails(n: int) -> int:
    raise ValueError(f"\\x1b[31m {n}")

@query
def above(n: int) -> int:
    return fails(n) + 1

@query
def loop() -> int:
    return other_loop()

@query
def other_loop() -> int:
    return loop()

@query
def leaves() -> int:
    sys.exit(7)

@query
def opaque() -> object:
    return object()

@query
def gated() -> int:
    while not os.path.exists("go"):
        time.sleep(0.01)
    return 1

@query
def waits(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
"""


class Fake:
    """A watch that does nothing by itself."""

    def __init__(self, db: Engine) -> None:
        self.db = db
        self.synced: list[bool] = []  # `crawl` of each call
        self.stale = 0  # how many times yet rules are outdated
        self.stopped = threading.Event()

    def sync(self, *, crawl: bool = False) -> int:
        self.synced.append(crawl)
        return self.db.sync()

    def status(self) -> dict[str, Any]:
        return {"state": "live", "watched": ["rules:report"], "latency": {"p50": 1.25}}

    def stale_rules(self) -> tuple[str, ...]:
        self.stale -= 1
        return ("rules.py",) if self.stale >= 0 else ()


class Serving(NamedTuple):
    fake: Fake
    server: Server
    store: Path


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """rules.py, a.txt and b.txt. What is loaded from there is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for name in [name for name in os.environ if name.startswith("ENGINE_")]:
        monkeypatch.delenv(name)
    (tmp_path / "rules.py").write_text(RULES)
    (tmp_path / "a.txt").write_text("1\n2\n")
    (tmp_path / "b.txt").write_text("3\n")
    path = list(sys.path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(tmp_path) in (getattr(module, "__file__", None) or ""):
            del sys.modules[name]
    sys.path[:] = path


@pytest.fixture
def serving(project: Path) -> Iterator[Serving]:
    """A fake watch that serves the project's store."""
    store = project / ".engine"
    threads = set(threading.enumerate())
    with Engine(store, root=project) as db:
        fake = Fake(db)
        listener = listen(wire.socket_path(store))
        serves = Server(listener, fake, fake.stopped.set, answer)
        try:
            yield Serving(fake, serves, store)
        finally:
            serves.close()
            withdraw(listener, wire.socket_path(store))
    wait_for(lambda: set(threading.enumerate()) <= threads)


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run([*SCRIPT, *arguments], capture_output=True, text=True, timeout=120, cwd=cwd)


def by_watch(found: subprocess.CompletedProcess[str]) -> bool:
    return found.stderr.endswith(", by the watch\n")


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


def test_sync_and_stop_are_requests(serving: Serving) -> None:
    run("run", "rules.py:lines", "a.txt")
    Path("a.txt").write_text("x\n")
    assert client.sync(serving.store) == 1
    assert client.sync(serving.store, crawl=True) == 0
    assert serving.fake.synced == [False, False, True]
    client.stop(serving.store)
    assert serving.fake.stopped.wait(60)


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
        successor = Server(inherited, serving.fake, serving.fake.stopped.set, answer)
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


def test_a_paused_server_resumes(serving: Serving) -> None:
    serving.server.pause()
    serving.server.pause()
    serving.server.resume()
    serving.server.resume()
    assert ask(serving.store, request_of("none")).out == "None\n"


# -- no watch, or none that can answer ---------------------------------------------------------


def test_without_a_socket_nothing_of_serving_is_imported(project: Path) -> None:
    program = START.format(str(ROOT)).replace("main()", "answer(['run', 'rules.py:none'])")
    program = program.replace("import main;", "import answer;")
    program += "\nprint(*sorted(name for name in sys.modules if name.startswith('engine.watch')))"
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=120)
    assert found.stdout == "None\n\n", found.stderr
    assert remote.SOCKET == wire.SOCKET


def test_a_served_client_imports_no_engine_no_rules_and_no_database(serving: Serving) -> None:
    program = START.format(str(ROOT)).replace("main()", "invoke(['run', 'rules.py:none'])")
    program = program.replace("from engine.__main__ import main;", "from engine.cli import invoke;")
    program += "\nprint(*sorted({'engine.database', 'engine.core', 'engine.modules', 'rules', 'sqlite3', "
    program += "'msgspec', 'engine.cli.report', 'rich', 'asyncio'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=120)
    assert found.stdout == "None\n\n", found.stderr
    assert by_watch(found)


def test_a_socket_that_nobody_listens_on_is_as_none(project: Path) -> None:
    store = project / ".engine"
    assert run("run", "rules.py:none").returncode == 0
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.path.relpath(wire.socket_path(store)))  # an address has 107 bytes
    for command in (("run", "rules.py:none", "-q"), ("why", "rules.py:none"), ("status",)):
        found = run(*command)
        assert (found.returncode, found.stderr) == (0, ""), command
    (store / wire.SOCKET).unlink()
    (store / wire.SOCKET).write_text("not a socket")
    assert (run("run", "rules.py:none", "-q")).stderr == ""


def test_nobody_answering_costs_a_moment_and_looking_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from engine.__main__ import answer as command

    store = project / ".engine"
    assert run("run", "rules.py:report").returncode == 0
    monkeypatch.setattr(remote, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(client, "SILENCE_SECONDS", 0.2)
    with listen(wire.socket_path(store)):
        assert command(["deps", "rules:report()"]) == 0
        out, err = capfd.readouterr()
        assert out == "rules:lines('a.txt')\nrules:lines('b.txt')\n"
        assert err == "note: the watch of this store is not asked: it does not answer\n"
        with Engine(store):
            assert command(["run", "rules.py:report"]) == 75
        assert "The watch that holds it does not answer: stop it." in capfd.readouterr().err


def test_a_watch_of_another_version_is_not_asked_and_named_once(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wire, "difference", lambda request: "engine 0.0.9, not 0.1.0")
    note = "note: the watch of this store is not asked: it is of another version (engine 0.0.9, not 0.1.0)\n"
    found = run("run", "rules.py:none")
    assert found.returncode == 75
    assert found.stderr.startswith(note)
    assert "A watch of another version holds the store: stop it." in found.stderr
    found = run("status")
    assert (found.returncode, found.stderr) == (0, note)
    assert serving.fake.synced == []


@pytest.mark.parametrize("field", ["version", "engine", "python", "prefix"])
def test_both_sides_have_everything_in_common_that_an_answer_depends_on(serving: Serving, field: str) -> None:
    found = exchange(serving.store, wire.encoded({**wire.identity(), field: "other", **request_of("none")}))
    assert found == [{"refused": found[0]["refused"], "because": "version"}]
    assert found[0]["refused"].endswith(f"other, not {wire.identity()[field]}")


@pytest.mark.parametrize("reply", [b"garbage\n", b"[]\n", b"\xff\xfe\x00\n"])
def test_an_answer_that_cannot_be_read_is_of_another_version(project: Path, reply: bytes) -> None:
    def reply_once(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted:
            accepted.recv(1 << 16)
            accepted.sendall(reply)

    with listen(wire.socket_path(project)) as listener:
        thread = threading.Thread(target=reply_once, args=(listener,))
        thread.start()
        with pytest.raises(NotServed, match="another version"):
            ask(project, {"do": "status"})
        thread.join()


def test_another_root_is_refused(serving: Serving, project: Path) -> None:
    other = project / "other"
    other.mkdir()
    found = run("run", "rules.py:none", "--root", "other", "--store", ".engine")
    assert (found.returncode, found.stdout) == (75, "")
    assert "it works elsewhere (root " in found.stderr
    assert serving.fake.synced == []


def test_a_watch_that_ends_amid_a_request_leaves_the_work_to_the_command(project: Path) -> None:
    store = project / ".engine"
    db = Engine(store, root=project)
    fake = Fake(db)
    listener = listen(wire.socket_path(store))
    serves = Server(listener, fake, fake.stopped.set, answer)
    command = subprocess.Popen(
        [*SCRIPT, "run", "rules.py:gated"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: fake.synced == [False] and "rules" in sys.modules)
    serves.close()
    withdraw(listener, wire.socket_path(store))
    db.close()
    (project / "go").touch()
    out, err = command.communicate(timeout=120)
    assert (command.returncode, out) == (0, "1\n"), err
    assert "by the watch" not in err


def test_a_stopping_engine_is_not_an_error_of_the_query(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRY_SECONDS", 0.1)
    serving.fake.db.stop()
    with pytest.raises(NotServed, match="the watch is ending"):
        ask(serving.store, request_of("none"))
    serving.fake.db.close()
    with pytest.raises(NotServed, match="the watch is ending"):
        ask(serving.store, request_of("none"))


def test_a_lost_connection_is_not_tried_for_ever(project: Path) -> None:
    taken = 0

    def drop(listener: socket.socket) -> None:
        nonlocal taken
        while taken < client.LOSSES:
            listener.accept()[0].close()
            taken += 1

    with listen(wire.socket_path(project)) as listener:
        thread = threading.Thread(target=drop, args=(listener,))
        thread.start()
        with pytest.raises(NotServed, match="the connection was lost"):
            ask(project, {"do": "status"})
        thread.join()
    assert taken == client.LOSSES


# -- the socket --------------------------------------------------------------------------------


def test_the_socket_is_private(serving: Serving) -> None:
    assert stat.S_IMODE((serving.store / wire.SOCKET).lstat().st_mode) == 0o600


def test_another_user_is_not_answered(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "peer_user", lambda connection: os.geteuid() + 1)
    assert exchange(serving.store, wire.encoded(request_of("none"))) == []
    assert serving.fake.synced == []


HOSTILE: list[tuple[str, bytes, int]] = [  # what is sent, and how many messages come back
    ("nothing", b"", 0),
    ("half a line", b'{"version": 1, ', 0),
    ("an empty line", b"\n", 1),
    ("binary", bytes(range(256)) * 100 + b"\n", 1),
    ("not an object", b"[1, 2]\n", 1),
    ("deep", b"[" * 1_000_000 + b"\n", 1),
    ("deep objects", b'{"a":' * 200_000 + b"\n", 1),
    ("an endless number", b'{"version": ' + b"9" * 100_000 + b"}\n", 1),
    ("10 MB of a line", b'"' + b"x" * 10_000_000 + b'"\n', 1),
    ("20 MB of a line", b"x" * 20_000_000 + b"\n", 1),
    ("a request of HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1),
]


@pytest.mark.parametrize(("line", "replies"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_garbage_is_refused_and_harms_nobody(serving: Serving, line: bytes, replies: int) -> None:
    found = exchange(serving.store, line)
    assert len(found) == replies
    for message in found:
        assert message["error"]["exit_code"] == 2
        assert message["error"]["text"].startswith("the request is malformed: ")
    assert ask(serving.store, request_of("none")).out == "None\n"


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"do": None},
        {"do": "shutdown"},
        {"do": ["run"]},
        {"do": "run"},
        {"do": "run", "place": 3},
        {"do": "run", "place": {}, "query": 3},
        {"do": "why", "key": {}},
        {"do": "sync", "crawl": "maybe"},
    ],
    ids=str,
)
def test_requests_that_make_no_sense_are_answered_so(serving: Serving, request_: Message) -> None:
    (found,) = exchange(serving.store, wire.encoded({**wire.identity(), **request_}))
    assert found["error"]["exit_code"] == 2
    assert serving.fake.synced == []


def test_fifty_clients_at_once_are_all_answered(serving: Serving) -> None:
    with ThreadPoolExecutor(50) as pool:
        replies = list(pool.map(lambda n: ask(serving.store, request_of("echo", str(n))).out, range(200)))
    assert replies == [f"{n} 0 RED\n" for n in range(200)]


def test_more_clients_than_threads_wait_their_turn(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    now: list[Message] = []  # what is answered at the same time
    most = 0

    def counting(request: Message, served: server.Served) -> Generator[Message, None, None]:
        nonlocal most
        now.append(request)
        most = max(most, len(now))
        try:
            yield from answer(request, served)
        finally:
            now.pop()

    monkeypatch.setattr(serving.server, "answer", counting)
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda n: ask(serving.store, request_of("echo", str(n))).out, range(40)))
    assert replies == [f"{n} 0 RED\n" for n in range(40)]
    assert 1 <= most <= 3


def test_a_client_that_says_nothing_is_dropped(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.2)
    with connect(wire.socket_path(serving.store), 60) as connection:
        connection.sendall(b'{"half":')
        assert connection.recv(1) == b""


def test_a_client_that_does_not_read_holds_up_nobody(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SEND_SECONDS", 1.0)
    with connect(wire.socket_path(serving.store), 10) as connection:
        connection.sendall(wire.encoded({**wire.identity(), **request_of("long", "100000")}))
        wait_for(lambda: serving.fake.db.counts().executed == 1)
        assert ask(serving.store, request_of("echo", "other")).out == "other 0 RED\n"
        wait_for(lambda: not serving.server._connections)


def test_a_hundred_megabytes_arrive_whole(serving: Serving) -> None:
    reply = ask(serving.store, {**request_of("long", "1000000"), "json": True}, silence=60)
    value = json.loads(reply.out)["value"]
    assert (len(value), value.count("x")) == (99_999_999, 99_000_000)


def test_a_client_that_goes_is_noticed_and_what_was_not_begun_is_dropped(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PULSE_SECONDS", 0.02)
    reached = threading.Event()
    go = threading.Event()
    done: list[str] = []

    def slow(request: Message, served: server.Served) -> Generator[Message, None, None]:
        reached.set()
        assert go.wait(60)
        yield {"progress": {}}
        done.append("the rest of the work")

    monkeypatch.setattr(serving.server, "answer", slow)
    with connect(wire.socket_path(serving.store), 10) as connection:
        connection.sendall(wire.encoded({**wire.identity(), "do": "status"}))
        assert reached.wait(60)
    go.set()
    wait_for(lambda: not serving.server._connections)
    assert done == []


def test_a_long_request_is_heard_of_all_the_time(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PULSE_SECONDS", 0.05)
    heard: list[Message] = []
    reply = ask(serving.store, request_of("waits", "4.0"), silence=3.0, progress=heard.append)
    assert reply.out == "4.0\n"
    assert heard
    assert set(heard[0]) == set(reply.last["ok"]["counts"])


def test_an_interrupted_command_ends_at_once_and_its_query_is_let_finish(serving: Serving) -> None:
    command = subprocess.Popen(
        [*SCRIPT, "run", "rules.py:gated"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: serving.fake.synced == [False] and "rules" in sys.modules)
    command.send_signal(signal.SIGINT)
    assert command.communicate(timeout=120) == ("", "interrupted\n")
    assert command.returncode == 130
    (serving.store.parent / "go").touch()
    wait_for(lambda: not serving.server._connections)


def test_closing_waits_for_no_client_and_leaves_nothing(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUEST_SECONDS", "SEND_SECONDS"):
        monkeypatch.setattr(server, name, 3600.0)  # how long it would wait for a client
    idle = [connect(wire.socket_path(serving.store), 5) for _ in range(5)]
    deaf = connect(wire.socket_path(serving.store), 5)
    deaf.sendall(wire.encoded({**wire.identity(), **request_of("long", "100000")}))
    wait_for(lambda: serving.fake.db.counts().executed == 1)
    serving.server.close()
    serving.server.close()
    wait_for(lambda: not [one for one in threading.enumerate() if one.name.startswith("engine-serve")])
    for connection in (*idle, deaf):
        connection.close()
    with pytest.raises(NotServed):
        ask(serving.store, request_of("none"))


# -- messages ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [[], [""], ["", ""], ["a"], ["a", "", "b"], ["x" * 1_000_000], ["y"] * 300_000, [""] * 300_000],
    ids=lambda lines: f"{len(lines)} of {len(lines[0]) if lines else 0}",
)
def test_pieces_are_small_and_make_up_the_lines(lines: list[str]) -> None:
    found = [message["out"] for message in wire.pieces(iter(lines))]
    assert "".join(found) == "".join(f"{line}\n" for line in lines)
    assert all(len(piece) <= wire.PIECE + wire.PIECE for piece in found)


def test_lines_arrive_in_any_pieces() -> None:
    messages: list[Message] = [{"n": n, "text": "é\n\ud800" * n} for n in range(40)]
    data = b"".join(map(wire.encoded, messages))
    for size in (1, 7, 1000):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            writer = threading.Thread(target=send_in_pieces, args=(theirs, data, size))
            writer.start()
            arriving = Lines(ours, 10_000)
            found = list(iter(arriving.next, None))
            writer.join()
        assert found == messages


def test_a_line_that_is_too_long_is_not_kept() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"x" * 2000)
        with pytest.raises(Malformed, match="longer than 1000 bytes"):
            Lines(ours, 1000).next()


def send_in_pieces(connection: socket.socket, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        connection.sendall(data[start : start + size])
    connection.shutdown(socket.SHUT_WR)


# -- shared ------------------------------------------------------------------------------------


def request_of(query: str, *args: str) -> Message:
    """A request to run a query of rules.py in the working directory."""
    here = os.getcwd()
    place = {"root": here, "store": f"{here}/.engine", "rules": [], "path": [here]}
    return {
        "do": "run",
        "place": {**place, "workers": 1, "strict": False, "depth_limit": 50_000},
        "query": f"{here}/rules.py:{query}",
        "args": args,
        "named": [],
        "json": False,
        "indent": None,
        "sync": "yes",
    }


def exchange(store: Path, line: bytes) -> list[Message]:
    """Send bytes, end, and read what comes back."""
    with connect(wire.socket_path(store), 20) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before its end
            connection.sendall(line)
            connection.shutdown(socket.SHUT_WR)
        found: list[Message] = []
        with suppress(ConnectionResetError):
            found.extend(iter(Lines(connection, 1 << 20).next, None))
        return found


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
