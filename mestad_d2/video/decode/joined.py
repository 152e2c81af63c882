"""Find a second recording behind the first in one file, as ``cat a.mp4 b.mp4 > c.mp4`` leaves it."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import BinaryIO

# A file is looked through up to here, in bytes, where its format does not say where it ends.
LOOKED_THROUGH = 1 << 26
# Parts of a file that are walked through at most; fragments of mp4 have two parts each.
MAX_PARTS = 100_000
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_MXF_HEADER = bytes.fromhex("060e2b34020501010d0102010102")
_NUT_HEADER = b"nut/multimedia container\0"


def following_recording(path: str | os.PathLike[str], kind: str) -> int | None:
    """Return the byte at which another recording begins in a file; None where none was found.

    Args:
        path: of a media file.
        kind: FFmpeg's name of its format.
    """
    find = next((find for name, find in _FINDERS.items() if kind.startswith(name)), None)
    if find is None:
        return None
    try:
        with open(path, "rb") as file:
            place = find(file)
            return place if place is not None and place < os.fstat(file.fileno()).st_size else None
    except (OSError, struct.error, ValueError, OverflowError):
        return None


def _mov(file: BinaryIO) -> int | None:
    """Boxes: size, name; a movie has one ``moov``, and ``ftyp`` in front."""
    place, seen = 0, set()
    for _ in range(MAX_PARTS):
        head = _read(file, place, 16)
        if len(head) < 8:
            return None
        size, name = struct.unpack(">I4s", head[:8])
        if size == 1:
            size = struct.unpack(">Q", head[8:16])[0]
        if name in seen:
            return place
        seen |= {name} & {b"ftyp", b"moov"}
        if size < 8:
            return None
        place += size
    return None


def _asf(file: BinaryIO) -> int | None:
    """Objects: a name of 16 bytes, then the size."""
    place = 0
    for _ in range(MAX_PARTS):
        head = _read(file, place, 24)
        if len(head) < 24:
            return None
        if place and head.startswith(_ASF_HEADER):
            return place
        size = struct.unpack("<Q", head[16:24])[0]
        if size < 24:
            return None
        place += size
    return None


def _avi(file: BinaryIO) -> int | None:
    """Lists of type ``AVI``; further ones of long files are of type ``AVIX``."""
    place = 0
    for _ in range(MAX_PARTS):
        head = _read(file, place, 12)
        if len(head) < 12:
            return None
        name, size, kind = struct.unpack("<4sI4s", head)
        if place and name == b"RIFF" and kind == b"AVI ":
            return place
        place += 8 + size + size % 2
    return None


def _flv(file: BinaryIO) -> int | None:
    """The first tag holds the size of the file it was written for."""
    head = _read(file, 0, 4096)
    at = head.find(b"filesize\0")
    if at < 0:
        return None
    place = int(struct.unpack(">d", head[at + 9 : at + 17])[0])
    return place if place > 0 and _read(file, place, 4) == b"FLV\1" else None


def _by_mark(mark: bytes) -> Callable[[BinaryIO], int | None]:
    def find(file: BinaryIO) -> int | None:
        start = _read(file, 0, LOOKED_THROUGH)
        first = start.find(mark)
        second = start.find(mark, first + 1) if first >= 0 else -1
        return second if second >= 0 else None

    return find


def _read(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)


_FINDERS: dict[str, Callable[[BinaryIO], int | None]] = {
    "mov": _mov,
    "asf": _asf,
    "avi": _avi,
    "flv": _flv,
    "nut": _by_mark(_NUT_HEADER),
    "mxf": _by_mark(_MXF_HEADER),
}
