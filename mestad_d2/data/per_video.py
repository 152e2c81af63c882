"""A setting that is one number for all videos of a dataset, or a csv with one for each."""

from __future__ import annotations

import os
from functools import lru_cache

from mestad_d2.data.ava_csv import csv_lines, number
from mestad_d2.errors import UserError

# None: to be found out from the video itself.
Setting = float | str | os.PathLike[str] | None


def check_setting(setting: Setting, name: str) -> None:
    """Refuse what is neither a number nor a path, before a dataset is read.

    Raises:
        UserError: names ``name``, the key that it comes from.
    """
    if not (setting is None or isinstance(setting, (int, float, str, os.PathLike))) or setting is True:
        raise UserError(f"{name}: {setting!r} is neither a number nor the path of a csv video,number")


def parse_setting(text: str) -> Setting:
    """A setting on a command line: a number, the path of a csv, or ``auto`` for None."""
    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError:
        return text


def value_of(setting: Setting, video_id: str) -> float | None:
    """The number for one video; None where nothing is set.

    Raises:
        UserError: the csv is missing or malformed, or has no row of this video.
    """
    if setting is None or isinstance(setting, (int, float)):
        return setting
    values = _values(os.fspath(setting))
    if video_id not in values:
        raise UserError(f"{setting}: no row of video {video_id!r}; add one, video,number")
    return values[video_id]


@lru_cache(maxsize=16)
def _values(path: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for row, fields in csv_lines(path):
        if len(fields) != 2:
            raise UserError(f"{path}: row {row}: {len(fields)} fields; write video,number")
        if fields[0] in values:
            raise UserError(f"{path}: row {row}: {fields[0]!r} stands there twice; remove one row")
        values[fields[0]] = number(path, row, fields[1], "value")
    return values
