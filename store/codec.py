"""Bytes of results: what a query returned, as its return annotation says it.

Invariants
    V1  The bytes are those of the value that readers see: `freeze(v)` gives `(b, seen)` with
        `encode(seen) == b`, and `decode(b)` gives the same as `seen` in every later process.
    V2  Equal values have equal bytes in every process, whatever the hash seed or the order in a dict or set.
    V3  A value that its annotation does not admit is refused when it is returned, never when it is read.
    V4  `decode` raises nothing but `DamagedValue`, imports nothing that the bytes name, and unpickles only
        with `pickled=True`.

Two encodings. *Native* is msgspec with the annotation as type: fast, but it loses some things (a UTC offset,
fields with a leading underscore) and knows no union of classes, no int beyond 64 bits, no undecodable file
name. So it is used where a value is seen to come back equal. All else is *tagged*: the exact form of
`canonical`, behind a marker that no msgpack starts with, and checked against the annotation on both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import msgspec
from blake3 import blake3

from engine.errors import UnstorableValue, WrongValue
from engine.store.canonical import Unpackable, known, on_fresh_stack, pack, unpack
from engine.store.fits import Misfit, kind_of, where_inside
from engine.store.once import read_once as read_once  # for the core, which knows no more of the store
from engine.store.records import is_in_c as is_in_c  # for the core, as `read_once`
from engine.store.shape import Reader, without_extras

MAX_VALUE_BYTES = 512 << 20  # half of what SQLite takes (10**9), so that one row and its journal still fit
FINGERPRINT_BYTES = 16  # 128 bits: among 10**12 values the chance of one collision is 10**-15
PICKLE_PROTOCOL = 5  # fixed, so that a newer Python does not change the bytes

_TAGGED = b"\xc1\x01"  # 0xc1 is the one byte that msgpack never uses
_PICKLED = b"\xc1\x02"
_encode_scalar = msgspec.msgpack.Encoder().encode


class DamagedValue(ValueError):
    """These bytes are not a value of this query. Where a class is not loaded, the cause is `UnknownClass`."""


def fingerprint(data: bytes) -> bytes:
    """Equal for equal bytes only: what early cutoff compares, on every machine alike."""
    return blake3(data).digest(FINGERPRINT_BYTES)


def leaves_open(annotation: Any, *, checked: bool) -> bool:
    """Whether instances of classes that it does not name may be in a value with this annotation.

    `checked`: the value is stored as the annotation says it. Else it may be of a subclass.
    """
    reader = Reader()
    shape = reader.shape(without_extras(annotation))
    return reader.is_open or (not checked and bool(reader.classes or shape.why_not))


class ValueCodec:
    """Encodes and decodes the values of one query; made once, from the return annotation.

    `shareable`: by its annotation a value is immutable all through, so one object serves all readers;
    otherwise decode one for each. `storable` is False when no value can have bytes; `why_not` says why.

    Readers see the annotated type: an int for a `float` becomes one, a `Sequence` is a list, a `Mapping` a
    dict in sorted order. Without an annotation (or with `Any`) values come back exactly, type for type.
    """

    __slots__ = (
        "_classes",
        "_decode_native",
        "_fit",
        "_freeze_native",
        "_pickled",
        "_scalars",
        "shareable",
        "storable",
        "why_not",
    )

    def __init__(self, annotation: Any, *, pickled: bool = False) -> None:
        annotation = without_extras(annotation)
        reader = Reader()
        shape = reader.shape(annotation)
        self.shareable = reader.shareable and not shape.why_not
        self.why_not = "" if pickled else shape.why_not
        self.storable = not self.why_not
        self._pickled = pickled
        self._fit = shape.fit
        self._scalars = shape.scalars
        self._classes = known if reader.is_open else reader.classes
        native = _native(annotation, reader.converts) if reader.is_native and not pickled else None
        self._freeze_native, self._decode_native = native or _NO_NATIVE

    @property
    def has_classes(self) -> bool:
        """Whether instances of a user's class may be in a value."""
        return bool(self._classes)

    def freeze(self, value: Any) -> tuple[bytes, Any]:
        """The bytes of `value`, and what readers see: the same as after a restart, and theirs alone.

        Raises `WrongValue` when the annotation does not admit the value, `UnstorableValue` when it has no
        bytes. Both name the place inside the value.
        """
        if type(value) in self._scalars and not self._pickled:
            try:
                data = _encode_scalar(value)
            except (UnicodeEncodeError, OverflowError):
                pass  # a lone surrogate or an int beyond 64 bits: the tagged encoding says it
            else:
                if self._decode_native is None:
                    data = _TAGGED + data
                if len(data) > MAX_VALUE_BYTES:
                    _within_limit(data)
                return data, value
        try:
            return self._freeze_quick(value) or self._freeze_cold(value)
        except RecursionError:
            try:
                return on_fresh_stack(lambda: self._freeze_quick(value) or self._freeze_cold(value))
            except RecursionError as error:
                raise UnstorableValue(reason="it is nested too deeply, or contains itself") from error

    def encode(self, value: Any) -> bytes:
        """The bytes of `value`; as `freeze`, for who needs nothing else."""
        return self.freeze(value)[0]

    def decode(self, data: bytes) -> Any:
        """A new value from the bytes. Raises `DamagedValue` for all that `freeze` has not written."""
        if self._decode_native is not None:
            try:
                return self._decode_native(data)
            except MemoryError:
                raise
            except Exception:  # tagged, or damaged: the cold path tells which
                pass
        try:
            try:
                return self._decode_cold(data)
            except RecursionError:
                return on_fresh_stack(lambda: self._decode_cold(data))
        except (DamagedValue, MemoryError):
            raise
        except Misfit as error:
            raise DamagedValue(f"stored value{error.path}: expected {error.expected}") from error
        except Exception as error:  # a class's own __post_init__, __hash__ or pickle can raise anything
            raise DamagedValue(f"{type(error).__name__}: {error}") from error

    def _freeze_quick(self, value: Any) -> tuple[bytes, Any] | None:
        try:
            return None if self._freeze_native is None else self._freeze_native(value)
        except (MemoryError, RecursionError, UnstorableValue):
            raise
        except Exception:  # whatever it was: the cold path finds out by the annotation, and says where
            return None

    def _freeze_cold(self, value: Any) -> tuple[bytes, Any]:
        if self._pickled:
            return self._freeze_pickled(value)
        try:
            fitted = self._fit(value)
            if self._freeze_native is not None:
                try:
                    frozen = self._freeze_native(fitted)
                except (UnicodeEncodeError, OverflowError):
                    frozen = None  # as for scalars: the tagged encoding says it
                if frozen is not None:
                    return frozen
            data = _within_limit(_TAGGED + pack(fitted))
            return data, unpack(memoryview(data)[len(_TAGGED) :], self._classes)
        except Misfit as error:
            raise error.for_people() from None
        except Unpackable as error:
            raise UnstorableValue(
                **where_inside(error.path), type=error.found, reason=error.args[0]
            ) from None
        except msgspec.ValidationError as error:  # it fits, but not the msgspec.Meta of some field
            raise WrongValue(reason=error) from error
        except (RecursionError, MemoryError, UnstorableValue):
            raise
        except Exception as error:  # a class's own __hash__, __post_init__ or property can raise anything
            raise UnstorableValue(reason=f"{type(error).__name__}: {error}") from error

    def _freeze_pickled(self, value: Any) -> tuple[bytes, Any]:
        import pickle  # few queries need it

        try:
            self._fit(value)
        except Misfit as error:
            if error.storable:  # what has no bytes of ours is what pickle was asked for
                raise error.for_people() from None
        try:
            data = _within_limit(_PICKLED + pickle.dumps(value, PICKLE_PROTOCOL))
            return data, pickle.loads(data[len(_PICKLED) :])
        except (RecursionError, MemoryError, UnstorableValue):
            raise
        except Exception as error:  # pickle runs the code of the classes
            raise UnstorableValue(type=kind_of(value), reason=error) from error

    def _decode_cold(self, data: bytes) -> Any:
        marker = data[:2]
        if self._pickled:
            if marker != _PICKLED:
                raise DamagedValue("not a pickled value")
            import pickle

            return pickle.loads(memoryview(data)[len(_PICKLED) :])
        if marker == _TAGGED:
            return self._fit(unpack(memoryview(data)[len(_TAGGED) :], self._classes))
        if self._decode_native is None:
            raise DamagedValue("not a tagged value")
        return self._decode_native(data)


_Freeze = Callable[[Any], tuple[bytes, Any] | None]
_NO_NATIVE: tuple[_Freeze | None, Callable[[bytes], Any] | None] = (None, None)


def _native(annotation: Any, converts: bool) -> tuple[_Freeze, Callable[[bytes], Any]] | None:
    """Functions to freeze and to decode by msgspec, if it knows the annotation.

    Settling answers None when what comes back is not the value again. With `converts`, an equal value
    may still be encoded otherwise (1 for 1.0), which a second encoding shows.
    """
    try:
        decode = msgspec.msgpack.Decoder(annotation, dec_hook=_from_plain).decode
    except Exception:  # a union or a class that msgspec does not know, or names that it cannot resolve
        return None
    encode = msgspec.msgpack.Encoder(enc_hook=_to_plain, order="deterministic").encode

    def freeze(value: Any) -> tuple[bytes, Any] | None:
        data = encode(value)
        seen = decode(data)
        try:
            equal = (seen == value) is True  # `==` of a class may answer with an array or a proxy
        except RecursionError:
            raise
        except Exception:  # or raise anything: then nothing is proven, and the tagged encoding is used
            return None
        if not equal or (converts and encode(seen) != data):
            return None
        if len(data) > MAX_VALUE_BYTES:
            _within_limit(data)
        return data, seen

    return freeze, decode


def _to_plain(value: Any) -> Any:
    if isinstance(value, PurePath):
        return str(value)
    if type(value) is complex:
        return value.real, value.imag
    raise TypeError(f"no native bytes for {kind_of(value)}")


def _from_plain(kind: type, plain: Any) -> Any:
    return kind(*plain) if kind is complex else kind(plain)


def _within_limit(data: bytes) -> bytes:
    if len(data) > MAX_VALUE_BYTES:
        raise UnstorableValue(size=f"{len(data)} bytes", limit=f"{MAX_VALUE_BYTES} bytes")
    return data
