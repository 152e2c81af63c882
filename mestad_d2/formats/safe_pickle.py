"""Read pickles of numpy arrays and plain values, and nothing else.

A pickle is a program that may call any function and request any amount of memory. Python's slow unpickler runs it
here with the few instructions that data needs, on a file that is in memory already, so that no announced size can
reserve more memory than the file has bytes. Globals are replaced by harmless stand-ins; numpy never sees the
file's own state: arrays are built here, of plain number types, from bytes of exactly the right length.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mestad_d2.errors import UserError

PLAIN_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
# Only of single values: video names are keys of numpy's text type in UCF101-24's annotations.
TEXT_DTYPE = re.compile(r"[<>|=]?U[1-9][0-9]{0,3}")
# Most values of an array or nested list, shared parts counted each time: a constant plus a number per byte.
MAX_VALUES, MAX_VALUES_PER_BYTE = 1_000_000, 8
# Python's hash of an int below this is the int itself, so a file can't contain keys chosen to collide.
_HASH_MODULUS = 2**61 - 1


class ForbiddenGlobal(pickle.UnpicklingError):
    """The pickle contains something other than plain data."""


class _ArrayType:
    """Placeholder for ``numpy.ndarray``, which is never called."""


class _DType:
    """A number type, or the type of a text; structured and object types are refused."""

    def __init__(self, name: object = None, *_: object) -> None:
        name = name.decode("latin1") if isinstance(name, bytes) else name
        if not isinstance(name, str) or not (PLAIN_DTYPE.fullmatch(name) or TEXT_DTYPE.fullmatch(name)):
            raise ForbiddenGlobal(f"an array of type {name!r:.40}")
        self.dtype = np.dtype(name)

    def set_state(self, state: object) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array whose parts have not been assembled yet."""

    value: np.ndarray | None = None


class _Unpickler(pickle._Unpickler):
    """Unpickle arrays of numbers, numbers, text, bytes and containers only.

    The base class is the library's reference implementation in Python; the one in C checks neither the sizes
    that a file announces nor the depth of what it nests.
    """

    def __init__(self, content: bytes) -> None:
        file = io.BytesIO(content)
        super().__init__(file, encoding="latin1")
        self.remaining = lambda: len(content) - file.tell()
        # Total bytes that arrays and decoded text may have: a valid file contains each of them, and
        # old protocols turn it from text into bytes on the way.
        self.budget = 2 * len(content)
        self.max_values = MAX_VALUES + MAX_VALUES_PER_BYTE * len(content)

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a global.

        Raises:
            ForbiddenGlobal: any other name.
        """
        known = _GLOBALS.get((module, name))
        if known is None:
            raise ForbiddenGlobal(f"{module}.{name}"[:80])
        return known

    def spend(self, count: int) -> None:
        """Subtract ``count`` bytes from what the file may still create."""
        self.budget -= count
        if self.budget < 0:
            raise ForbiddenGlobal("more data than the file has bytes")

    def array(self, kind: object, shape: object, fortran: object, raw: object) -> np.ndarray:
        """An array of ``raw``, whose length has to fit exactly."""
        if not isinstance(kind, _DType) or not isinstance(shape, tuple):
            raise ForbiddenGlobal("an array without type and shape")
        if kind.dtype.kind == "U":
            raise ForbiddenGlobal("an array of text")
        if not all(type(side) is int and 0 <= side < 2**40 for side in shape) or len(shape) > 16:
            raise ForbiddenGlobal(f"an array of shape {shape!r:.40}")
        raw = self.as_bytes(raw)
        if math.prod(shape) * kind.dtype.itemsize != len(raw):
            raise pickle.UnpicklingError(f"{len(raw)} bytes for an array of shape {shape!r:.40}")
        self.spend(len(raw))
        return np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if fortran else "C")

    def as_bytes(self, raw: object) -> bytes:
        """Bytes as they are; Python 2 wrote them as strings, which encoding="latin1" keeps one to one."""
        if isinstance(raw, str):
            self.spend(len(raw))
            return raw.encode("latin1")
        if not isinstance(raw, bytes | bytearray):
            raise ForbiddenGlobal(f"an array of {type(raw).__name__}")
        return bytes(raw)

    def scalar(self, kind: object, raw: object) -> Any:
        """A numpy scalar as Python's own number or text."""
        if isinstance(kind, _DType) and kind.dtype.kind == "U":
            raw = self.as_bytes(raw)
            if len(raw) != kind.dtype.itemsize:
                raise pickle.UnpicklingError(f"{len(raw)} bytes for a text of {kind.dtype.itemsize}")
            self.spend(len(raw))
            return raw.decode("utf-32-be" if kind.dtype.byteorder == ">" else "utf-32-le").rstrip("\0")
        return self.array(kind, (), False, raw).item()

    def decoded(self, text: object, encoding: object = "latin1") -> bytes:
        """How older protocols write bytes."""
        if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
            raise ForbiddenGlobal(f"the codec {encoding!r:.40}")
        return self.as_bytes(text)

    # Instructions that differ from the base class.

    def load_reduce(self) -> None:
        args = self.stack.pop()
        function = self.stack.pop()
        if not callable(function) or not isinstance(args, tuple):
            raise ForbiddenGlobal("a call of something other than the parts of an array")
        self.append(function(self, *args))

    def load_build(self) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        if isinstance(built, _DType):
            built.set_state(state)
        elif isinstance(built, _Array) and isinstance(state, tuple) and len(state) == 5:
            built.value = self.array(state[2], state[1], state[3], state[4])
        else:
            raise ForbiddenGlobal(f"state of a {type(built).__name__}")

    def load_frame(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        if size > self.remaining():
            raise pickle.UnpicklingError("pickle data was truncated")
        self._unframer.load_frame(size)

    def load_bytearray8(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        content = self.read(size)
        if len(content) != size:
            raise pickle.UnpicklingError("pickle data was truncated")
        self.append(content)

    def load_memo(self) -> None:
        self._remember(int(self.readline()[:-1]))

    def load_long_binput(self) -> None:
        self._remember(int.from_bytes(self.read(4), "little"))

    def _remember(self, index: int) -> None:
        if index < 0:
            raise pickle.UnpicklingError(f"memo {index}")
        self.memo[index] = self.stack[-1]

    def load_dict(self) -> None:
        items = self.pop_mark()
        self._set_items(made := {}, items)
        self.append(made)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._set_items(self.stack[-1], items)

    @staticmethod
    def _set_items(target: object, items: list) -> None:
        if not isinstance(target, dict) or len(items) % 2:
            raise ForbiddenGlobal(f"items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_checked_key(key)] = value

    def load_append(self) -> None:
        value = self.stack.pop()
        self._extend([value])

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, values: list) -> None:
        if not isinstance(self.stack[-1], list):
            raise ForbiddenGlobal(f"values added to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(values)

    def finish(self, value: Any) -> Any:
        """Assemble arrays from their parts; refuse loops and sharing that unfolds to more than MAX_VALUES."""
        done: dict[int, tuple[Any, int]] = {}
        open_now: set[int] = set()

        def walk(value: Any) -> tuple[Any, int]:
            if isinstance(value, _Array):
                value = value if value.value is None else value.value
            if value is None or isinstance(value, str | bytes | bool | int | float):
                return value, 1
            if isinstance(value, np.ndarray):
                return value, value.size + 1
            if not isinstance(value, dict | list | tuple):
                raise ForbiddenGlobal(f"a {type(value).__name__.strip('_').lower()} where data is expected")
            if id(value) in done:
                return done[id(value)]
            if id(value) in open_now:
                raise ForbiddenGlobal("a container that holds itself")
            open_now.add(id(value))
            parts = [walk(v) for v in (value.values() if isinstance(value, dict) else value)]
            open_now.remove(id(value))
            total = 1 + sum(count for _, count in parts)
            if total > self.max_values:
                raise ForbiddenGlobal("shared parts that unfold into more values than the file can hold")
            if isinstance(value, dict):
                made: Any = type(value)(zip(value, (part for part, _ in parts), strict=True))
            else:
                made = type(value)(part for part, _ in parts)
            done[id(value)] = (made, total)
            return made, total

        return walk(value)[0]


def _checked_key(key: object) -> Any:
    """Check that a key is cheap to hash and can't be chosen to collide."""
    if type(key) is int and abs(key) >= _HASH_MODULUS:
        raise ForbiddenGlobal(f"a key of {key.bit_length()} bits")
    if isinstance(key, tuple):
        return tuple(_checked_key(part) if not isinstance(part, tuple) else _no_key(part) for part in key)
    return key if isinstance(key, str | bytes | bool | int | float | None) else _no_key(key)


def _no_key(key: object) -> Any:
    raise ForbiddenGlobal(f"a {type(key).__name__} as a key")


def _instructions() -> dict[int, Any]:
    """The base class's table without instructions that create objects, and with our own versions."""
    allowed = (
        "PROTO STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 "
        "FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES "
        "SHORT_BINBYTES BINBYTES8 EMPTY_LIST LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_DICT GET BINGET "
        "LONG_BINGET BINPUT MEMOIZE GLOBAL STACK_GLOBAL"
    )
    table = {getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]
             for name in allowed.split()}  # fmt: skip
    own = {
        "REDUCE": _Unpickler.load_reduce,
        "BUILD": _Unpickler.load_build,
        "FRAME": _Unpickler.load_frame,
        "BYTEARRAY8": _Unpickler.load_bytearray8,
        "PUT": _Unpickler.load_memo,
        "LONG_BINPUT": _Unpickler.load_long_binput,
        "DICT": _Unpickler.load_dict,
        "SETITEM": _Unpickler.load_setitem,
        "SETITEMS": _Unpickler.load_setitems,
        "APPEND": _Unpickler.load_append,
        "APPENDS": _Unpickler.load_appends,
    }
    refused = {ord(opcode.code): _refuse(opcode.name) for opcode in pickletools.opcodes}
    return {**refused, **table, **{getattr(pickle, name)[0]: function for name, function in own.items()}}


def _refuse(name: str) -> Callable[[_Unpickler], None]:
    def load(unpickler: _Unpickler) -> None:
        raise ForbiddenGlobal(f"the instruction {name}")

    return load


_Unpickler.dispatch = _instructions()


def _ordered(unpickler: _Unpickler, items: object = ()) -> OrderedDict:
    made: OrderedDict = OrderedDict()
    for item in items if isinstance(items, list | tuple) else ():
        if not isinstance(item, list | tuple):
            raise ForbiddenGlobal("an OrderedDict of something else than pairs")
        unpickler._set_items(made, list(item))
    return made


def _globals() -> dict[tuple[str, str], Any]:
    """Return the stand-ins of global names; each is called with the unpickler and the file's arguments."""
    known: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): _ArrayType,
        ("numpy", "dtype"): lambda unpickler, *args: _DType(*args),
        ("collections", "OrderedDict"): _ordered,
        ("_codecs", "encode"): _Unpickler.decoded,
        # How older protocols write b""; with an argument it could ask for any amount of memory.
        ("__builtin__", "bytes"): lambda unpickler: b"",
        ("builtins", "bytes"): lambda unpickler: b"",
    }
    for core in ("numpy.core", "numpy._core"):
        known[core + ".multiarray", "_reconstruct"] = lambda unpickler, *args: _Array()
        known[core + ".multiarray", "scalar"] = _Unpickler.scalar
        known[core + ".numeric", "_frombuffer"] = lambda unpickler, raw, kind, shape, order: unpickler.array(
            kind, shape, order == "F", raw
        )
    return known


_GLOBALS = _globals()


def load_arrays(path: str | Path) -> Any:
    """Read dicts, lists, tuples, text, bytes, numbers and numpy arrays from a pickle of Python 2 or 3.

    Takes about 20 microseconds an array. Arrays are read-only; numpy's scalars become Python's.

    Raises:
        ForbiddenGlobal: it contains anything else; no code of it was run.
        Exception: any error of a broken pickle, such as a ``RecursionError`` for deep nesting.
    """
    unpickler = _Unpickler(Path(path).read_bytes())
    value = unpickler.finish(unpickler.load())
    # Its parts refer to one another, so the file's content would stay until the next garbage collection.
    vars(unpickler).clear()
    return value


def read_arrays(path: str | Path) -> Any:
    """Read a pickle as ``load_arrays`` does, with errors for users.

    Raises:
        UserError: no such file, no pickle, or one that holds more than plain data.
    """
    try:
        return load_arrays(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    # A broken pickle can make the unpickler raise nearly anything.
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"{path}: no pickle of plain data ({reason}); write it anew with pickle and numpy"
        ) from error
