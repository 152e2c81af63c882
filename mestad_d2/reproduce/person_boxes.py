"""Simulate the boxes of a person detector: ground truth with a good detector's errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from detectron2.data import MetadataCatalog

from mestad_d2.formats.ava_csv import read_ground_truth
from mestad_d2.formats.files import write_text

# About the recall and the precision of AVA's own person boxes; edges lie 4 % of a side off (ours).
MISSED, FALSE, SHIFT = 0.04, 0.04, 0.04


def simulate_person_boxes(dataset: str, path: Path, seed: int = 0) -> None:
    """Write a csv of person boxes for a registered dataset, unless it is there.

    Each person of a key frame is found but for ``MISSED`` of them, with edges that are off by a normal share
    ``SHIFT`` of the box's sides; ``FALSE`` times as many boxes are empty. Scores are those of a detector that
    is sure: 0.9 to 1, of false boxes 0.8 to 1.
    """
    if path.is_file():
        return
    rng = np.random.default_rng(seed)
    rows = read_ground_truth(str(MetadataCatalog.get(dataset).ground_truth))
    people = sorted({(row.video_id, row.timestamp, row.box) for row in rows if row.box is not None})
    lines = []
    for video, time, box in people:
        corners = np.array(box)
        sides = np.tile(corners[2:] - corners[:2], 2)
        if rng.random() >= MISSED:
            found = corners + rng.normal(0, SHIFT, 4) * sides
            lines.append(_line(video, time, found, rng.uniform(0.9, 1)))
        if rng.random() < FALSE:
            corner = rng.uniform(0, 1 - sides[:2])
            found = np.concatenate([corner, corner + sides[:2]])
            lines.append(_line(video, time, found, rng.uniform(0.8, 1)))
    write_text(path, "\n".join(lines) + "\n")


def _line(video: str, time: float, box: np.ndarray, score: float) -> str:
    x1, y1, x2, y2 = np.clip(box, 0, 1)
    return f"{video},{time:g},{x1:.4f},{y1:.4f},{max(x1, x2):.4f},{max(y1, y2):.4f},,{score:.4f}"
