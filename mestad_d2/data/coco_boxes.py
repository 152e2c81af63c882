"""Read boxes of people from COCO json: a detector's results, or a whole file with its images."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mestad_d2.errors import UserError

_VIDEO = ("video", "video_id", "video_name", "movie")
# Sides of pictures beyond this are mistakes, and later arithmetic would overflow.
MAX_SIDE = 1e6
_TIME = ("timestamp", "second", "time")
_FIX = (
    'name the key frame in each entry ("image_id": "video,0902", or "video" and "timestamp"), give the whole COCO file '
    '{"images": [...], "annotations": [...]}, or csv or pickle'
)


def read_coco_boxes(path: str | Path) -> dict[tuple[str, float], list[list[float]]]:
    """Read (video, timestamp) -> boxes x1, y1, x2, y2 as fractions and score, of the category person.

    Args:
        path: a list of ``{"image_id", "category_id", "bbox": [x, y, width, height], "score"}``, or a dict with such
            ``annotations`` and ``images``. Images (by ``id``) name ``video`` and ``timestamp``, or a file
            ``video/0902.jpg`` or ``video,0902``; their ``width`` and ``height`` turn pixels into fractions.

    Raises:
        UserError: names file and entry.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: no json ({' '.join(str(error).split())[:80]}); write it anew") from error
    images: dict[Any, Mapping] = {}
    entries: Any = content
    if isinstance(content, dict):
        entries = content.get("annotations")
        for image in _list(content, "images"):
            if isinstance(image, dict) and isinstance(image.get("id"), int | str):
                images[image["id"]] = image
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: no list of COCO results; {_FIX}")
    person = _person_category(content, entries)
    found: dict[tuple[str, float], list[list[float]]] = defaultdict(list)
    for number, entry in enumerate(entries):
        if entry.get("category_id", person) != person:
            continue
        where = f"{path}: entry {number}"
        identity = entry.get("image_id")
        image = images.get(identity, {}) if isinstance(identity, int | str) else {}
        key = _key_frame(entry) or _key_frame(image) or _named(identity) or _named(image.get("file_name"))
        if key is None:
            raise UserError(f"{where}: image_id {identity!r:.60} names no video and second; {_FIX}")
        found[key].append(_box(where, entry, image))
    return found


def _list(content: Any, key: str) -> list:
    found = content.get(key) if isinstance(content, dict) else None
    return found if isinstance(found, list) else []


def _person_category(content: Any, entries: list[dict]) -> Any:
    """The category id of persons: by name, else COCO's 1, or 0 where nothing has 1."""
    for category in _list(content, "categories"):
        if isinstance(category, dict) and str(category.get("name", "")).lower() in (
            "person",
            "people",
            "human",
        ):
            return category.get("id")
    return 1 if any(entry.get("category_id") == 1 for entry in entries) else 0


def _key_frame(entry: Mapping) -> tuple[str, float] | None:
    video = next((str(entry[key]) for key in _VIDEO if type(entry.get(key)) is str), None)
    time = next((entry[key] for key in _TIME if key in entry), None)
    try:
        return None if video is None or time is None else (video, round(float(time), 3))
    except (TypeError, ValueError, OverflowError):
        return None


def _named(name: object) -> tuple[str, float] | None:
    """Video and second of ``video,0902`` or ``video/0902.jpg``."""
    if not isinstance(name, str):
        return None
    for mark in (",", "/"):
        video, _, time = name.rpartition(mark)
        if mark == "/":
            time = time.rpartition(".")[0] or time
        # Names of pictures such as img_00001.jpg count frames, not seconds.
        if video and time.replace(".", "", 1).isdecimal() and time.isascii():
            return video, round(float(time), 3)
    return None


def _box(where: str, entry: Mapping, image: Mapping) -> list[float]:
    try:
        x, y, width, height = (float(value) for value in entry["bbox"])
        score = float(entry["score"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        missing = f" ({error} is not there)" if isinstance(error, KeyError) else ""
        raise UserError(f'{where}: write "bbox": [x, y, width, height] and "score": 0.9{missing}') from error
    box = np.array([x, y, x + width, y + height])
    if not np.isfinite([*box, score]).all():
        raise UserError(f"{where}: a number that is not finite; write finite numbers")
    if np.abs(box).max() > 2:
        sizes = [entry.get(name, image.get(name)) for name in ("width", "height")]
        if not all(isinstance(size, int | float) and 0 < size < MAX_SIDE for size in sizes):
            raise UserError(
                f"{where}: bbox in pixels, and no width and height of the picture (above 0 and below {MAX_SIDE:g}); give "
                "both in the entry or its image"
            )
        box /= [*sizes, *sizes]
    return [*box.tolist(), score]
