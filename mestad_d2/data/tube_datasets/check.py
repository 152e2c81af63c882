"""Finds what is wrong with a tube dataset before a training run does."""

from __future__ import annotations

import numpy as np
from detectron2.data import Metadata

from mestad_d2.data.check.report import DatasetReport
from mestad_d2.data.check.videos import check_video
from mestad_d2.data.video_sources import DatasetVideos
from mestad_d2.errors import UserError
from mestad_d2.formats.label_map import read_label_map
from mestad_d2.formats.tubes.ground_truth import read_truth
from mestad_d2.formats.tubes.records import Tubes, VideoInfo


def check_tube_dataset(metadata: Metadata, num_classes: int | None = None) -> DatasetReport:
    """Check the ground truth, the label map and the videos of a registered tube dataset.

    Args:
        num_classes: columns of the model that will be trained, where it is known.

    Raises:
        UserError: the ground truth can't be read at all.
    """
    report = DatasetReport()
    report.names = read_label_map(metadata.label_map)[0]
    where = metadata.tubes
    dataset, tubes = read_truth(where["path"], None, where["split"], where["test_list"], where["part"])
    for number, name in enumerate(dataset.classes, 1):
        known = report.names.get(number, "none")
        # MultiSports is shared with spaces and with underscores.
        if name.replace("_", " ") != known.replace("_", " "):
            report.add("label_map", where["path"], f"class {number} is {name!r}, in the label map {known!r}")
    if num_classes is not None and len(dataset.classes) > num_classes:
        text = f"{len(dataset.classes)} classes, but the model has {num_classes}"
        report.add("num_classes", where["path"], text)
    if not len(tubes):
        report.add("no_rows", where["path"], f"no tube in the {where['part']} part")
    report.videos, report.rows = len(dataset.videos), len(tubes.frame)
    videos = DatasetVideos(metadata.video_root, 0.0, metadata.fps)
    for v, video in enumerate(dataset.videos):
        report.key_frames += video.frames
        mine = tubes.select(np.flatnonzero(tubes.video == v))
        _check_boxes(video, mine, report)
        last = max(video.frames, int(mine.last.max(initial=1)))
        times = [0.0, (last - 1) / _rate(videos, video.name, metadata.fps)]
        for kind, text, _ in check_video(videos, video.name, times):
            report.add(kind, video.name, text)
    return report


def _check_boxes(video: VideoInfo, tubes: Tubes, report: DatasetReport) -> None:
    labels, counts = np.unique(tubes.label[tubes.owner], return_counts=True)
    report.classes.update(dict(zip((labels + 1).tolist(), counts.tolist(), strict=True)))
    empty = (tubes.boxes[:, 2:] <= tubes.boxes[:, :2]).any(1)
    if empty.any():
        text = f"frame {tubes.frame[empty][0]}: a box without area ({empty.sum()} in all)"
        report.add("layout", video.name, text)
    # A pixel more than the picture: corners may count from 0 or from 1.
    beyond = (tubes.boxes < -1).any(1)
    if video.width and video.height:
        beyond |= (tubes.boxes > np.array([video.width, video.height] * 2) + 1).any(1)
    if beyond.any():
        text = f"frame {tubes.frame[beyond][0]}: a box beyond the picture ({beyond.sum()} in all)"
        report.add("outside", video.name, text)
    late = tubes.frame > video.frames
    if video.frames and late.any():
        text = f"a tube has frame {tubes.frame[late].max()}, the video {video.frames} frames"
        report.add("outside_video", video.name, text)


def _rate(videos: DatasetVideos, name: str, default: float) -> float:
    """Frames per second of a video, or ``default`` where it can't be read; that is told elsewhere."""
    try:
        return videos.sources([name])[name].fps
    except UserError:
        return default
