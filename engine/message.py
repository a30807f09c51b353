"""Message: what a user is told of an error: headline, fields, what to do. Which errors there are: `errors`.

Invariants
    E1  An `EngineError` renders without a traceback: a headline, aligned fields, a hint.
    E2  Names and texts from outside are escaped before they are shown (no control characters).

Exit codes: 0 fine; 1 a query failed or a check found a difference; 2 the request is wrong (unknown
query, bad arguments, bad module, bad configuration); 3 a bug in the engine; 73 the store cannot be
written; 75 the store is in use; 76 the store is of another format; 130 interrupted; 143 terminated.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_OK = 0
EXIT_QUERY_FAILED = 1
EXIT_BAD_REQUEST = 2
EXIT_BUG = 3
EXIT_CANNOT_WRITE = 73  # EX_CANTCREAT of sysexits.h
EXIT_IN_USE = 75  # EX_TEMPFAIL: try again later
EXIT_FORMAT = 76  # EX_PROTOCOL: another version wrote this
EXIT_INTERRUPTED = 130  # 128 + SIGINT


def escaped(text: object, limit: int = 2000) -> str:
    """`text` on one line with control, direction-changing and undecodable characters escaped."""
    shown = str(text)
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


class EngineError(Exception):
    """Base of all errors the engine raises on purpose.

    Attributes: `headline` (sentence), `fields` (name to text), `hint` (a remedy), `exit_code` (of commands).
    """

    headline: ClassVar[str] = "something went wrong"
    hint: str = ""
    exit_code: ClassVar[int] = EXIT_BAD_REQUEST
    is_answer: ClassVar[bool] = False  # of the world, and no mistake in code: kept without a traceback

    def __init_subclass__(cls) -> None:
        """What `help` says of a class: the headline, what it says of itself, and the remedy."""
        own = " ".join((cls.__doc__ or "").split())
        told = f"{cls.headline[:1].upper()}{cls.headline[1:]}."
        cls.__doc__ = "\n\n".join(filter(None, (told, own, cls.hint)))

    def __init__(self, *args: object, hint: str | None = None, **fields: object) -> None:
        super().__init__(*args)
        self.fields = {name.replace("_", " "): escaped(value) for name, value in fields.items()}
        if args:
            self.fields = {"": escaped(" ".join(map(str, args))), **self.fields}
        if hint is not None:
            self.hint = hint

    def __repr__(self) -> str:
        fields = (f"{name.replace(' ', '_')}={text!r}" for name, text in self.fields.items() if name)
        return f"{type(self).__name__}({', '.join([*map(repr, self.args), *fields])})"

    def __str__(self) -> str:
        width = max((len(name) for name in self.fields), default=0)
        lines = [self.headline]
        for name, text in self.fields.items():
            lines.append(f"  {text}" if not name else f"  {name + ':':<{width + 1}} {text}")
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)
