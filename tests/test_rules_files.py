"""A file is what it is now: every kind of it, every change of it, and never one from outside the root."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import posixpath
import shutil
import socket
import stat as stat_module
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from blake3 import blake3

from engine import ChangedWhileRead, Engine, Query, Transient, query
from engine.rules import files, stat
from engine.rules.directories import files_below, listing
from engine.rules.files import (
    FileError,
    FileMissing,
    FileTooLarge,
    NotText,
    OutsideRoot,
    canonical_path,
    exists,
    file_digest,
    kind,
    read_bytes,
    read_text,
    stat_stamp,
)

NOBODY = 65534


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root that is the working directory, and that every user may enter (pytest's own is private)."""
    path = Path(os.path.realpath(tempfile.mkdtemp()))
    path.chmod(0o755)
    monkeypatch.chdir(path)
    before = os.umask(0o022)  # files, too
    yield path
    os.umask(before)
    shutil.rmtree(path)


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stamp is believed at once, so that only the stamp itself can show a change."""
    monkeypatch.setattr(stat, "RACY_WINDOW_NS", 0)


@contextmanager
def without_privileges() -> Iterator[None]:
    """As a user for whom permissions count: root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def answer(call: Callable[[], object]) -> object:
    """The value, or the kind of the error."""
    try:
        return call()
    except FileError as error:
        return (error.kind,)


# -- kinds ---------------------------------------------------------------------------------------


def a_socket() -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("x")  # relative: the path of a socket may have 107 bytes


def unreadable() -> None:
    Path("x").write_bytes(b"content")
    Path("x").chmod(0)


# what stands at "x": how it is made, what reading gives, its kind, whether it exists
KINDS: dict[str, tuple[Callable[[], object], object, str, bool]] = {
    "missing": (lambda: None, ("missing",), "missing", False),
    "file": (lambda: Path("x").write_bytes(b"content"), b"content", "file", True),
    "empty": (lambda: Path("x").write_bytes(b""), b"", "file", True),
    "directory": (lambda: Path("x").mkdir(), ("directory",), "directory", True),
    "link": (lambda: Path("x").symlink_to("target"), b"of target", "file", True),
    "dangling": (lambda: Path("x").symlink_to("nowhere"), ("dangling link",), "dangling link", False),
    "loop": (lambda: Path("x").symlink_to("x"), ("link loop",), "link loop", False),
    "fifo": (lambda: os.mkfifo("x"), ("fifo",), "fifo", True),
    "socket": (a_socket, ("socket",), "socket", True),
    "unreadable": (unreadable, ("unreadable",), "file", True),
}


@query
def content_or_kind(path: str) -> bytes:
    try:
        return read_bytes(path)
    except FileError as error:
        return b"?" + error.kind.encode()


def remove() -> None:
    path = Path("x")
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("before", KINDS)
def test_every_change_of_kind_is_noticed_by_the_stamp(before: str, place: Path, trusting: None) -> None:
    Path("target").write_bytes(b"of target")
    content: object = None
    with Engine(None, root=place) as db:
        for ask in (read_bytes, kind, exists):
            answer(lambda ask=ask: db.get(ask, "x"))  # type: ignore[misc]  # loads what nobody may load
        for after in KINDS:
            for name in (before, after):
                make, content, word, there = KINDS[name]
                remove()
                make()
                with without_privileges():
                    db.sync()
                    started = time.monotonic()
                    assert answer(lambda: db.get(read_bytes, "x")) == content, f"{before} -> {after}"
                    assert db.get(kind, "x") == word
                    assert db.get(exists, "x") is there
                    assert answer(lambda: read_bytes("x")) == content  # the same with no engine
                    assert time.monotonic() - started < 60
        with without_privileges():
            kept = db.get(content_or_kind, "x")
            assert kept == content or (kept.removeprefix(b"?").decode(),) == content
            before_again = db.counts()
            assert db.sync() == 0
            db.get(content_or_kind, "x")
        assert (db.counts() - before_again).read == 0, "the answer is kept, also when it is an error"


def test_a_link_is_followed_to_its_end_and_its_target_counts(place: Path, trusting: None) -> None:
    Path("one").write_text("1")
    Path("two").write_text("2")
    Path("b").symlink_to("one")
    Path("a").symlink_to("b")
    with Engine(None, root=place) as db:
        assert db.get(read_text, "a") == "1"
        Path("one").write_text("11")
        db.sync()
        assert db.get(read_text, "a") == "11"
        os.symlink("two", "c")
        os.replace("c", "b")
        db.sync()
        assert db.get(read_text, "a") == "2"


def test_an_error_names_the_path_and_what_it_is(place: Path) -> None:
    Path("d").mkdir()
    with pytest.raises(FileError) as caught:
        read_bytes("d")
    error = caught.value
    assert (error.path, error.kind) == ("d", "directory")
    assert "path:  d" in str(error)
    assert "it is: directory" in str(error)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(twin), twin.path, twin.kind, str(twin)) == (FileError, "d", "directory", str(error))
    with pytest.raises(FileMissing):
        read_bytes("nothing")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_trouble_of_the_machine_is_not_an_answer(
    number: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_text("x")

    def failing(path: object, flags: int, *rest: object) -> int:
        raise OSError(number, os.strerror(number))

    with Engine(None, root=place) as db:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", failing)
            for key in (read_bytes.key("a"), kind.key("a"), file_digest.key("a"), listing.key("")):
                with pytest.raises(OSError, match=os.strerror(number)):
                    db.get(key)
        assert db.get(read_bytes, "a") == b"x"
        assert db.get(kind, "a") == "file"


def test_nothing_stays_open(place: Path) -> None:
    Path("target").write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    for make, *_ in KINDS.values():
        remove()
        make()
        for ask in (read_bytes, read_text, file_digest, kind, exists, listing):
            answer(lambda ask=ask: ask("x"))  # type: ignore[misc]
    assert len(os.listdir("/proc/self/fd")) <= before  # fewer where an earlier test is tidied up meanwhile


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "-rf",
        " leading",
        "trailing ",
        "new\nline",
        "\x1b[31m",
        "é",
        "back\\slash",
        "*?[",
        "..a",
        "...",
        ".git",
        "n" * 255,
        os.fsdecode(b"\xff\xfe not utf-8"),
    ],
)
def test_any_name_works(name: str, place: Path) -> None:
    Path(name).write_bytes(b"content")
    with Engine(place.parent / f"{place.name}.store", root=place) as db:
        assert db.get(read_bytes, name) == b"content"
        assert [entry.name for entry in db.get(listing)] == [name]
        assert db.get(exists, name)
        assert db.get(files_below) == (() if name == ".git" else (name,))
        assert db.notes() == ()
    shutil.rmtree(f"{place}.store")


def test_names_that_only_look_alike_are_two_files(place: Path) -> None:
    composed, decomposed = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
    Path(composed).write_text("1")
    Path(decomposed).write_text("2")
    assert (read_text(composed), read_text(decomposed)) == ("1", "2")


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("n" * 256, "name too long"),
        ("/".join(["d"] * 5000), "name too long"),
        ("file/below", "missing"),
        ("a\0b", "bad name"),
        ("\ud800", "bad name"),
    ],
)
def test_an_impossible_name_is_an_answer(path: str, what: str, place: Path) -> None:
    Path("file").write_text("x")
    with Engine(None, root=place) as db:
        for _ in range(2):
            assert answer(lambda: db.get(read_bytes, path)) == (what,)
            assert db.get(kind, path) == what
            assert db.get(exists, path) is False
            db.sync()


def test_a_path_has_one_spelling() -> None:
    here = os.getcwd()
    for given, canonical in {
        "a": "a",
        "./a//b.py": "a/b.py",
        "a/../b": "b",
        "a/": "a",
        ".": "",
        "": "",
        "a/..": "",
        f"{here}/a": "a",
        here: "",
        ".hidden/..x": ".hidden/..x",
    }.items():
        assert canonical_path(given) == canonical
        if given != canonical:
            assert answer(lambda given=given: read_bytes(given)) == ("not a canonical path",)  # type: ignore[misc]
    assert canonical_path(Path("a") / "b") == "a/b"
    for outside in ("..", "a/../..", "../x", "/", "/etc/passwd", here + "x", "//host/x"):
        with pytest.raises(OutsideRoot):
            canonical_path(outside)


# -- outside the root ----------------------------------------------------------------------------

HOSTILE = [
    "/etc/passwd", "//etc/passwd", "/", "..", "../", "../x", "../../etc/passwd", "a/../../b", "./../b",
    "a/./../../b", "a/b/../../../c", "../" * 40 + "etc/passwd", "/proc/self/mem", "//host/share/x",
    "d/../../x", "..//x", ".//..//x", "inside/../../../x", "/dev/zero", "/./etc/passwd", "/../etc/passwd",
    "out", "out/secret", "out/../out/secret", "to-secret", "chain", "out/deeper/secret", "absolute",
    "a\0b", "\0", "out/\0", "../\0", "/\0", ".", "./", "a/", "a//b", "a/.", "./a", "", "/" * 5000,
    "/".join(["x"] * 5000), "/".join([".."] * 5000), "~/x", "~root/x", "$HOME/x", "%2e%2e/x", "..\\x",
    "C:\\x", "C:/x", "\\\\host\\x", "file:///etc/passwd", "\ud800", "\udcff", "a\nb", "\u202e", "．．/x",
    "x" * 100_000, "/etc/passwd\0.py", "../secret",
]  # fmt: skip


@pytest.mark.parametrize("ask", [read_bytes, read_text, file_digest, listing], ids=lambda ask: ask.__name__)
def test_a_hostile_path_reads_nothing_outside(ask: Query[[str], object], place: Path) -> None:
    root = place / "root"
    (place / "deeper").mkdir()
    root.mkdir()
    os.chdir(root)
    for secret in (place / "secret", place / "deeper" / "secret"):
        secret.write_text("secret")
    (root / "out").symlink_to("..")
    (root / "to-secret").symlink_to("../secret")
    (root / "chain").symlink_to("to-secret")
    (root / "absolute").symlink_to(place / "secret")
    with Engine(None, root=root) as db:
        for path in HOSTILE:
            if ask is listing and path == "":
                continue  # the root itself
            with pytest.raises(FileError) as caught:
                db.get(ask, path)
            outside = path.startswith("/") or posixpath.normpath(path).split("/")[0] == ".."
            if outside or path in ("out", "to-secret", "chain", "absolute", "out/secret"):
                assert caught.value.kind == "outside root", path
                assert isinstance(caught.value, OutsideRoot)
            assert str(caught.value).isprintable() or "\n" in str(caught.value)
            assert "\x1b" not in str(caught.value)
            assert "\u202e" not in str(caught.value)


def test_a_link_out_of_the_root_has_no_kind_of_its_own(place: Path, trusting: None) -> None:
    root = place / "root"
    root.mkdir()
    (place / "secret").write_text("secret")
    (root / "link").symlink_to("../secret")
    (root / "up").symlink_to("..")
    with Engine(None, root=root) as db:
        assert db.get(kind, "link") == db.get(kind, "up/secret") == "outside root"
        with pytest.raises(OutsideRoot):
            db.get(exists, "link")
        (root / "inside").write_text("inside")
        (root / "link").unlink()
        (root / "link").symlink_to("inside")
        db.sync()
        assert db.get(exists, "link")
        assert db.get(read_text, "link") == "inside"


def test_a_link_swapped_between_check_and_use_leads_nowhere(place: Path) -> None:
    root = place / "root"
    root.mkdir()
    os.chdir(root)
    for directory, text in ((place / "outside", "secret"), (root / "inside", "harmless")):
        directory.mkdir()
        (directory / "f").write_text(text)
    (root / "link").symlink_to("inside")
    script = (
        "import os\n"
        "for i in range(10_000):\n"
        "    os.symlink('../outside' if i % 2 else 'inside', 'new')\n"
        "    os.replace('new', 'link')\n"
    )
    swapper = subprocess.Popen([sys.executable, "-c", script], cwd=root)
    seen = {"harmless": 0, "outside root": 0}
    while swapper.poll() is None:
        with suppress(Transient):
            try:
                seen[read_text("link/f")] += 1
            except OutsideRoot as error:
                seen[error.kind] += 1
        with suppress(OutsideRoot, Transient):
            assert [entry.name for entry in listing("link")] == ["f"]
    assert swapper.returncode == 0
    assert min(seen.values()) > 10, seen


def test_a_root_that_is_a_link_works(place: Path) -> None:
    (place / "real").mkdir()
    (place / "real" / "a").write_text("a")
    (place / "root").symlink_to("real")
    with Engine(None, root=place / "root") as db:
        assert db.get(read_text, "a") == "a"
        assert db.get(files_below) == ("a",)
    with Engine(None, root="/") as db:
        assert db.get(read_text, f"{place}/real/a"[1:]) == "a"


def test_without_proc_the_place_of_an_open_file_is_checked_by_its_identity(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = place / "root"
    root.mkdir()
    monkeypatch.chdir(root)
    (root / "a").write_text("a")
    (place / "secret").write_text("secret")
    (root / "link").symlink_to("../secret")

    def no_proc(path: object) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "readlink", no_proc)
    monkeypatch.setattr(files, "_FIND", None)
    assert read_text("a") == "a"
    assert kind("a") == "file"
    assert kind("nothing") == "missing"
    # realpath needs readlink to see links; it is what the check rests on then
    monkeypatch.setattr(os.path, "realpath", lambda path: str(Path(path).parent.parent / "secret"))
    with pytest.raises(OutsideRoot):
        read_text("link")
    with pytest.raises(ChangedWhileRead):
        read_text("a")


# -- content -------------------------------------------------------------------------------------


def test_text_is_utf_8_without_its_mark_and_with_its_newlines(place: Path) -> None:
    Path("a").write_bytes(b"\xef\xbb\xbf1\r\n2\r3\n\xe2\x80\xa84\x00")
    assert read_text("a") == "1\r\n2\r3\n\u20284\x00"
    Path("b").write_bytes("ÿ".encode("latin-1"))
    with pytest.raises(NotText) as caught:
        read_text("b")
    assert caught.value.kind == "not text"
    assert read_bytes("b") == b"\xff"


def test_the_limit_counts_bytes_read_not_what_the_file_claims(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir("/proc/self")
    assert os.stat("status").st_size == 0
    assert read_bytes("status").startswith(b"Name:")
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 100)
    with pytest.raises(FileTooLarge):
        read_bytes("status")


@pytest.mark.parametrize("name", ["zero", "urandom", "null"])
def test_a_device_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/dev")
    for ask in (read_bytes, file_digest):
        assert answer(lambda ask=ask: ask(name)) == ("device",)  # type: ignore[misc]


def test_a_limit_is_met_exactly(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 3 * files.CHUNK_BYTES)
    for size in (0, 1, 4095, 4096, 4097, files.CHUNK_BYTES, 3 * files.CHUNK_BYTES):
        Path("a").write_bytes(os.urandom(size))
        assert read_bytes("a") == Path("a").read_bytes()
        assert file_digest("a") == blake3(Path("a").read_bytes()).digest()
    Path("a").write_bytes(bytes(3 * files.CHUNK_BYTES + 1))
    assert answer(lambda: read_bytes("a")) == ("too large",)
    assert len(file_digest("a")) == 32


def test_a_sparse_file_of_10_gb_is_refused_at_once(place: Path) -> None:
    with Engine(None, root=place) as db:
        with open("big", "wb") as file:
            file.truncate(10 * 2**30)
        started = time.thread_time()
        with pytest.raises(FileTooLarge):
            db.get(read_bytes, "big")
        assert db.get(kind, "big") == "file"
        assert time.thread_time() - started < 0.5
        os.truncate("big", 3)
        db.sync()
        assert db.get(read_bytes, "big") == bytes(3)


def test_a_growing_file_is_read_to_an_end_or_not_at_all(place: Path) -> None:
    done = threading.Event()

    def grow() -> None:
        with open("log", "ab", buffering=0) as log:
            while not done.is_set():
                log.write(b"line\n" * 100)

    Path("log").touch()
    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(50):
            with suppress(ChangedWhileRead, FileTooLarge):
                assert len(read_bytes("log")) % 5 == 0
    finally:
        done.set()
        writer.join()


@pytest.mark.parametrize("by_rename", [False, True])
def test_what_is_kept_of_a_file_that_is_rewritten_all_the_time_is_right_in_the_end(
    by_rename: bool, place: Path
) -> None:
    done = threading.Event()
    Path("a").write_bytes(b"0" * 20_000)

    def rewrite() -> None:
        number = 0
        while not done.is_set():
            number += 1
            content = b"%d" % (number % 10) * 20_000
            with open("new" if by_rename else "a", "wb") as file:
                file.write(content[:10_000])
                file.flush()
                file.write(content[10_000:])
            if by_rename:
                os.replace("new", "a")

    writer = threading.Thread(target=rewrite)
    with Engine(None, root=place) as db:
        writer.start()
        try:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                db.sync()
                try:
                    content = db.get(read_bytes, "a")
                except Transient:
                    continue
                assert not by_rename or content == content[:1] * 20_000, "torn"
        finally:
            done.set()
            writer.join()
        db.sync()
        assert db.get(read_bytes, "a") == Path("a").read_bytes()


# -- stamps --------------------------------------------------------------------------------------


def same_size(path: Path) -> None:
    path.write_text("2")


def same_size_and_time(path: Path) -> None:
    before = path.stat()
    path.write_text("2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def another_file_of_that_time(path: Path) -> None:
    before = path.stat()
    Path("other").write_text("2")
    os.utime("other", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace("other", path)


def copied_with_its_times(path: Path) -> None:
    Path("other").write_text("2")
    shutil.copystat(path, "other")
    shutil.copy2("other", path)


def from_1970(path: Path) -> None:
    path.write_text("2")
    os.utime(path, (0, 0))


def from_2100(path: Path) -> None:
    path.write_text("2")
    os.utime(path, (4102444800, 4102444800))


@pytest.mark.parametrize(
    "change",
    [same_size, same_size_and_time, another_file_of_that_time, copied_with_its_times, from_1970, from_2100],
)
def test_a_change_that_hides_itself_is_noticed(
    change: Callable[[Path], None], place: Path, trusting: None
) -> None:
    path = Path("a")
    path.write_text("1")
    with Engine(None, root=place) as db:
        assert db.get(read_text, "a") == "1"
        time.sleep(0.02)  # older kernels take file times from a clock that ticks every 4 to 10 ms
        change(path)
        db.sync()
        assert db.get(read_text, "a") == "2"


def coarse(monkeypatch: pytest.MonkeyPatch, tick_ns: int) -> None:
    """Let file times come from a clock with that tick, and inodes tell nothing."""
    exact = stat.record_of

    def rounded(state: os.stat_result) -> bytes:
        return exact(
            SimpleNamespace(  # type: ignore[arg-type]
                st_mode=state.st_mode,
                st_mtime_ns=state.st_mtime_ns // tick_ns * tick_ns,
                st_ctime_ns=state.st_ctime_ns // tick_ns * tick_ns,
                st_size=state.st_size,
                st_ino=1,
            )
        )

    monkeypatch.setattr(stat, "record_of", rounded)
    monkeypatch.setattr(files, "record_of", rounded)


@query
def shouted(path: str) -> str:
    return read_text(path).upper()


def stale_answers(place: Path, rounds: int) -> int:
    stale = 0
    with Engine(None, root=place) as db:
        for number in range(rounds):
            Path("a").write_text(f"{number:04}")
            db.sync()
            stale += db.get(shouted, "a") != f"{number:04}"
    return stale


@pytest.mark.parametrize("tick_ns", [1_000_000_000, 2_000_000_000])
def test_a_coarse_clock_hides_no_write(tick_ns: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coarse(monkeypatch, tick_ns)
    assert stale_answers(place, 1000) == 0


def test_without_the_racy_rule_a_coarse_clock_would_hide_writes(
    place: Path, monkeypatch: pytest.MonkeyPatch, trusting: None
) -> None:
    coarse(monkeypatch, 2_000_000_000)
    assert stale_answers(place, 100) > 50


def test_a_stamp_is_believed_once_its_times_are_out_of_reach(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("a").write_text("x")
    stamp, now = stat.file_stamp("a"), time.time_ns()
    day = 86_400_000_000_000
    for offset, believed in {
        0: False,
        1_900_000_000: False,
        2_100_000_000: True,
        day: True,
        -1_900_000_000: False,  # the file's clock is ahead of ours
        -day: True,  # our clock jumped back: a write now would get times of now
        400 * day: True,
    }.items():
        monkeypatch.setattr(time, "time_ns", lambda offset=offset: now + offset)
        assert stat.settled(stamp) is believed, offset


def test_a_stamp_never_raises_and_covers_a_link_and_its_target(place: Path) -> None:
    for path in HOSTILE:
        assert isinstance(stat.file_stamp(path), bytes)
        stat.settled(stat.file_stamp(path))
    Path("target").write_text("1")
    Path("link").symlink_to("target")
    before = stat.file_stamp("link")
    Path("target").write_text("12")
    assert stat.file_stamp("link") != before
    assert stat.settled(stat.file_stamp("missing"))
    os.utime("target", ns=(-1, -1))
    assert isinstance(stat.file_stamp("link"), bytes)


def test_trouble_with_a_stamp_is_never_believed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(path: object) -> os.stat_result:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patched:
        patched.setattr(os, "lstat", failing)
        stamp = stat.file_stamp("a")
    assert not stat.settled(stamp)


def test_who_may_not_read_a_file_does_not_answer_for_who_may(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    Path("a").write_text("x")
    Path("a").chmod(0o600)
    mine = stat.file_stamp("a")
    with without_privileges():
        assert stat.file_stamp("a") != mine
    Path("a").chmod(0o644)
    mine = stat.file_stamp("a")
    with without_privileges():
        assert stat.file_stamp("a") == mine


def test_every_file_type_has_a_word() -> None:
    for mode in (stat_module.S_IFREG, stat_module.S_IFCHR, stat_module.S_IFLNK, 0):
        assert stat.kind_of(mode | 0o644) in ("file", "device", "symlink")


# -- in an engine --------------------------------------------------------------------------------


@query
def lines(path: str) -> int:
    return read_text(path).count("\n")


@query
def first_that_exists(*paths: str) -> str | None:
    return next((path for path in paths if exists(path)), None)


@query
def size_or_none(path: str) -> int | None:
    try:
        return len(read_bytes(path))
    except FileMissing:
        return None


def test_a_file_that_appears_runs_those_who_missed_it(place: Path) -> None:
    Path("b").write_text("b")
    with Engine(None, root=place) as db:
        assert db.get(size_or_none, "a") is None
        assert db.get(first_that_exists, "a", "b") == "b"
        before = db.counts()
        assert db.sync() == 0
        assert db.get(size_or_none, "a") is None
        assert (db.counts() - before).executed == 0
        Path("a").write_text("1")
        assert db.sync() == 2
        assert db.get(size_or_none, "a") == 1
        assert db.get(first_that_exists, "a", "b") == "a"
        assert (db.counts() - before).executed == 2
        Path("a").unlink()
        db.sync()
        assert db.get(size_or_none, "a") is None


def test_a_touched_file_runs_nothing(place: Path) -> None:
    Path("a").write_text("1\n2\n")
    with Engine(None, root=place) as db:
        assert db.get(lines, "a") == 2
        touched = db.get(stat_stamp, "a")
        before = db.counts()
        os.utime("a", (1, 1))
        assert db.sync() == 1, "the stamp as a value differs, the content does not"
        assert db.get(lines, "a") == 2
        assert (db.counts() - before).executed == 0
        assert db.get(stat_stamp, "a") != touched


def test_a_restart_reads_no_unchanged_file(place: Path, trusting: None) -> None:
    (place / "src").mkdir()
    for number in range(20):
        (place / "src" / f"{number}").write_text("x\n" * number)
    with Engine(place / ".engine", root=place / "src") as db:
        assert [db.get(lines, f"{number}") for number in range(20)] == list(range(20))
    (place / "src" / "7").write_text("")
    with Engine(place / ".engine", root=place / "src") as db:
        assert [db.get(lines, f"{number}") for number in range(20)] == [
            0 if number == 7 else number for number in range(20)
        ]
        assert db.counts().read <= 2, "once to compare, and once more if the query wants the content"
        assert db.counts().executed == 1


def test_an_unsaved_buffer_beats_the_disk(place: Path) -> None:
    Path("a").write_text("1\n")
    with Engine(None, root=place) as db:
        assert db.get(lines, "a") == 1
        db.set(read_text.key("a"), "1\n2\n")
        assert db.get(lines, "a") == 2
        db.reset(read_text.key("a"))
        assert db.get(lines, "a") == 1
