"""Boxes of people from a detector's file, for the two-stage baseline and other external proposals."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import csv_lines, number
from mestad_d2.formats.safe_pickle import read_arrays

PersonBoxes = dict[tuple[str, float], np.ndarray]


def read_person_boxes(path: str | Path, min_score: float = 0.0) -> PersonBoxes:
    """(video, timestamp rounded to ms) -> (N, 5) float64: x1, y1, x2, y2 in [0, 1] and score.

    Args:
        path: csv ``video,timestamp,x1,y1,x2,y2,<anything>,score`` (or without the seventh column), or a
            pickle of ``"video,timestamp" -> (N, 5)``.
        min_score: boxes below it are left out.

    Raises:
        UserError: names file and row.
    """
    suffix = Path(path).suffix.lower()
    found = _read_pickle(path) if suffix in (".pkl", ".pickle") else _read_csv(path)
    return {key: boxes[boxes[:, 4] >= min_score] for key, boxes in found.items()}


def _read_csv(path: str | Path) -> PersonBoxes:
    rows: dict[tuple[str, float], list[list[float]]] = defaultdict(list)
    for row, fields in csv_lines(str(path)):
        if len(fields) not in (7, 8):
            raise UserError(
                f"{path}: row {row}: {len(fields)} fields; write video,timestamp,x1,y1,x2,y2,,score"
            )
        time = number(str(path), row, fields[1], "timestamp")
        names = ("x1", "y1", "x2", "y2", "score")
        values = [
            number(str(path), row, t, n) for t, n in zip([*fields[2:6], fields[-1]], names, strict=True)
        ]
        _check(f"{path}: row {row}", np.array([values]))
        rows[fields[0], round(time, 3)].append(values)
    return {key: np.array(values) for key, values in rows.items()}


def _read_pickle(path: str | Path) -> PersonBoxes:
    content = read_arrays(path)
    if not isinstance(content, dict):
        raise UserError(f'{path}: a {type(content).__name__}; write a dict "video,timestamp" -> (N, 5) array')
    found = {}
    for key, value in content.items():
        video, _, second = str(key).rpartition(",")
        try:
            time, boxes = float(second), np.asarray(value, dtype=np.float64).reshape(-1, 5)
        except (ValueError, TypeError) as error:
            raise UserError(f'{path}: entry {key!r}: write "video,timestamp" -> (N, 5) array') from error
        if not video or not math.isfinite(time):
            raise UserError(f'{path}: entry {key!r}: write "video,timestamp"')
        _check(f"{path}: entry {key!r}", boxes)
        found[video, round(time, 3)] = boxes
    return found


def _check(where: str, boxes: np.ndarray) -> None:
    if not np.isfinite(boxes).all():
        raise UserError(f"{where}: a number that is not finite")
    if np.abs(boxes[:, :4]).max(initial=0) > 2:
        raise UserError(f"{where}: boxes in pixels? Divide x by the width and y by the height")


def write_person_boxes(path: str | Path, found: PersonBoxes) -> None:
    """Write boxes as csv ``video,timestamp,x1,y1,x2,y2,,score``, which ``read_person_boxes`` reads.

    Args:
        path: file to write.
        found: see ``read_person_boxes``.
    """
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        for (video, time), boxes in found.items():
            for box in boxes:
                writer.writerow([video, f"{time:.3f}", *(f"{v:.4f}" for v in box[:4]), "", f"{box[4]:.4f}"])


def attach_person_boxes(dicts: list[dict], found: PersonBoxes, path: str | Path) -> None:
    """Add ``person_boxes`` (N, 5), in pixels of the file, to each dataset dict; none where the file has none.

    Raises:
        UserError: no key frame of the dataset is in the file.
    """
    hits = 0
    for item in dicts:
        boxes = found.get((item["video_id"], round(item["timestamp"], 3)))
        hits += boxes is not None
        width, height = item["width"], item["height"]
        scaled = np.zeros((0, 5)) if boxes is None else boxes * (width, height, width, height, 1)
        item["person_boxes"] = scaled.astype(np.float32)
    if dicts and not hits:
        raise UserError(
            f"{path}: no box of any of the dataset's {len(dicts)} key frames; compare video ids and timestamps"
        )
