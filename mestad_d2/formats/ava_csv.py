"""Read AVA's csv files, ground truth and exclusions: one reader for training, evaluation and the dataset check."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import NamedTuple

from mestad_d2.errors import UserError
from mestad_d2.formats.label_map import read_label_map as read_label_map  # its name in version 0.1
from mestad_d2.formats.lines import open_lines

# Fields of a row: box and action without and with person, with confidence, or video and timestamp alone.
WIDTHS = (2, 7, 8, 9)
# Coordinates beyond this are in pixels: fractions may exceed the picture only slightly.
LARGEST = 2.0
# Seconds and ids beyond these are mistakes, and later arithmetic would overflow.
MAX_SECONDS, MAX_ID = 1e9, 2**31 - 1
# Fault of a row -> what to do about it.
FAULTS = {
    "header": "remove the header row",
    "fields": "write video,timestamp,x1,y1,x2,y2,action_id,person_id",
    "number": "write finite numbers",
    "pixels": "divide x by the width and y by the height of the frame",
    "empty_box": "write x1 < x2 and y1 < y2",
    "beside_picture": "remove the row, or correct the box: no part of it is inside the picture",
    "action_id": "ids start at 1 and are whole numbers (people without actions: a dataset with PERSONS_ONLY)",
    "person_id": "person ids are whole numbers",
    "confidence": "write 0 to 1, or leave the ninth field away",
}


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """One annotation: a person does an action at a time of a video; the record of every label format.

    Attributes:
        video_id: name of the video.
        timestamp: in s; text where a row must be written exactly as it was read.
        box: x1, y1, x2, y2 in [0, 1]; None, with ``action_id`` 0, for a key frame without people.
        action_id: of the label map, from 1; 0 with a box: what the person does is unknown.
        person_id: -1 if unknown.
        confidence: in [0, 1], of pseudo labels and detected people; None where an annotator wrote the row.
    """

    video_id: str
    timestamp: float | str
    box: tuple[float, float, float, float] | None
    action_id: int
    person_id: int = -1
    confidence: float | None = None


class RowFault(NamedTuple):
    """What is wrong with a row: a key of ``FAULTS``, and what is there."""

    kind: str
    text: str


def csv_lines(path: str | PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (row number, fields) of a csv file, without empty rows and blanks around fields.

    Raises:
        UserError: no such file, no text, or a line of more than 10,000 characters.
    """
    for number, fields in raw_csv_lines(path):
        stripped = [field.strip() for field in fields]
        if any(stripped):
            yield number, stripped


def raw_csv_lines(path: str | PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields as they are) of every row of a csv file, including empty ones.

    Raises:
        UserError: as ``csv_lines``.
    """
    reader = csv.reader(open_lines(path))
    try:
        for fields in reader:
            yield reader.line_num, fields
    except csv.Error as error:
        raise UserError(
            f"{path}: row {reader.line_num}: no csv text ({error}); save it as plain csv"
        ) from error


def number(path: str, row: int, text: str, name: str) -> float:
    """Parse the finite number in ``text``; the UserError names file, row and ``name``."""
    value = as_number(text)
    if value is None:
        raise UserError(f"{path}: row {row}: {name} {text!r:.60} is no number")
    return value


def as_number(text: str) -> float | None:
    """Parse a finite number; return None where the text is none."""
    try:
        # float() accepts 1_000, which csv files must not use; very long texts are refused too.
        value = float(text) if len(text) < 400 and "_" not in text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _whole(text: str) -> int | None:
    value = as_number(text)
    return int(value) if value is not None and value == int(value) else None


def parse_row(
    fields: Sequence[str], line: int = 0, persons_only: bool = False
) -> tuple[AnnotationRow | None, list[RowFault]]:
    """Parse the stripped fields of a csv row to an annotation, or to the list of its faults.

    A row has 7 fields, 8 with a person id (which may be empty), 9 with a confidence (which may be empty), or names a
    key frame without people: two fields, or nothing in the others.

    Args:
        fields: of the row.
        line: its number in the file, from 1.
        persons_only: take rows of people without actions: the seventh field may be empty, and the eighth, written
            with a point, is a detector's score.
    """
    if len(fields) == 8 and (row := _plain_row(fields)) is not None:
        return row, []
    # Spreadsheets fill rows up with empty fields.
    fields = (
        fields[: max((i for i, field in enumerate(fields, 1) if field), default=0)]
        if len(fields) > 9
        else fields
    )
    if len(fields) not in WIDTHS and (len(fields) < 2 or any(fields[2:])):
        return None, [RowFault("fields", f"{len(fields)} fields{_separator(fields)}")]
    video, time = fields[0], as_number(fields[1])
    faults = []
    if not video:
        faults.append(RowFault("fields", "no name of a video"))
    if time is None or abs(time) > MAX_SECONDS:
        if line == 1 and as_number(fields[-1]) is None:
            return None, [
                RowFault("header", f"column names ({','.join(fields):.60}); timestamp {fields[1]!r:.40}")
            ]
        faults.append(RowFault("number", f"timestamp {fields[1]!r:.60} is no number of seconds"))
    if not any(fields[2:]):
        return (None, faults) if faults else (AnnotationRow(video, time, None, 0), [])
    box = _box(fields[2:6], faults)
    unknown = persons_only and not fields[6]
    action = 0 if unknown else _whole(fields[6])
    if action is None:
        faults.append(RowFault("action_id", f"action id {fields[6]!r:.60} is no whole number"))
    elif not unknown and not 1 <= action <= MAX_ID:
        faults.append(RowFault("action_id", f"action id {action:.10g}"))
    if persons_only and len(fields) == 8 and "." in fields[7]:
        fields = [*fields[:7], "", fields[7]]
    person = _whole(fields[7]) if len(fields) > 7 and fields[7] else -1
    if person is None or abs(person) > MAX_ID:
        faults.append(RowFault("person_id", f"person id {fields[7]!r:.60} is no whole number"))
    confidence = None
    if len(fields) == 9 and fields[8]:
        confidence = as_number(fields[8])
        if confidence is None or not 0 <= confidence <= 1:
            faults.append(
                RowFault("confidence", f"confidence {fields[8] if confidence else repr(fields[8]):.60}")
            )
    if faults:
        return None, faults
    return AnnotationRow(video, time, box, action, person, confidence), []


def _plain_row(fields: Sequence[str]) -> AnnotationRow | None:
    """Parse a valid row of eight fields in half the time; None where ``parse_row`` has to check it."""
    try:
        time, x1, y1, x2, y2 = map(float, fields[1:6])
        action, person = int(fields[6]), int(fields[7])
    except ValueError:
        return None
    # Comparisons with NaN are false; float() accepts 1_000, which csv files must not use.
    sound = (
        fields[0] and abs(time) <= MAX_SECONDS and -LARGEST <= x1 < x2 <= LARGEST and -LARGEST <= y1 < y2 <= LARGEST
        and x1 < 1 and y1 < 1 and x2 > 0 and y2 > 0 and 1 <= action <= MAX_ID and abs(person) <= MAX_ID
        and "_" not in "".join(fields[1:])
    )  # fmt: skip
    return AnnotationRow(fields[0], time, (x1, y1, x2, y2), action, person) if sound else None


def _box(texts: Sequence[str], faults: list[RowFault]) -> tuple[float, float, float, float] | None:
    values = [as_number(text) for text in texts]
    bad = next((text for text, value in zip(texts, values, strict=True) if value is None), None)
    if bad is not None:
        faults.append(RowFault("number", f"coordinate {bad!r:.60} is no number"))
        return None
    x1, y1, x2, y2 = box = tuple(values)
    if max(map(abs, box)) > LARGEST:
        faults.append(RowFault("pixels", f"box {_short(box)} in pixels?"))
    elif not (x1 < x2 and y1 < y2):
        hint = ""
        if min(box) >= 0 and x1 + x2 <= 1.01 and y1 + y2 <= 1.01 and x2 > 0 and y2 > 0:
            hint = ", or is it x,y,width,height?"
        faults.append(RowFault("empty_box", f"empty box {_short(box)}{hint}"))
    elif not (x1 < 1 and y1 < 1 and x2 > 0 and y2 > 0):
        faults.append(RowFault("beside_picture", f"box {_short(box)}"))
    return box


def _short(box: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in box) + ")"


def _separator(fields: Sequence[str]) -> str:
    """Name the separator of the fields where it is not the comma."""
    found = next((mark for mark in (";", "\t") if len(fields) == 1 and fields[0].count(mark) > 1), None)
    return (
        f", separated by {'semicolons' if found == ';' else 'tabs'}; separate them by commas" if found else ""
    )


def annotation_rows(
    path: str | PathLike[str], persons_only: bool = False
) -> Iterator[tuple[int, list[str], AnnotationRow]]:
    """Yield (line, stripped fields, annotation) of every row of an annotation csv; see ``parse_row``.

    Raises:
        UserError: names file, row and fix.
    """
    for line, fields in csv_lines(path):
        row, faults = parse_row(fields, line, persons_only)
        if row is None:
            kind, text = faults[0]
            raise UserError(f"{path}: row {line}: {text}; {FAULTS[kind]}")
        yield line, fields, row


def read_ground_truth(path: str | PathLike[str], confidence: bool = True) -> list[AnnotationRow]:
    """Read rows of ``video,timestamp,x1,y1,x2,y2,action_id[,person_id[,confidence]]`` without header.

    Fields behind the timestamp may all be empty (AVA-Kinetics) or absent: a key frame without people.

    Args:
        confidence: whether rows with a confidence (pseudo labels) are accepted; if False they are an error.

    Raises:
        UserError: names file, row and fix.
    """
    rows = []
    for line, _, row in annotation_rows(path):
        if row.confidence is not None and not confidence:
            raise UserError(
                f"{path}: row {line}: has a confidence, so it is a pseudo label; make key frames of such rows with "
                f"tools/densify.py --corrected"
            )
        rows.append(row)
    return rows


def read_exclusions(path: str | PathLike[str]) -> set[tuple[str, float]]:
    """Read the pairs (video, timestamp rounded to ms) of ``video,second`` rows.

    Raises:
        UserError: names file and row.
    """
    excluded = set()
    for line, fields in csv_lines(path):
        # Spreadsheets end rows with empty fields.
        while len(fields) > 2 and not fields[-1]:
            fields.pop()
        if len(fields) != 2 or not fields[0]:
            raise UserError(f"{path}: row {line}: {len(fields)} fields; write video,second")
        excluded.add((fields[0], round(number(str(path), line, fields[1], "second"), 3)))
    return excluded
