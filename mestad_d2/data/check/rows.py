"""Check every row of an annotation csv with the loaders' own reader, and properties of all rows together."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from mestad_d2.data.check.label_changes import label_changes
from mestad_d2.data.check.report import DatasetReport
from mestad_d2.errors import counted
from mestad_d2.formats.ava_csv import AnnotationRow, csv_lines, parse_row
from mestad_d2.formats.people import nearly_same

# Boxes may stick out by this much: AVA's own are rounded.
TOLERANCE = 0.002
# From this many boxes on, it is suspicious if all lie in one quarter of the picture.
MANY = 20
# Key frames of each video: timestamp in s -> as written.
KeyFrames = dict[str, dict[float, str]]


def check_rows(path: str, report: DatasetReport, persons_only: bool = False) -> KeyFrames:
    """Note the faults of all rows, and return the key frames that they name.

    Args:
        path: csv of annotations.
        report: the faults are added to it.
        persons_only: rows of people may lack the action.

    Raises:
        UserError: the file is no csv text at all.
    """
    key_frames: KeyFrames = defaultdict(dict)
    seen: set[AnnotationRow] = set()
    persons: dict[tuple, AnnotationRow] = {}
    boxes: dict[tuple, int] = {}
    empty, wide, shared = 0, 0, 0
    for line, fields in csv_lines(path):
        where = f"{path}: row {line}"
        row, faults = parse_row(fields, line, persons_only)
        report.rows += not any(fault.kind == "header" for fault in faults)
        for kind, text in faults:
            report.add(kind, where, text)
        if row is None:
            empty += any(fault.kind == "empty_box" for fault in faults)
            continue
        key_frames[row.video_id].setdefault(row.timestamp, fields[1])
        if row.box is None:
            continue
        report.peopled.add((row.video_id, row.timestamp))
        wide += row.box[0] + row.box[2] > 1.01 or row.box[1] + row.box[3] > 1.01
        plain = replace(row, confidence=None)
        if plain in seen:
            report.add("duplicate", where, ",".join(fields))
            continue
        seen.add(plain)
        if min(row.box) < -TOLERANCE or max(row.box) > 1 + TOLERANCE:
            report.add("outside", where, f"box {row.box}")
        if not persons_only:
            _check_action(row.action_id, where, report)
        frame = (row.video_id, row.timestamp)
        first_id = boxes.setdefault((*frame, row.box), row.person_id)
        if first_id != row.person_id:
            shared += 1
        elif row.person_id >= 0:
            first = persons.setdefault((*frame, row.person_id), row)
            if first.box != row.box:
                near = nearly_same(first.box, row.box)
                kind = "nearly_equal" if near else "person_twice"
                report.add(kind, where, f"person {row.person_id} of {row.video_id} at {fields[1]}")
    if empty * 10 >= max(report.rows, 1) and not wide:
        # No box reaches beyond 1 when read as x, y, width, height, and many make no sense otherwise.
        report.add("layout", path, f"{empty} of {report.rows} boxes are empty, and all fit x,y,width,height")
    elif len(seen) >= MANY and not wide:
        report.notes.append(
            f"{path}: the centres of all {len(seen)} boxes lie in the upper left quarter of the picture; "
            "are they written as x,y,width,height?"
        )
    if shared:
        report.notes.append(
            f"{counted(shared, 'row')} with the box of another person id; rows with one box are trained on as one person"
        )
    if not report.rows:
        report.add("no_rows", path, "no annotation")
    report.label_changes = None if persons_only else label_changes(seen)
    report.videos, report.key_frames = len(key_frames), sum(map(len, key_frames.values()))
    return key_frames


def _check_action(action: int, where: str, report: DatasetReport) -> None:
    report.classes[action] += 1
    if report.names and action not in report.names and not (_is_ava(report.names) and action <= 80):
        report.add("unknown_id", where, f"action id {action}")


def _is_ava(names: dict[int, str]) -> bool:
    # AVA's official map names 60 of the 80 ids that its annotations use.
    return names.get(1, "").startswith("bend/bow") and max(names) == 80
