"""Check a file of ground-truth tubes: UCF101-24, JHMDB, MultiSports and own ones of these layouts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from mestad_d2.data.check.report import DatasetReport
from mestad_d2.errors import UserError
from mestad_d2.formats.tubes.csv_files import TubeDataset
from mestad_d2.formats.tubes.ground_truth import read_truth
from mestad_d2.formats.tubes.records import Tubes

# Boxes may stick out of the picture by this many pixels: annotation tools round.
TOLERANCE = 2.0


def check_tubes(path: str | Path, split: int = 1) -> DatasetReport:
    """Note the faults of both parts of a split; classes are counted in tubes, with ids from 1.

    Raises:
        UserError: the file can't be read, or is of another layout.
    """
    report = DatasetReport()
    videos: dict[str, str] = {}
    trained: set[int] = set()
    for part in ("train", "test"):
        try:
            dataset, tubes = read_truth(path, split=split, part=part)
        except UserError as error:
            if part == "train":
                raise
            report.add("tubes", f"{path}: {part}", str(error).removeprefix(f"{path}: "))
            continue
        report.names = {i: name for i, name in enumerate(dataset.classes, start=1)}
        classes = _check_part(f"{path}: {part}", dataset, tubes, report)
        report.classes += classes
        for video in dataset.videos:
            if videos.setdefault(video.name, part) != part:
                report.add("video_in_both", f"{path}: {part}", f"{video.name} is in {videos[video.name]} too")
        if part == "train":
            trained = set(classes)
        for action in sorted(set(classes) - trained):
            name = report.names.get(action, "?")
            report.add(
                "class_only_in_test", f"{path}: {part}", f"action {action} ({name}): none to learn from"
            )
    if len(set(report.names.values())) < len(report.names):
        twice = [name for name, count in Counter(report.names.values()).items() if count > 1]
        report.add("label_map", str(path), f"two classes are called {twice[0]!r}")
    if not report.rows:
        report.add("no_rows", str(path), "no tube")
    report.videos = len(videos)
    return report


def _check_part(where: str, dataset: TubeDataset, tubes: Tubes, report: DatasetReport) -> Counter[int]:
    sizes = {video.name: video for video in dataset.videos}
    classes: Counter[int] = Counter()
    for i in range(len(tubes)):
        rows = slice(tubes.start[i], tubes.start[i + 1])
        frames, boxes = tubes.frame[rows], tubes.boxes[rows]
        name = tubes.videos[tubes.video[i]]
        video, label = sizes.get(name), int(tubes.label[i])
        here = f"tube {i} of {name} (class {label} from 0)"
        report.rows += 1
        report.key_frames += len(frames)
        classes[label + 1] += 1
        if not 0 <= label < len(dataset.classes):
            report.add("tubes", where, f"{here}: there are {len(dataset.classes)} classes")
        if not np.isfinite(boxes).all():
            report.add("tubes", where, f"{here}: a box is not finite")
            continue
        if (np.diff(frames) <= 0).any():
            report.add("tubes", where, f"{here}: a frame comes twice")
        if len(frames) and (frames.min() < 1 or (video and video.frames and frames.max() > video.frames)):
            length = video.frames if video else 0
            report.add(
                "tubes",
                where,
                f"{here}: frames {frames.min()} to {frames.max()}; the video has 1 to {length}",
            )
        empty = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
        if empty.any():
            hint = ", x,y,width,height?" if empty.mean() > 0.2 else ""
            report.add("tubes", where, f"{here}: {empty.sum()} of {len(boxes)} boxes are empty{hint}")
        if len(boxes) and np.abs(boxes).max() <= 1.01 and boxes.max() > 0:
            report.add("tubes", where, f"{here}: boxes in fractions; tubes are in pixels")
        elif video and video.width:
            limit = [video.width, video.height]
            beyond = (boxes[:, :2] < -TOLERANCE) | (boxes[:, 2:] > np.array(limit) + TOLERANCE)
            if beyond.any():
                report.add(
                    "tubes",
                    where,
                    f"{here}: {beyond.any(axis=1).sum()} of {len(boxes)} boxes leave the {limit[0]} x {limit[1]} "
                    "picture; are width and height swapped?",
                )
    return classes
