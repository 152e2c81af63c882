"""AVA csv with a confidence: the annotators' unchanged rows, then the rows between key frames."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import FAULTS, AnnotationRow, annotation_rows, parse_row
from mestad_d2.formats.csv_cells import csv_field
from mestad_d2.formats.files import atomic_open


def as_line(row: AnnotationRow) -> str:
    """Format ``video,timestamp,x1,y1,x2,y2,action_id,person_id[,confidence]``, quoted where csv requires it."""
    fields = [csv_field(row.video_id), row.timestamp, *(_coordinate(v) for v in row.box), str(row.action_id)]
    fields.append(str(row.person_id) if row.person_id >= 0 else "")
    if row.confidence is not None:
        fields.append(f"{row.confidence:.4f}")
    return ",".join(fields)


def _coordinate(value: float) -> str:
    """Four decimals, more where an annotator gave more."""
    return f"{value:.4f}" if round(value, 4) == value else repr(value)


def check_row(row: AnnotationRow, where: str) -> AnnotationRow:
    """Return a row with a box from another format, if a csv may hold its values.

    Args:
        row: the row.
        where: names file and entry in the error.

    Raises:
        UserError: a number that is not finite, an empty box or one beside the picture, a wrong id or confidence.
    """
    fields = [row.video_id, str(row.timestamp), *(repr(float(value)) for value in row.box)]
    sure = "" if row.confidence is None else repr(float(row.confidence))
    faults = parse_row([*fields, str(row.action_id), str(row.person_id), sure])[1]
    if faults:
        kind, text = faults[0]
        if kind == "pixels":
            raise UserError(f"{where}: a box reaches far beyond the picture; correct it")
        raise UserError(f"{where}: {text}; {FAULTS[kind]}")
    return row


def write_dense_csv(path: Path, annotations: Path, rows: Iterable[AnnotationRow]) -> None:
    """Write the annotators' file byte for byte, then ``rows``, which alone have a confidence."""
    given = annotations.read_bytes()
    end = b"\r\n" if b"\r\n" in given else b"\n"
    with atomic_open(path, "wb") as file:
        file.write(given)
        if given and not given.endswith(b"\n"):
            file.write(end)
        for row in rows:
            file.write(as_line(row).encode() + end)


def read_dense_csv(path: str | Path) -> list[AnnotationRow]:
    """Read rows with 7 to 9 fields; rows without a confidence are manual, rows without a box are left out.

    Raises:
        UserError: names file and row.
    """
    # The timestamp stays text, so that it is written again as it was.
    return [
        replace(row, timestamp=fields[1]) for _, fields, row in annotation_rows(path) if row.box is not None
    ]


def read_people_free(path: str | Path) -> list[tuple[str, str]]:
    """Read video and timestamp, as text, of the rows of key frames without people.

    Raises:
        UserError: names file and row.
    """
    return [(row.video_id, fields[1]) for _, fields, row in annotation_rows(path) if row.box is None]
