"""Helpers of the readers of other tools' files: opening, video names, one-line errors, boxes in pixels."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from mestad_d2.data.importers.tracks import Box
from mestad_d2.errors import UserError

# Suffixes that are taken away from the names of videos; others are parts of a name, as in 1.1.10.
SUFFIXES = frozenset(
    ".mp4 .mkv .avi .webm .mov .m4v .ts .mts .m2ts .mpg .mpeg .wmv .flv .3gp .ogv .vob .mxf .gif .h264 .264".split()
)
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


class KnownSizes(Protocol):
    """Frame sizes given outside a file of labels."""

    def get(self, video_id: str) -> tuple[float, float] | None:
        """Return width and height in pixels; None where they are unknown."""


@contextmanager
def naming(path: Path, entry: str, fix: str = "export it anew") -> Iterator[None]:
    """Turn exceptions of a malformed entry into a ``UserError`` that names file and entry."""
    try:
        yield
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f"{path}: {entry} has no {error}; {fix}") from error
    except (TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: {entry}: {reason}; {fix}") from error


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, with or without a byte order mark.

    Raises:
        UserError: no such file, or no such text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(
            f"{path}: can't be read ({error.strerror}); give the file that the tool exported"
        ) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: no text in UTF-8; give the file that the tool exported") from error


def read_json(path: Path) -> Any:
    """Read a json file.

    Raises:
        UserError: it is no json.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: no json that can be read ({error}); export it anew") from error


def read_xml(path: Path) -> ET.Element:
    """Read the root of an xml file; files that declare entities are refused, as no tool exports any.

    Raises:
        UserError: it is no xml.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise UserError(f"{path}: declares a document type, which CVAT never does; export it anew")
    try:
        return ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise UserError(f"{path}: no xml that can be read ({error}); export it anew") from error


def without_suffix(name: str) -> str:
    """Return a video's name without a known suffix; other dots stay."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f".{suffix.lower()}" in SUFFIXES else name


def name_of_address(address: str) -> str:
    """Return the video id of a path or address: its last part without suffix and upload prefix.

    Label Studio puts eight hexadecimal digits before the name of an uploaded file and writes ``?d=`` before the path of
    a local one.
    """
    parts = urlsplit(address)
    is_address = len(parts.scheme) > 1 or "?" in address
    path = address
    if is_address:
        path = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    if "/upload/" in path:
        name = re.sub(r"\A[0-9a-f]{8}-(?=.)", "", name)
    return without_suffix(name) or address


def picture_number(name: str) -> tuple[str, str, int] | None:
    """Return (folder or "", name before the number, frame number) of a picture, by its last number; None without one."""
    folder, _, file = name.replace("\\", "/").rpartition("/")
    stem = file
    for suffix in _PICTURES:
        if file.lower().endswith(suffix):
            stem = file[: -len(suffix)]
    numbers = list(re.finditer(r"\d+", stem))
    return (folder, stem[: numbers[-1].start()], int(numbers[-1][0])) if numbers else None


def name_of_head(head: str) -> str:
    """Return the video's name from what stands before the frame numbers of its pictures: ``cam1_frame_`` is cam1."""
    return re.sub(r"[-_. ]*(frame|frames|img|image|f)?[-_. ]*\Z", "", head, flags=re.I) or head


def scaled(corners: Iterable[float], width: float, height: float) -> Box:
    """Convert x1, y1, x2, y2 in pixels to fractions of the picture.

    Raises:
        ValueError: a number is not finite.
    """
    x1, y1, x2, y2 = corners
    if not (width > 0 and height > 0):
        raise ValueError(f"a picture of {width:g}x{height:g} pixels")
    box = (x1 / width, y1 / height, x2 / width, y2 / height)
    if not all(map(math.isfinite, box)):
        raise ValueError(f"box {corners} is not finite")
    return box


def turned(x1: float, y1: float, x2: float, y2: float, degrees: float, corner: bool = False) -> Box:
    """Return the axis-aligned box around a rotated one, in pixels.

    Args:
        degrees: clockwise.
        corner: turn around the top left corner instead of the centre.
    """
    if not degrees % 360:
        return x1, y1, x2, y2
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    cx, cy = (x1, y1) if corner else ((x1 + x2) / 2, (y1 + y2) / 2)
    points = [
        (cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos)
        for x in (x1, x2)
        for y in (y1, y2)
    ]
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)
