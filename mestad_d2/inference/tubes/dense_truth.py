"""Ground-truth tubes of a dataset in AVA's format with labels on every frame (its dense csv)."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog

from mestad_d2.formats.ava_csv import read_ground_truth
from mestad_d2.formats.tubes.csv_files import TubeDataset
from mestad_d2.formats.tubes.records import Tubes, VideoInfo, tubes_of


def dense_truth(dataset_name: str) -> tuple[TubeDataset, Tubes]:
    """Return the tubes of a registered dataset: stretches of frames in which one person does one action.

    Frames count from 1 at the file's start. Rows without person id (-1) are left out: they name no one.

    Raises:
        UserError: a file is missing or malformed.
    """
    metadata = MetadataCatalog.get(dataset_name)
    files = {entry["video_id"]: entry for entry in DatasetCatalog.get(dataset_name)}
    names = metadata.action_names
    classes = tuple(names.get(i, f"class {i}") for i in range(1, max(names) + 1))
    rows: dict[tuple[str, int, int], dict[int, tuple]] = defaultdict(dict)
    last: dict[str, int] = defaultdict(int)
    for row in read_ground_truth(metadata.dense):
        if row.video_id not in files:
            continue
        entry = files[row.video_id]
        frame = round((row.timestamp - entry["start"]) * entry["fps"]) + 1
        last[row.video_id] = max(last[row.video_id], frame)
        if row.box is not None and row.person_id >= 0:
            rows[row.video_id, row.action_id, row.person_id][frame] = _pixels(row.box, entry)
    videos = tuple(
        VideoInfo(v, max(last[v], _frames(e)), e["height"], e["width"]) for v, e in sorted(files.items())
    )
    index = {video.name: i for i, video in enumerate(videos)}
    parts = []
    for (video, action, _), boxes in sorted(rows.items()):
        frames = np.array(sorted(boxes))
        for run in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1):
            stacked = np.stack([boxes[frame] for frame in run.tolist()])
            parts.append((index[video], action - 1, 1.0, run, stacked))
    dataset = TubeDataset(classes, videos)
    return dataset, tubes_of(dataset.names, parts)


def _frames(entry: dict) -> int:
    # The last label is not the end of the video.
    return round((entry["source"].seconds() or 0.0) * entry["fps"])


def _pixels(box: tuple[float, ...], entry: dict) -> np.ndarray:
    return np.array(box) * np.array([entry["width"], entry["height"]] * 2)
