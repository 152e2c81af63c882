"""How well persons are found, whatever they do: COCO's AP and recall through pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .rows import Rows

MAX_ACTORS = 10


def distinct_persons(rows: Rows, excluded: set[str]) -> dict[str, np.ndarray]:
    """Different boxes (n, 4) of each annotated frame; rows of one person differ in the action only."""
    b = rows.boxes
    order = np.lexsort((b[:, 3], b[:, 2], b[:, 1], b[:, 0], rows.frame))
    order = order[(b[order, 2] > b[order, 0]) & (b[order, 3] > b[order, 1])]
    table = np.column_stack([rows.frame, b])[order]
    order = order[np.append(True, (table[1:] != table[:-1]).any(axis=1))[: len(order)]]
    cuts = np.searchsorted(rows.frame[order], np.arange(1, len(rows.keys)))
    parts = np.split(b[order], cuts)
    return {key: part for key, part in zip(rows.keys, parts, strict=False) if key not in excluded}


def person_ap(
    truth: dict[str, np.ndarray], found: dict[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """AP50, AP50:95 and AR@10 in [0, 1]; NaN without any annotated person.

    Args:
        truth: boxes (n, 4) by frame; frames without boxes count too.
        found: boxes (m, 4) and person scores (m,) by frame; other frames are left out.
    """
    if not sum(len(b) for b in truth.values()):
        return {"AP50": np.nan, "AP50:95": np.nan, "AR@10": np.nan}
    frames = list(truth)
    nothing = (np.empty((0, 4)), np.empty(0))
    detections = [found.get(key, nothing) for key in frames]
    if not sum(len(boxes) for boxes, _ in detections):
        return {"AP50": 0.0, "AP50:95": 0.0, "AR@10": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            _coco([(truth[key], None) for key in frames]), _coco(detections), iouType="bbox"
        )
        evaluation.params.maxDets = [1, MAX_ACTORS, 100]
        # Only the range over all sizes: the others cost three times as much and mean nothing in fractions.
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 2]
    recall = evaluation.eval["recall"][:, 0, 0, 1]
    return {
        "AP50": float(precision[0].mean()),
        "AP50:95": float(precision.mean()),
        "AR@10": float(recall.mean()),
    }


def _coco(frames: list[tuple[np.ndarray, np.ndarray | None]]) -> COCO:
    annotations = []
    for image_id, (boxes, scores) in enumerate(frames):
        for i, (x1, y1, x2, y2) in enumerate(np.asarray(boxes, dtype=np.float64).tolist()):
            w, h = x2 - x1, y2 - y1
            entry = {
                # pycocotools takes id 0 for "no match".
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": 1,
                "bbox": [x1, y1, w, h],
                "area": w * h,
                "iscrowd": 0,
            }
            if scores is not None:
                entry["score"] = float(scores[i])
            annotations.append(entry)
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(len(frames))],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco
