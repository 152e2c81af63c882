"""Reads pickles of numpy arrays without running what they ask for.

A pickle is a program: a global it names may be any function. Here only the names that arrays are made of
are known, and each stands for a harmless stand-in, so that not even numpy sees the file's state.
"""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

PLAIN_DTYPE = re.compile(r"[<>|=]?[biuf][1248]")


class ForbiddenGlobal(pickle.UnpicklingError):
    """The pickle names something that is no part of an array."""


class _DType:
    """A number type; structured, object and string types are refused."""

    def __init__(self, name: str, *_: object) -> None:
        if not isinstance(name, str) or not PLAIN_DTYPE.fullmatch(name):
            raise ForbiddenGlobal(f"an array of type {name!r:.40}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """An array that is still its parts."""

    def __init__(self, *_: object) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, fortran, raw = state
        flat = np.frombuffer(_bytes(raw), kind.dtype)
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _bytes(raw: str | bytes) -> bytes:
    # Python 2 wrote bytes as strings, which encoding="latin1" keeps one to one.
    return raw.encode("latin1") if isinstance(raw, str) else bytes(raw)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ForbiddenGlobal(f"the codec {encoding!r:.40}")
    return text.encode("latin1")


def _empty() -> bytes:
    # How older protocols write b""; with an argument it could ask for any amount of memory.
    return b""


def _scalar(kind: _DType, raw: str | bytes) -> np.generic:
    return np.frombuffer(_bytes(raw), kind.dtype)[0]


def _from_buffer(raw: bytes, kind: _DType, shape: tuple, order: str) -> np.ndarray:
    return np.frombuffer(_bytes(raw), kind.dtype).reshape(shape, order="F" if order == "F" else "C")


class _ArrayType:
    """Stands for ``numpy.ndarray`` as an argument; calling it is refused."""

    def __init__(self, *_: object) -> None:
        raise ForbiddenGlobal("a direct call of numpy.ndarray")


def _globals() -> dict[tuple[str, str], Any]:
    known: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): _ArrayType,
        ("numpy", "dtype"): _DType,
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _encode,
        ("__builtin__", "bytes"): _empty,
        ("builtins", "bytes"): _empty,
    }
    for core in ("numpy.core", "numpy._core"):
        known[core + ".multiarray", "_reconstruct"] = _Array
        known[core + ".multiarray", "scalar"] = _scalar
        known[core + ".numeric", "_frombuffer"] = _from_buffer
    return known


class ArrayUnpickler(pickle.Unpickler):
    """Knows arrays of numbers, numbers, strings and containers."""

    known = _globals()

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in of a global.

        Raises:
            ForbiddenGlobal: any other name.
        """
        if (module, name) not in self.known:
            raise ForbiddenGlobal(f"{module}.{name}"[:80])
        return self.known[module, name]


def _finish(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {_finish(k): _finish(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_finish(v) for v in value)
    return value


def load_arrays(path: str | Path) -> Any:
    """Containers of numpy arrays and plain values from a pickle of Python 2 or 3.

    Raises:
        ForbiddenGlobal: it needs more than arrays; nothing of it was run.
        Exception: whatever a broken pickle makes of itself.
    """
    with open(path, "rb") as file:
        return _finish(ArrayUnpickler(file, encoding="latin1").load())
