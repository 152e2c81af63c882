"""Find the faults of a dataset before a training run does.

Each fault has a kind (``KINDS``). Unlike the loaders, which stop at the first one, this reads everything.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from mestad_d2.data.check.report import EXCLUDABLE, DatasetReport
from mestad_d2.data.check.rows import KeyFrames, check_rows
from mestad_d2.data.check.videos import check_video
from mestad_d2.data.per_video import Setting
from mestad_d2.data.person_boxes import BOX_FILES, read_people
from mestad_d2.data.video_sources import DatasetVideos
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import csv_lines, read_exclusions
from mestad_d2.formats.files import write_text
from mestad_d2.formats.label_map import read_label_map
from mestad_d2.video.folder import FOLDER_FPS
from mestad_d2.video.frame_list import FrameList, ListedVideo
from mestad_d2.video.video_locations import VideoRoot, find_video


def check_dataset(
    *,
    video_root: VideoRoot,
    annotations: str | Path,
    label_map: str | Path | None,
    exclude: str | Path | None = None,
    start: Setting = 0.0,
    fps: Setting = FOLDER_FPS,
    num_classes: int | None = None,
    persons_only: bool = False,
) -> DatasetReport:
    """Check a dataset's files; see ``register_ava_dataset`` for the arguments.

    Args:
        num_classes: columns of the model that will be trained, where it is known.

    Raises:
        UserError: the annotations are no text file at all, or a frame list is malformed.
    """
    report = DatasetReport()
    if isinstance(video_root, FrameList):
        video_root.videos()
    videos = DatasetVideos(video_root, start, fps)
    if label_map is not None and not persons_only:
        try:
            report.names = read_label_map(str(label_map))[0]
        except UserError as error:
            report.add("label_map", str(label_map), str(error).removeprefix(f"{label_map}: "))
    key_frames = _check_annotations(annotations, report, persons_only)
    largest = max(report.classes, default=0)
    if num_classes is not None and largest > num_classes:
        text = f"action id {largest}, but the model has {num_classes} classes"
        report.add("num_classes", str(annotations), text)
    report.times = key_frames
    excluded = _check_exclusions(exclude, key_frames, report)
    used, peopled = 0, 0
    for video_id, times in key_frames.items():
        wanted = {time: text for time, text in times.items() if (video_id, round(time, 3)) not in excluded}
        if not wanted:
            continue
        used += len(wanted)
        peopled += sum((video_id, time) in report.peopled for time in wanted)
        report.files[video_id] = _path_of(video_root, video_id)
        for kind, text, bad_times in check_video(videos, video_id, sorted(wanted)):
            report.add(kind, video_id, text)
            if kind in EXCLUDABLE:
                report.excludable.update({(video_id, wanted[time]): None for time in bad_times})
    if report.rows and not report.peopled and not report.faults:
        report.add("no_rows", str(annotations), "no box: all rows name key frames without people")
    elif key_frames and not used:
        report.add("no_rows", str(annotations), "every key frame is excluded")
    elif report.peopled and not peopled:
        report.add("no_rows", str(annotations), "every key frame with people is excluded")
    return report


def _check_annotations(annotations: str | Path, report: DatasetReport, persons_only: bool) -> KeyFrames:
    """Check the rows of a csv, or the boxes of a detector's pickle or json."""
    if not persons_only or Path(annotations).suffix.lower() not in BOX_FILES:
        return check_rows(str(annotations), report, persons_only)
    key_frames: KeyFrames = defaultdict(dict)
    try:
        rows = read_people(annotations)
    except UserError as error:
        report.add("person_boxes", str(annotations), str(error).removeprefix(f"{annotations}: "))
        return key_frames
    for row in rows:
        key_frames[row.video_id].setdefault(row.timestamp, f"{row.timestamp:.3f}")
        if row.box is not None:
            report.peopled.add((row.video_id, row.timestamp))
    report.rows, report.videos = len(rows), len(key_frames)
    report.key_frames = sum(map(len, key_frames.values()))
    return key_frames


def _path_of(root: VideoRoot, video_id: str) -> str:
    """The path of a video, which identifies it across datasets; its name where there is no file."""
    try:
        place = find_video(root, video_id) or os.path.join(str(root), video_id)
        return str(place) if isinstance(place, ListedVideo) else os.path.realpath(place)
    except (UserError, ValueError, OSError):
        return os.path.join(str(root), video_id)


def write_exclusions(report: DatasetReport, path: str | Path, previous: str | Path | None = None) -> int:
    """Write the exclusion list that leaves out faulty key frames, after those of ``previous``.

    Returns:
        number of key frames added.
    """
    lines = [",".join(fields) for _, fields in csv_lines(str(previous))] if previous else []
    lines += [f"{video},{time}" for video, time in report.excludable]
    write_text(path, "".join(f"{line}\n" for line in lines))
    return len(report.excludable)


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
