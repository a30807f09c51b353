"""Files: content, kind, existence, stamp and digest of a path below the root, as observed inputs.

Invariants
    F1  A path has one spelling (`canonical_path`): any other raises, so that one file is one key.
    F2  Nothing outside the root is read. What counts is where the opened descriptor is, not the text of
        the path: a link that is swapped between check and use leads nowhere.
    F3  Only regular files are opened, without waiting: a FIFO or a device never blocks a build.
    F4  What is wrong with a path is an answer, a `FileError` that holds until the path changes. Trouble of
        the machine (EIO, EMFILE, ...) stays an OSError: transient, asked again.
    F5  A read that the file changed under is thrown away (`ChangedWhileRead`).

Texts are UTF-8; a byte order mark is dropped, newlines stay as they are. Names that are not UTF-8 are
`str` with surrogate escapes, as everywhere in Python. Contents are not stored, only their fingerprints.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from typing import ClassVar

from blake3 import blake3

from engine import ChangedWhileRead, EngineError, input, root
from engine.rules.stat import ANSWERS, file_size, file_stamp, file_stamps, kind_of, record_of, settled

MAX_FILE_BYTES = 64 * 2**20  # far above any source; a value lives in memory as a whole
MAX_DIGEST_BYTES = 64 * 2**30  # /proc/kcore claims 128 TiB; 64 GiB take two minutes
CHUNK_BYTES = 2**20  # what a digest holds in memory at a time

# O_NONBLOCK: opening a FIFO would wait for a writer. O_NOCTTY: a terminal would take over the process.
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
# O_PATH finds a file without opening it: no permission to read needed, no effect on a device. Linux only.
_FIND: int | None = getattr(os, "O_PATH", None)

_HINTS = {
    "missing": "It is read when it appears. Where it may be missing, ask exists(path) first.",
    "directory": "Name a file. What is in a directory is asked with listing(path) or glob(pattern).",
    "not a string": "Say str(path), or engine.rules.files.canonical_path(path): one file is one key.",
    "not a canonical path": "Pass it through engine.rules.files.canonical_path: one file is one key.",
    "outside root": "Nothing outside the root is read: the engine's, or without one the working directory.",
    "not text": "Read it with read_bytes, or save it as UTF-8.",
    "too large": "64 MiB are read at most. If only its identity matters, use file_digest: up to 64 GiB.",
    "unreadable": "Give this user the permission to read it, or let .gitignore name it.",
}


class FileError(EngineError):
    """The path is not what was asked for. `kind` says what it is instead; `path` is the path asked for.

    Kinds: "missing", "dangling link", "directory", "not a directory", "fifo", "socket", "device",
    "unreadable", "too large", "link loop", "name too long", "bad name", "not text", "outside root",
    "not a canonical path", "not a string", "too deep".
    """

    headline = "this path is not what the query needs"
    exit_code: ClassVar[int] = 1  # a query failed
    is_answer: ClassVar[bool] = True

    def __init__(self, path: str, kind: str) -> None:
        fields = {"path": path, "it_is": kind}
        if kind == "not a canonical path" and path[:1] != "/":
            fields["write"] = canonical_path(path) or '"", the root'
        super().__init__(hint=_HINTS.get(kind), **fields)
        self.args = (path, kind)  # what copy and pickle call the class with
        self.path = path
        self.kind = kind


class FileMissing(FileError):
    """There is nothing at the path. Its readers run again when something appears."""

    headline = "there is no such file"


class FileTooLarge(FileError):
    """More bytes than `MAX_FILE_BYTES` (`MAX_DIGEST_BYTES` for a digest)."""

    headline = "this file is too large to be read"


class NotText(FileError):
    """The file is not UTF-8."""

    headline = "this file is not a text"


class OutsideRoot(FileError):
    """The path, or where its links lead, is not below the root. Absolute paths are refused as well:
    a key has to mean the same on every machine."""

    headline = "this path leads out of the engine's root"


def place_of(path: str) -> str | None:
    """The place of an input that looks at a path: the path, or None where no change on disk can matter.

    That is so for paths whose answer is an error by itself: not canonical, or no name of a file.
    """
    try:
        canonical = not path or (path[0] not in "/." and posixpath.normpath(path) == path)
        dotted = path[:1] == "." and canonical_path(path) == path
        return path if (canonical or dotted) and b"\0" not in os.fsencode(path) else None
    except (FileError, ValueError, TypeError):  # also: characters that no file name can hold; not a text
        return None


def bytes_as_stamped(stamp: bytes, path: str) -> tuple[bytes] | None:
    """The content of a file that has had this stamp until after it was read; None: look more closely.

    The stamp is that of the path, and of the descriptor when all is read, so the content is what the path
    named. Half the calls of the system that it takes to find out what is there.
    """
    size = file_size(stamp)
    if not 0 <= size < CHUNK_BYTES or size > MAX_FILE_BYTES:
        return None
    try:
        full = full_path(path)
        descriptor = os.open(full, READ | os.O_NOFOLLOW)
        try:
            data = os.read(descriptor, size + 1)
            held = len(data) == size and record_of(os.fstat(descriptor)) == stamp
            return (data,) if held and _is_inside(descriptor, full) else None
        finally:
            os.close(descriptor)
    except (OSError, ValueError, FileError):
        return None  # met again where it is told what it means


def text_as_stamped(stamp: bytes, path: str) -> tuple[str] | None:
    """As `bytes_as_stamped`, for a text."""
    read = bytes_as_stamped(stamp, path)
    try:
        return None if read is None else (read[0].decode("utf-8-sig"),)
    except UnicodeDecodeError:
        return None  # as above


@input(
    stamp=file_stamp,
    stamps=file_stamps,
    as_stamped=bytes_as_stamped,
    settled=settled,
    place=place_of,
    persist=False,
)
def read_bytes(path: str) -> bytes:
    """The content of a file of at most `MAX_FILE_BYTES`."""
    return _read(path)


@input(
    stamp=file_stamp,
    stamps=file_stamps,
    as_stamped=text_as_stamped,
    settled=settled,
    place=place_of,
    persist=False,
)
def read_text(path: str) -> str:
    """The content of a UTF-8 file, without a byte order mark, newlines as they are."""
    try:
        return _read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotText(path, "not text") from error


@input(stamp=file_stamp, stamps=file_stamps, settled=settled, place=place_of)
def file_digest(path: str) -> bytes:
    """The BLAKE3 digest (32 bytes) of a file of up to `MAX_DIGEST_BYTES`, read piece by piece."""
    digest = blake3()
    for piece in _pieces(path, MAX_DIGEST_BYTES):
        digest.update(piece)
    return digest.digest()


@input(stamp=file_stamp, stamps=file_stamps, place=place_of)
def exists(path: str) -> bool:
    """Whether something can be reached by the path. False for a dangling link.

    Raises FileError where that cannot be known: "unreadable" directories, links "outside root".
    """
    found = _kind(path)
    if found in ("unreadable", "outside root"):
        raise _error(path, found)
    return found not in ("missing", "dangling link", "link loop", "name too long", "bad name")


@input(stamp=file_stamp, stamps=file_stamps, place=place_of)
def kind(path: str) -> str:
    """What a path reaches, links followed: "file", "directory", "missing", or another kind of `FileError`."""
    return _kind(path)


@input(stamp=file_stamp, stamps=file_stamps, settled=settled, place=place_of)
def stat_stamp(path: str) -> bytes:
    """A value that differs whenever the file was touched. For rules that must not wait for the content.

    It holds times and inodes, so it is another one on another machine, and what is derived from it too.
    """
    full_path(path)
    return file_stamp(path)


def canonical_path(path: str | os.PathLike[str]) -> str:
    """The one spelling of a path that queries take: "./a//b.py" becomes "a/b.py", the root is "".

    An absolute path below the root, as that was given or without links, becomes relative to it. `a/../b` is
    taken to be `b`, without a look at whether `a` is a link. Raises OutsideRoot for any other.
    """
    text = os.fspath(path)
    normal = posixpath.normpath(text)
    if normal.startswith("/"):
        base = _base_of(normal)
        if base is None:
            raise OutsideRoot(text, "outside root")
        normal = normal[len(base) + 1 :]
    if normal == ".." or normal.startswith("../"):
        raise OutsideRoot(text, "outside root")
    return "" if normal == "." else normal


def full_path(path: str) -> str:
    """The path of the operating system behind a canonical path; raises FileError for any other (F1)."""
    if path.__class__ is not str:  # a pathlib.Path, most likely: it would be another key
        text = os.fsdecode(path) if isinstance(path, (bytes, os.PathLike)) else repr(path)
        raise FileError(text, "not a string")
    if path and (path[0] in "/." or posixpath.normpath(path) != path):
        if path.startswith("/"):
            canonical_path(path)  # raises where it is not below the root
            raise FileError(path, "not a canonical path")
        if canonical_path(path) != path:
            raise FileError(path, "not a canonical path")
    return f"{root()}/{path}"


def open_below_root(path: str, wanted: str) -> tuple[int, os.stat_result]:
    """A descriptor of the file or directory (`wanted`) that a path reaches, and what it says of it.

    Raises FileError (F2, F3).
    """
    full = full_path(path)
    try:
        if kind_of(os.stat(full).st_mode) == wanted:  # or it is not even opened: a device would notice
            descriptor = os.open(full, READ)
            try:
                state = os.fstat(descriptor)
                fits = kind_of(state.st_mode) == wanted and _is_inside(descriptor, full)
            except BaseException:
                os.close(descriptor)
                raise
            if fits:
                return descriptor, state
            os.close(descriptor)
    except (OSError, ValueError) as error:
        raise _error(path, _answer(full, error)) from error
    found = _kind(path)
    if found == wanted:
        raise ChangedWhileRead(f"{path!a} was replaced while it was opened")
    raise _error(path, found if wanted == "file" or found == "outside root" else "not a directory")


def _read(path: str) -> bytes:
    return b"".join(_pieces(path, MAX_FILE_BYTES))


def _pieces(path: str, limit: int) -> Iterator[bytes]:
    """The content of a file. The limit counts bytes read: files in /proc claim to have none."""
    descriptor, before = open_below_root(path, "file")
    try:
        size = before.st_size
        if size > limit:
            raise FileTooLarge(path, "too large")
        most = min(max(size, 4096) + 1, CHUNK_BYTES)  # a small file needs no large buffer
        length = 0
        while piece := os.read(descriptor, most):
            length += len(piece)
            if length > limit:
                raise FileTooLarge(path, "too large")
            yield piece
            if length == size and len(piece) < most:
                break  # all that it said it has, and there was room for more: no read to see its end
        after = os.fstat(descriptor)
        if (after.st_mtime_ns, after.st_ctime_ns, after.st_size) != (
            before.st_mtime_ns, before.st_ctime_ns, size,
        ):  # fmt: skip
            raise ChangedWhileRead(f"{path!a} changed while it was read")
    finally:
        os.close(descriptor)


def _kind(path: str) -> str:
    full = full_path(path)
    try:
        if _FIND is None:
            state, inside = os.stat(full), _base_of(os.path.realpath(full)) is not None
        else:
            descriptor = os.open(full, _FIND | os.O_CLOEXEC)
            try:
                state, inside = os.fstat(descriptor), _is_inside(descriptor, full)
            finally:
                os.close(descriptor)
    except (OSError, ValueError) as error:
        return _answer(full, error)
    return kind_of(state.st_mode) if inside else "outside root"


def _is_inside(descriptor: int, full: str) -> bool:
    """Whether an open file lies below the root, wherever links led to it."""
    try:
        real = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:  # no /proc: another system, or a bare container
        real = os.path.realpath(full)
        if not os.path.samestat(os.stat(real), os.fstat(descriptor)):
            raise ChangedWhileRead(f"{full!a} was replaced while it was opened") from None
    return real == full or _base_of(real) is not None  # no link led to most of them


def _base_of(path: str) -> str | None:
    """The root, as it was given or else without links, of an absolute path that is it or lies below it."""
    base = f"{root()}".rstrip("/")
    if path == base or path.startswith(base + "/"):
        return base  # where the path has no links, this has none either
    base = os.path.realpath(base or "/").rstrip("/")
    return base if path == base or path.startswith(base + "/") else None


def _answer(full: str, error: OSError | ValueError) -> str:
    """What an error of the operating system says about the path. Trouble of the machine is raised (F4)."""
    if not isinstance(error, OSError):
        return "bad name"  # a NUL, or characters that no file name can hold
    answer = ANSWERS.get(error.errno or 0)
    if answer is None:
        raise error
    return "dangling link" if answer == "missing" and os.path.islink(full) else answer


_CLASSES: dict[str, type[FileError]] = {
    "missing": FileMissing,
    "dangling link": FileMissing,
    "too large": FileTooLarge,
    "outside root": OutsideRoot,
}


def _error(path: str, kind: str) -> FileError:
    return _CLASSES.get(kind, FileError)(path, kind)
