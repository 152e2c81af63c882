"""Checks every row of an annotation csv."""

from __future__ import annotations

import math
from collections import defaultdict

from mestad_d2.data.check.report import DatasetReport
from mestad_d2.formats.ava_csv import WIDTHS, csv_lines

# Boxes may stick out by this much: AVA's own are rounded.
TOLERANCE = 0.002
# Key frames of each video: timestamp in s -> as written.
KeyFrames = dict[str, dict[float, str]]


def check_rows(path: str, report: DatasetReport) -> KeyFrames:
    """Note the faults of all rows, and return the key frames that they name.

    Raises:
        UserError: the file is no csv text at all.
    """
    key_frames: KeyFrames = defaultdict(dict)
    seen: set[tuple[str | float, ...]] = set()
    persons: dict[tuple, tuple] = {}
    for row, fields in csv_lines(path):
        where = f"{path}: row {row}"
        if row == 1 and len(fields) > 1 and not _is_number(fields[1]) and not _is_number(fields[-1]):
            report.add("header", where, ",".join(fields))
            continue
        report.rows += 1
        if len(fields) not in WIDTHS:
            report.add("fields", where, f"{len(fields)} fields")
            continue
        if not _is_number(fields[1]):
            report.add("number", where, f"timestamp {fields[1]!r}")
            continue
        time = float(fields[1])
        key_frames[fields[0]].setdefault(time, fields[1])
        if not any(fields[2:]):
            continue
        same = (fields[0], *map(_value, fields[1:8]))
        if same in seen:
            report.add("duplicate", where, ",".join(fields))
            continue
        seen.add(same)
        box = _check_box(fields[2:6], where, report)
        _check_action(fields[6], where, report)
        person = fields[7] if len(fields) >= 8 else ""
        if len(fields) == 9 and fields[8] and not _is_share(fields[8]):
            report.add("confidence", where, f"confidence {fields[8]!r}")
        if person and not _is_whole(person):
            report.add("person_id", where, f"person id {person!r}")
        elif person and box and int(float(person)) >= 0:
            first = persons.setdefault((fields[0], time, person), box)
            if first != box:
                report.add("person_twice", where, f"person {person} of {fields[0]} at {fields[1]}")
    if not report.rows:
        report.add("no_rows", path, "no annotation")
    report.videos, report.key_frames = len(key_frames), sum(map(len, key_frames.values()))
    return key_frames


def _check_box(texts: list[str], where: str, report: DatasetReport) -> tuple[float, ...] | None:
    if not all(map(_is_number, texts)):
        report.add("number", where, f"box {', '.join(texts)}")
        return None
    box = tuple(map(float, texts))
    if max(map(abs, box)) > 2:
        report.add("pixels", where, f"box {box}")
    elif min(box) < -TOLERANCE or max(box) > 1 + TOLERANCE:
        report.add("outside", where, f"box {box}")
    if not (box[0] < box[2] and box[1] < box[3]):
        report.add("empty_box", where, f"box {box}")
    return box


def _check_action(text: str, where: str, report: DatasetReport) -> None:
    if not _is_whole(text) or float(text) < 1:
        report.add("action_id", where, f"action id {text!r}")
        return
    action = int(float(text))
    report.classes[action] += 1
    if report.names and action not in report.names and not (_is_ava(report.names) and action <= 80):
        report.add("unknown_id", where, f"action id {action}")


def _is_ava(names: dict[int, str]) -> bool:
    # AVA's official map names 60 of the 80 ids that its annotations use.
    return names.get(1, "").startswith("bend/bow") and max(names) == 80


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_share(text: str) -> bool:
    return _is_number(text) and 0 <= float(text) <= 1


def _value(text: str) -> str | float:
    """The number that a field holds, so that 0902 and 902.0 are the same; else its text."""
    return float(text) if _is_number(text) else text


def _is_whole(text: str) -> bool:
    return _is_number(text) and float(text) == int(float(text))
