"""A model's detections on the frames of a dataset, as evaluated and as written to csv."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike

import numpy as np

from mestad_d2.evaluation.frame_map.protocols import Protocol
from mestad_d2.evaluation.rows import Rows, frame_key
from mestad_d2.formats.csv_cells import csv_field
from mestad_d2.formats.files import atomic_open
from mestad_d2.people import People

FRAMES_AT_ONCE = 1000


def csv_boxes(frames: list[People]) -> np.ndarray:
    """Return the boxes (n, 4) of some frames as in the csv, so that evaluating the file gives the same figures."""
    sizes = np.repeat([[f.width, f.height] * 2 for f in frames], [len(f) for f in frames], axis=0)
    return np.round(np.concatenate([f.boxes for f in frames]) / sizes, 6)


def to_rows(frames: list[People], ids: list[int], threshold: float, protocol: Protocol) -> Rows:
    """Return one row for each box and action of ``ids`` whose score reaches the threshold."""
    index: dict[str, int] = {}
    numbers = [index.setdefault(frame_key(f.video_id, f.timestamp, protocol), len(index)) for f in frames]
    frame, boxes, actions, scores = (
        [np.empty(0, np.int64)],
        [np.empty((0, 4))],
        [np.empty(0, np.int64)],
        [np.empty(0)],
    )
    # In blocks: one frame at a time is a slow loop over AVA, all at once copies all scores.
    for first in range(0, len(frames), FRAMES_AT_ONCE):
        part = frames[first : first + FRAMES_AT_ONCE]
        part_scores = np.concatenate([f.actions for f in part])
        columns = np.array([i - 1 for i in ids if i <= part_scores.shape[1]], dtype=np.int64)
        part_scores = part_scores[:, columns]
        person, column = np.nonzero(part_scores >= threshold)
        number = np.repeat(numbers[first : first + FRAMES_AT_ONCE], [len(f) for f in part])
        frame.append(number[person])
        boxes.append(csv_boxes(part)[person])
        actions.append(columns[column] + 1)
        scores.append(part_scores[person, column].astype(np.float64))
    joined = [np.concatenate(x) for x in (frame, boxes, actions, scores)]
    return Rows(list(index), *joined, np.zeros(len(joined[0]), dtype=np.int64), "detections")


def persons(frames: list[People], protocol: Protocol) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return boxes and person scores by frame name."""
    return {frame_key(f.video_id, f.timestamp, protocol): (csv_boxes([f]), f.scores) for f in frames}


def distinct_frames(frames: Iterable[People]) -> list[People]:
    """Return frames in a fixed order, each once: samplers may give a frame to two processes."""
    first: dict[tuple[str, float], People] = {}
    for f in frames:
        first.setdefault((f.video_id, f.timestamp), f)
    return [first[key] for key in sorted(first)]


def write_csv(path: str | PathLike[str], rows: Rows) -> None:
    """Write rows in AVA's form ``video,timestamp,x1,y1,x2,y2,action_id,score``.

    Whole seconds have four digits, as in AVA's files; others up to six decimals.
    """
    names = []
    for key in rows.keys:
        video, time = key.rsplit(",", 1)
        seconds = float(time)
        stamp = f"{int(seconds):04d}" if seconds.is_integer() else f"{seconds:.6f}".rstrip("0")
        names.append(f"{csv_field(video)},{stamp}")
    # Scores are float32: the shortest text that keeps every difference.
    scores = rows.scores.astype(np.float32).astype(str).tolist()
    columns = (rows.frame.tolist(), rows.boxes.tolist(), rows.actions.tolist(), scores)
    with atomic_open(path, newline="") as file:
        file.writelines(
            f"{names[f]},{b[0]:.6f},{b[1]:.6f},{b[2]:.6f},{b[3]:.6f},{a},{s}\n"
            for f, b, a, s in zip(*columns, strict=True)
        )
