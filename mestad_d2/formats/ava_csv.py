"""AVA's text files, read strictly: ground truth, exclusions and label maps."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mestad_d2.errors import UserError

GROUPS = {"PERSON_MOVEMENT": "pose", "OBJECT_MANIPULATION": "object", "PERSON_INTERACTION": "person"}

# Fields of a row: box and action without and with person, with confidence, or video and timestamp alone.
WIDTHS = (2, 7, 8, 9)


class Row(NamedTuple):
    """One row of a ground-truth csv; ``box`` x1, y1, x2, y2 in [0, 1], ``person_id`` -1 if absent.

    ``box`` is None and ``action_id`` 0 where the row only says that the key frame has no people.
    """

    video_id: str
    timestamp: float
    box: tuple[float, float, float, float] | None
    action_id: int
    person_id: int


def csv_lines(path: str) -> Iterator[tuple[int, list[str]]]:
    """(row number, fields) of a csv file without its empty rows.

    Raises:
        UserError: no such file, or no text.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            for number, fields in enumerate(csv.reader(file), start=1):
                if fields:
                    yield number, [field.strip() for field in fields]
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(f"{path}: no csv text in UTF-8 ({error})") from error


def number(path: str, row: int, text: str, name: str) -> float:
    """The finite number in ``text``, or a UserError that names file, row and ``name``."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{path}: row {row}: {name} {text!r} is no number")
    return value


def _integer(path: str, row: int, text: str, name: str) -> int:
    value = number(path, row, text, name)
    if value != int(value):
        raise UserError(f"{path}: row {row}: {name} {text!r} is no whole number")
    return int(value)


def read_ground_truth(path: str, confidence: bool = True) -> list[Row]:
    """Rows of ``video,timestamp,x1,y1,x2,y2,action_id[,person_id[,confidence]]`` without header.

    Fields behind the timestamp may all be empty (AVA-Kinetics) or absent: a key frame without people.

    Args:
        confidence: rows with one, which nobody annotated, count like any other; if False they are an error.

    Raises:
        UserError: names file, row and fix.
    """
    rows = []
    for row, fields in csv_lines(path):
        if len(fields) not in WIDTHS:
            raise UserError(
                f"{path}: row {row}: {len(fields)} fields; write video,timestamp,x1,y1,x2,y2,action_id,person_id"
            )
        time = number(path, row, fields[1], "timestamp")
        if not any(fields[2:]):
            rows.append(Row(fields[0], time, None, 0, -1))
            continue
        x1, y1, x2, y2 = (number(path, row, text, "coordinate") for text in fields[2:6])
        if max(abs(v) for v in (x1, y1, x2, y2)) > 2:
            raise UserError(f"{path}: row {row}: box in pixels? Divide x by the width and y by the height")
        if not (x1 < x2 and y1 < y2):
            raise UserError(f"{path}: row {row}: empty box; write x1 < x2 and y1 < y2")
        action = _integer(path, row, fields[6], "action id")
        if len(fields) == 9 and fields[8]:
            _check_confidence(path, row, fields[8], confidence)
        if action < 1:
            raise UserError(f"{path}: row {row}: action id {action}; ids start at 1")
        person = _integer(path, row, fields[7], "person id") if len(fields) >= 8 and fields[7] else -1
        rows.append(Row(fields[0], time, (x1, y1, x2, y2), action, person))
    return rows


def _check_confidence(path: str, row: int, text: str, allowed: bool) -> None:
    if not allowed:
        raise UserError(
            f"{path}: row {row}: has a confidence, so nobody annotated it; make key frames of such rows with "
            f"tools/densify.py --corrected"
        )
    if not 0 <= number(path, row, text, "confidence") <= 1:
        raise UserError(f"{path}: row {row}: confidence {text}; write 0 to 1 or leave the field away")


def read_exclusions(path: str) -> set[tuple[str, float]]:
    """Pairs (video, timestamp rounded to ms) of ``video,second`` rows.

    Raises:
        UserError: names file and row.
    """
    excluded = set()
    for row, fields in csv_lines(path):
        if len(fields) != 2:
            raise UserError(f"{path}: row {row}: {len(fields)} fields; write video,second")
        excluded.add((fields[0], round(number(path, row, fields[1], "second"), 3)))
    return excluded


def read_label_map(path: str) -> tuple[dict[int, str], dict[int, str]]:
    """Names and, where given, groups (pose, object, person) of action ids.

    Reads AVA's pbtxt and lines ``1: name``.

    Raises:
        UserError: no label in the file, or an id twice.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no label map that can be read ({error})") from error
    names: dict[int, str] = {}
    groups: dict[int, str] = {}
    blocks = re.findall(r"\{([^{}]*)\}", text)
    entries = [(_field(b, r"(?:label_)?id:\s*(\d+)"), _field(b, r'name:\s*"([^"]*)"'), b) for b in blocks]
    if not blocks:
        # The published evaluators do not look at braces.
        bare = re.findall(r'\bname:\s*"([^"]*)"[^"]*?\b(?:label_)?id:\s*(\d+)', text)
        lines = re.findall(r"^\s*(\d+)\s*:\s*(.+?)\s*$", text, flags=re.M)
        entries = [(i, name, "") for name, i in bare] or [(i, name, "") for i, name in lines]
    for label, name, block in entries:
        if label is None or name is None:
            raise UserError(f'{path}: an entry without name or id; write name: "..." and label_id: N')
        if int(label) in names:
            raise UserError(f"{path}: id {label} stands there twice")
        names[int(label)] = name
        group = GROUPS.get(_field(block, r"label_type:\s*(\w+)") or "")
        if group:
            groups[int(label)] = group
    if not names:
        raise UserError(f"{path}: no label; write AVA's pbtxt or lines `1: name`")
    return names, groups


def _field(block: str, pattern: str) -> str | None:
    match = re.search(pattern, block)
    return match.group(1) if match else None
