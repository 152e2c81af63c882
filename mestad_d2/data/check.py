"""Finds what is wrong with a dataset before a training run does.

Each fault has a kind (``KINDS``). Unlike the loaders, which stop at the first one, this reads everything.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from mestad_d2.data.ava_csv import WIDTHS, csv_lines, read_exclusions, read_label_map
from mestad_d2.data.check_videos import check_video
from mestad_d2.data.frame_folder import FOLDER_FPS
from mestad_d2.data.per_video import Setting
from mestad_d2.errors import UserError

# Kind -> what to do about it.
KINDS = {
    "header": "remove the line of column names",
    "fields": "write video,timestamp,x1,y1,x2,y2,action_id,person_id",
    "number": "write finite numbers",
    "pixels": "divide x by the width and y by the height of the frame",
    "outside": "cut the box to [0, 1]",
    "empty_box": "write x1 < x2 and y1 < y2",
    "action_id": "ids are whole numbers from 1 on",
    "num_classes": "set MODEL.ROI_ACTION_HEAD.NUM_CLASSES to the largest id",
    "unknown_id": "add the id to the label map, or remove the row",
    "person_id": "person ids are whole numbers",
    "duplicate": "remove the second row",
    "person_twice": "one person has one box in a frame: give the second one another id",
    "no_rows": "put rows into the file",
    "label_map": "write AVA's pbtxt or lines `1: name`",
    "exclusions": "write video,timestamp of key frames that the annotations have",
    "video_id": "rename the video: ids must not leave the folder of videos",
    "setting": "give START and FPS as numbers, or a csv with a row of each video",
    "missing_video": "put the file there, or exclude its key frames (--fix-exclude)",
    "unreadable_video": "encode it anew, or exclude its key frames (--fix-exclude)",
    "damaged_end": "fetch or encode it anew, or exclude these key frames (--fix-exclude)",
    "outside_video": "check START and the unit of the timestamps, or exclude these (--fix-exclude)",
    "frame_rate": "encode at 12 frames a second or more; actions can't be seen otherwise",
    "missing_frames": "extract the frames anew",
    "unequal_frames": "extract the frames anew, all of one size",
}
# Kinds that belong to a key frame which may be left out instead.
EXCLUDABLE = ("missing_video", "unreadable_video", "damaged_end", "outside_video")
# Boxes may stick out by this much: AVA's own are rounded.
TOLERANCE = 0.002


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: its kind, where it is, and what is there."""

    kind: str
    where: str
    text: str


@dataclass
class DatasetReport:
    """What was found: faults, rows of each action id, and numbers for a summary.

    ``excludable`` holds the (video, timestamp as written) that can be left out instead of repaired.
    """

    faults: list[Fault] = field(default_factory=list)
    classes: Counter[int] = field(default_factory=Counter)
    names: dict[int, str] = field(default_factory=dict)
    videos: int = 0
    key_frames: int = 0
    rows: int = 0
    excludable: dict[tuple[str, str], None] = field(default_factory=dict)

    def add(self, kind: str, where: str, text: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(kind, where, text))


# Key frames of each video: timestamp in s -> as written.
KeyFrames = dict[str, dict[float, str]]


def check_dataset(
    *,
    video_root: str | Path,
    annotations: str | Path,
    label_map: str | Path,
    exclude: str | Path | None = None,
    start: Setting = 0.0,
    fps: Setting = FOLDER_FPS,
    num_classes: int | None = None,
) -> DatasetReport:
    """Check a dataset's files; see ``register_ava_dataset`` for the arguments.

    Args:
        num_classes: columns of the model that will be trained, where it is known.

    Raises:
        UserError: the annotations are no text file at all.
    """
    report = DatasetReport()
    try:
        report.names = read_label_map(str(label_map))[0]
    except UserError as error:
        report.add("label_map", str(label_map), str(error).removeprefix(f"{label_map}: "))
    key_frames = _check_rows(str(annotations), report)
    largest = max(report.classes, default=0)
    if num_classes is not None and largest > num_classes:
        text = f"action id {largest}, but the model has {num_classes} classes"
        report.add("num_classes", str(annotations), text)
    excluded = _check_exclusions(exclude, key_frames, report)
    for video_id, times in key_frames.items():
        wanted = {time: text for time, text in times.items() if (video_id, round(time, 3)) not in excluded}
        if not wanted:
            continue
        for kind, text, bad_times in check_video(str(video_root), video_id, sorted(wanted), start, fps):
            report.add(kind, video_id, text)
            if kind in EXCLUDABLE:
                report.excludable.update({(video_id, wanted[time]): None for time in bad_times})
    return report


def write_exclusions(report: DatasetReport, path: str | Path, previous: str | Path | None = None) -> int:
    """Write the exclusion list that leaves out faulty key frames, after those of ``previous``.

    Returns:
        number of key frames added.
    """
    lines = [",".join(fields) for _, fields in csv_lines(str(previous))] if previous else []
    lines += [f"{video},{time}" for video, time in report.excludable]
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(report.excludable)


def _check_rows(path: str, report: DatasetReport) -> KeyFrames:
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
        same = (fields[0], *map(_value, fields[1:]))
        if same in seen:
            report.add("duplicate", where, ",".join(fields))
            continue
        seen.add(same)
        box = _check_box(fields[2:6], where, report)
        _check_action(fields[6], where, report)
        person = fields[7] if len(fields) == 8 else ""
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


def _check_exclusions(
    path: str | Path | None, key_frames: KeyFrames, report: DatasetReport
) -> set[tuple[str, float]]:
    if path is None:
        return set()
    try:
        excluded = read_exclusions(str(path))
    except UserError as error:
        report.add("exclusions", str(path), str(error).removeprefix(f"{path}: "))
        return set()
    known = {(video, round(time, 3)) for video, times in key_frames.items() for time in times}
    if excluded and not excluded & known:
        report.add("exclusions", str(path), "none of them is a key frame")
    return excluded


def _is_ava(names: dict[int, str]) -> bool:
    # AVA's official map names 60 of the 80 ids that its annotations use.
    return names.get(1, "").startswith("bend/bow") and max(names) == 80


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _value(text: str) -> str | float:
    """The number that a field holds, so that 0902 and 902.0 are the same; else its text."""
    return float(text) if _is_number(text) else text


def _is_whole(text: str) -> bool:
    return _is_number(text) and float(text) == int(float(text))
