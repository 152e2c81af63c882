"""AVA csv with a confidence: the annotators' file as it is, then the rows between its key frames."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mestad_d2.densify.key_frames import LabelRow
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import csv_lines, number
from mestad_d2.formats.files import atomic_open


def as_line(row: LabelRow) -> str:
    """``video,timestamp,x1,y1,x2,y2,action_id,person_id[,confidence]``, quoted where csv wants it."""
    video = row.video_id
    if any(sign in video for sign in ',"\r\n'):
        video = '"' + video.replace('"', '""') + '"'
    fields = [video, row.timestamp, *(_coordinate(v) for v in row.box), str(row.action_id)]
    fields.append(str(row.person_id) if row.person_id >= 0 else "")
    if row.confidence is not None:
        fields.append(f"{row.confidence:.4f}")
    return ",".join(fields)


def _coordinate(value: float) -> str:
    """Four places, more where an annotator gave more."""
    return f"{value:.4f}" if round(value, 4) == value else repr(value)


def write_dense_csv(path: Path, annotations: Path, rows: Iterable[LabelRow]) -> None:
    """Write the annotators' file byte for byte, then ``rows``, which alone have a confidence."""
    given = annotations.read_bytes()
    end = b"\r\n" if b"\r\n" in given else b"\n"
    with atomic_open(path, "wb") as file:
        file.write(given)
        if given and not given.endswith(b"\n"):
            file.write(end)
        for row in rows:
            file.write(as_line(row).encode() + end)


def read_dense_csv(path: str | Path) -> list[LabelRow]:
    """Rows with 7 to 9 fields; those without a confidence are an annotator's. Rows without a box are left out.

    Raises:
        UserError: names file and row.
    """
    rows = []
    for place, fields in csv_lines(str(path)):
        if len(fields) not in (2, 7, 8, 9):
            raise UserError(f"{path}: row {place}: {len(fields)} fields; write 8, or 9 with a confidence")
        if not any(fields[2:]):
            continue
        box = tuple(number(str(path), place, text, "coordinate") for text in fields[2:6])
        if not (box[0] < box[2] and box[1] < box[3]):
            raise UserError(f"{path}: row {place}: empty box; write x1 < x2 and y1 < y2")
        number(str(path), place, fields[1], "timestamp")
        person = int(number(str(path), place, fields[7], "person id")) if fields[7:8] and fields[7] else -1
        sure = number(str(path), place, fields[8], "confidence") if fields[8:9] and fields[8] else None
        action = int(number(str(path), place, fields[6], "action id"))
        rows.append(LabelRow(fields[0], fields[1], box, action, person, sure))
    return rows
