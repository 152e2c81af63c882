"""Corrected labels as training data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from mestad_d2.densify.formats.csv_files import as_line
from mestad_d2.densify.measure.dense_truth import milliseconds
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.formats.csv_cells import csv_field
from mestad_d2.formats.files import write_text

# Half a pixel of a 500 pixel frame: smaller differences are rounding, not corrections.
SAME = 1e-3


def merge_corrections(
    before: Sequence[AnnotationRow], corrected: Iterable[AnnotationRow]
) -> list[AnnotationRow]:
    """Merge corrections into the rows; rows that a person changed or added lose their confidence.

    Other rows of a frame from which a person removed one lose it too, as they were reviewed.

    Args:
        before: rows of the dense csv as it was written.
    """
    corrected = list(corrected)
    known = {_key(row): row for row in before}
    fewer = {key[:2] for key in known.keys() - {_key(row) for row in corrected}}
    result = []
    for row in corrected:
        old = known.get(_key(row))
        same = old is not None and all(abs(a - b) < SAME for a, b in zip(old.box, row.box, strict=True))
        # An unchanged row is restored exactly, without the other format's rounding.
        row = old if same else replace(row, confidence=None)
        result.append(replace(row, confidence=None) if _key(row)[:2] in fewer else row)
    return result


def _key(row: AnnotationRow) -> tuple:
    return row.video_id, milliseconds(row.timestamp), row.person_id, row.action_id


def training_rows(rows: Iterable[AnnotationRow], min_confidence: float) -> list[AnnotationRow]:
    """Select rows to train on: of corrected frames, and of frames on which every row is confident.

    Frames are kept or left out as a whole: a frame without one of its people would be trained as background
    there. A frame with a corrected row counts as reviewed.
    """
    rows = list(rows)
    touched = {(row.video_id, row.timestamp) for row in rows if row.confidence is None}
    doubtful = {
        (row.video_id, row.timestamp)
        for row in rows if row.confidence is not None and row.confidence < min_confidence
    } - touched  # fmt: skip
    return [row for row in rows if (row.video_id, row.timestamp) not in doubtful]


def write_training_csv(
    path: Path, rows: Iterable[AnnotationRow], people_free: Iterable[tuple[str, str]] = ()
) -> int:
    """Write AVA's 8 columns, without confidence; returns the number of rows.

    Args:
        path: the csv.
        rows: of people.
        people_free: (video, timestamp) of key frames without people, which formats of boxes can't hold; those where
            a person was added are left out.
    """
    rows = list(rows)
    lines = [as_line(replace(row, confidence=None)) for row in rows]
    peopled = {(row.video_id, milliseconds(row.timestamp)) for row in rows}
    empty = [(video, time) for video, time in people_free if (video, milliseconds(time)) not in peopled]
    lines += [f"{csv_field(video)},{time},,,,,," for video, time in dict.fromkeys(empty)]
    write_text(path, "".join(line + "\n" for line in lines))
    return len(lines)
