"""Settings that are one number for all videos of a dataset, or a csv with one number per video."""

from __future__ import annotations

import os
from functools import lru_cache

from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import csv_lines, number

# None: read from the video itself.
Setting = float | str | os.PathLike[str] | None


def as_setting(value: object, name: str) -> Setting:
    """Parse a setting of a config or command line: a number, the path of a csv, or ``auto`` for None.

    Raises:
        UserError: it is something else; names ``name``, the key or flag that it comes from.
    """
    if value is None or value == "auto":
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, str, os.PathLike)):
        raise UserError(f"{name}: {value!r} is neither a number, auto, nor the path of a csv video,number")
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def value_of(setting: Setting, video_id: str) -> float | None:
    """Return the number for one video; None where nothing is set.

    Raises:
        UserError: the csv is missing or malformed, or has no row of this video.
    """
    if setting is None or isinstance(setting, (int, float)):
        return setting
    values = _values(os.fspath(setting))
    if video_id not in values:
        raise UserError(f"{setting}: no row of video {video_id!r}; add one, video,number")
    return values[video_id]


def read_values(path: str) -> dict[str, float]:
    """Read a csv ``video,number``.

    Raises:
        UserError: it is missing or malformed.
    """
    values: dict[str, float] = {}
    for row, fields in csv_lines(path):
        if len(fields) != 2:
            raise UserError(f"{path}: row {row}: {len(fields)} fields; write video,number")
        if fields[0] in values:
            raise UserError(f"{path}: row {row}: {fields[0]!r:.60} stands there twice; remove one row")
        values[fields[0]] = number(path, row, fields[1], "value")
    return values


_values = lru_cache(maxsize=16)(read_values)
