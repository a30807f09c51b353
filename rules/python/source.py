"""Source: the text of a Python file, decoded as Python itself would.

Invariants
    S1  `files.read_text` is asked first, so that an editor's unsaved buffer beats the disk.
    S2  Valid UTF-8 is taken as UTF-8. Other bytes are decoded by their coding cookie (PEP 263).
    S3  Text has no byte order mark and no line ends but "\\n", so that a line number means one line.
"""

from __future__ import annotations

import io
import tokenize

from engine.rules.files import NotText, read_bytes, read_text


def source(path: str) -> str:
    """The text of a Python file, for queries to call (the reads are recorded with them).

    Raises `FileError` where there is no such text to read, and `SyntaxError` for bytes that fit neither
    UTF-8 nor the encoding which the file declares.
    """
    try:
        text = read_text(path)
    except NotText:
        text = decode(read_bytes(path))
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.removeprefix("\ufeff")


def decode(data: bytes) -> str:
    """`data` as text, by its byte order mark or coding cookie; `SyntaxError` when that does not fit."""
    lines = io.BytesIO(data)
    encoding = "text"
    try:  # with the question for the cookie: newer Pythons try its codec there
        # Comments around the cookie are in the encoding that it names, and `tokenize` takes them for UTF-8.
        encoding, _ = tokenize.detect_encoding(
            lambda: lines.readline().decode("latin-1").encode("ascii", "replace")
        )
        return data.decode(encoding)
    except (UnicodeError, LookupError) as error:
        raise SyntaxError(f"the bytes are not {encoding}: {error}") from error
