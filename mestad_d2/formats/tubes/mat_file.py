"""Read MATLAB files of unknown origin: numbers, text, cells and structs, of no more memory than the file has bytes for.

SciPy's reader believes the sizes and types that a file names, and ends the process on damaged ones. The format is
that of MATLAB's description of MAT-files 5, which MATLAB 5 to 7 write.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mestad_d2.errors import UserError

_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR = 1, 2, 4
# Numpy's types of MATLAB's types of elements, encodings of text, and numpy's types of MATLAB's classes of arrays.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CLASSES = dict(zip(range(6, 16), "f8 f4 i1 u1 i2 u2 i4 u4 i8 u8".split(), strict=True))
_COMPLEX = 0x800
# Bytes that compressed arrays of a file may hold together, and how deep arrays may hold arrays.
_UNPACKED, _DEPTH = 2**28, 16
Element = tuple[int, bytes]


class _Damaged(ValueError):
    """Contents that the format does not allow."""


def read_mat(path: str | Path, fix: str) -> dict[str, np.ndarray]:
    """Read the arrays of a file by name, as SciPy's ``loadmat`` returns them without squeezing.

    Args:
        path: the file.
        fix: what the user should do about a file that can't be read.

    Returns:
        arrays of numbers; of one string for a row of text; of objects for cells; structs have a field of objects for
        each of theirs.

    Raises:
        UserError: no such file, of another version, damaged, or with other contents.
    """
    try:
        return _read(Path(path).read_bytes())
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror or error}); {fix}") from None
    except (ValueError, TypeError, IndexError, OverflowError, struct.error, zlib.error) as error:
        raise UserError(f"{path}: no MATLAB file that can be read ({error}); {fix}") from None


def _read(data: bytes) -> dict[str, np.ndarray]:
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None or struct.unpack(f"{order}H", data[124:126])[0] != 0x0100:
        raise _Damaged("not of MATLAB 5 to 7")
    found, left = {}, _UNPACKED
    for kind, content in _elements(data[128:], order, padded=False):
        if kind == _COMPRESSED:
            packed = zlib.decompressobj()
            content = packed.decompress(content, left)
            left -= len(content)
            if not left:
                raise _Damaged(f"more than {_UNPACKED >> 20} MiB of arrays")
            ((kind, content),) = _elements(content, order)
        name, array = _array((kind, content), order, 0)
        found[name] = array
    return found


def _elements(data: bytes, order: str, padded: bool = True) -> Iterator[Element]:
    """Yield type and content of elements that follow one another; those of arrays are padded to eight bytes."""
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        begin, end = at + 8, at + 8 + size
        at = end + (-size % 8 if padded else 0)
        # Contents of up to four bytes stand in the tag itself.
        if kind >> 16:
            begin -= 4
            kind, end = kind & 0xFFFF, begin + (kind >> 16)
            at = begin + 4
        if end > min(len(data), max(at, begin + 4)):
            raise _Damaged("an element that is longer than what holds it")
        yield kind, data[begin:end]


def _array(element: Element, order: str, depth: int) -> tuple[str, np.ndarray]:
    """Return name and content of an array."""
    kind, content = element
    if kind != _MATRIX or depth > _DEPTH:
        raise _Damaged(f"an element of type {kind}" if kind != _MATRIX else "too many arrays in one another")
    if not content:
        return "", np.zeros((0, 0))
    flags, sizes, name, *parts = _elements(content, order)
    flag = int(_numbers(flags, order)[0])
    sizes = tuple(_numbers(sizes, order).tolist())
    if len(sizes) < 2 or min(sizes) < 0:
        raise _Damaged(f"an array of {sizes}")
    return name[1].decode("latin-1"), _content(flag, sizes, parts, order, depth)


def _content(flag: int, sizes: tuple[int, ...], parts: list[Element], order: str, depth: int) -> np.ndarray:
    kind = flag & 0xFF
    if kind == _CELL:
        cells = [_array(part, order, depth + 1)[1] for part in parts]
        return _shaped(_objects(cells, math.prod(sizes)), sizes)
    if kind == _STRUCT:
        length, names, *values = parts
        fields = _field_names(int(_numbers(length, order)[0]), names[1])
        inner = _objects(
            [_array(value, order, depth + 1)[1] for value in values], math.prod(sizes) * len(fields)
        )
        structs = np.empty(len(inner) // len(fields), [(field, object) for field in fields])
        for place, field in enumerate(fields):
            structs[field] = inner[place :: len(fields)]
        return _shaped(structs, sizes)
    if flag & _COMPLEX or len(parts) != 1:
        raise _Damaged("an array of several parts")
    if kind == _CHAR:
        return _text(parts[0], sizes, order)
    if kind not in _CLASSES:
        raise _Damaged(f"an array of class {kind}")
    with np.errstate(invalid="ignore"):
        return _shaped(_numbers(parts[0], order), sizes).astype(_CLASSES[kind])


def _numbers(element: Element, order: str) -> np.ndarray:
    kind, content = element
    if kind not in _TYPES:
        raise _Damaged(f"numbers of type {kind}")
    return np.frombuffer(content, order + _TYPES[kind])


def _text(element: Element, sizes: tuple[int, ...], order: str) -> np.ndarray:
    kind, content = element
    if kind not in _TEXTS or len(sizes) != 2 or sizes[0] > 1:
        raise _Damaged(f"text of type {kind} and size {sizes}")
    ending = {"<": "-le", ">": "-be"}[order] if kind not in (2, 16) else ""
    text = content.decode(_TEXTS[kind] + ending)
    return np.array([text] if text else [], np.str_)


def _field_names(length: int, names: bytes) -> list[str]:
    if length <= 0 or not names or len(names) % length:
        raise _Damaged("a struct without names of fields")
    cut = [names[at : at + length] for at in range(0, len(names), length)]
    return [name.partition(b"\0")[0].decode("latin-1") for name in cut]


def _objects(arrays: list[np.ndarray], count: int) -> np.ndarray:
    if len(arrays) != count:
        raise _Damaged(f"an array that says to hold {count} others and holds {len(arrays)}")
    held = np.empty(count, object)
    for place, array in enumerate(arrays):
        held[place] = array
    return held


def _shaped(flat: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    return flat.reshape(sizes, order="F")
