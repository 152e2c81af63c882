"""YOWOv2's linker: the best paths through all frames of a video, at most three a class."""

from __future__ import annotations

import numpy as np

from mestad_d2.evaluation.tubes.matching import suppress
from mestad_d2.evaluation.tubes.overlap import box_iou, tube_iou
from mestad_d2.evaluation.tubes.protocols import NMS, PROTOCOLS
from mestad_d2.formats.tubes.csv_files import TubeDataset
from mestad_d2.formats.tubes.records import Tubelets, Tubes, tubes_of

MOST_TUBES = 3
TUBE_NMS = NMS(0.3)


def link_yowov2(found: Tubelets, dataset: TubeDataset) -> Tubes:
    """Link frame detections as YOWOv2 and YOWO do (yjh0410/YOWOv2 9e8d23c).

    Every tube spans the whole video: a frame without a box of the class gets those of the nearest one that
    has some, and a second actor is found only where every frame has a second box.
    """
    parts = []
    order = np.lexsort((np.arange(len(found)), found.label, found.video))
    group = np.stack([found.video[order], found.label[order]], axis=1)
    cuts = np.flatnonzero((np.diff(group, axis=0) != 0).any(1)) + 1
    for rows in np.split(order, cuts) if len(order) else ():
        video, label = int(found.video[rows[0]]), int(found.label[rows[0]])
        frames = dataset.videos[video].frames or int(found.frame[rows].max())
        layers = _layers(found, rows, frames)
        if not layers:
            continue
        tubes = [
            (video, label, float(np.mean(scores)), np.arange(1, frames + 1), boxes)
            for boxes, scores in _paths(layers)
        ]
        parts += _suppressed(tubes)
    return tubes_of(found.videos, parts)


def _layers(found: Tubelets, rows: np.ndarray, frames: int) -> list[np.ndarray]:
    """Boxes and scores (n, 5) float32 of each frame, none of them empty; no layers without any box."""
    rows = rows[found.frame[rows] <= frames]
    if not len(rows):
        return []
    scored = np.concatenate([found.boxes[rows, 0], found.score[rows, None]], axis=1)
    at = found.frame[rows]
    filled = np.unique(at)
    # The nearest frame that has a box, the earlier one on a tie.
    nearest = filled[np.abs(filled[None] - np.arange(1, frames + 1)[:, None]).argmin(1)]
    by = np.argsort(at, kind="stable")
    low, high = np.searchsorted(at[by], nearest, "left"), np.searchsorted(at[by], nearest, "right")
    return [scored[by[a:b]] for a, b in zip(low, high, strict=True)]


def _paths(layers: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    edges = [_edge(a, b) for a, b in zip(layers, layers[1:], strict=False)]
    paths = []
    while len(paths) < MOST_TUBES and all(len(layer) for layer in layers):
        # From the last frame back, in float32 as published.
        value = np.zeros(len(layers[-1]), dtype=np.float32)
        following = []
        for edge in reversed(edges):
            total = edge + value
            following.append(total.argmax(1))
            value = total.max(1)
        pick = [int(value.argmax())]
        for choice in reversed(following):
            pick.append(int(choice[pick[-1]]))
        path = np.stack([layer[p] for layer, p in zip(layers, pick, strict=True)]).astype(np.float32)
        paths.append((path[:, :4], path[:, 4]))
        layers = [np.delete(layer, p, 0) for layer, p in zip(layers, pick, strict=True)]
        edges = [
            np.delete(np.delete(edge, a, 0), b, 1) for edge, a, b in zip(edges, pick, pick[1:], strict=False)
        ]
    return paths


def _edge(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU + s1 + s2 + s1 s2 / 2 of boxes of neighbouring frames, (n, m) float32; no least IoU."""
    n, m = len(a), len(b)
    iou = box_iou(np.repeat(a[:, :4], m, 0), np.tile(b[:, :4], (n, 1)), "continuous").reshape(n, m)
    s, t = a[:, 4, None], b[None, :, 4]
    return (np.nan_to_num(iou) + s + t + 0.5 * s * t).astype(np.float32)


def _suppressed(tubes: list) -> list:
    record = tubes_of(("",), [(0, 0, *tube[2:]) for tube in tubes])
    rules = PROTOCOLS["yowov2"].video
    keep, _ = suppress(
        np.zeros(len(tubes), dtype=np.int64),
        record.score,
        TUBE_NMS,
        lambda i, j: tube_iou(record, record, i, j, rules).iou,
    )
    return [tubes[i] for i in keep.tolist()]
